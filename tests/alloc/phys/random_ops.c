/* SPDX-License-Identifier: MIT */
/* The operations of random work; see random_ops.h. */
#include "tests/alloc/phys/random_ops.h"

#include "base/bits.h"

#define MAX_STAMPED   65536 /* frames that the stamps may touch: 256 MiB */
#define STAMPED_WHOLE 4	    /* blocks up to this order have a stamp in each frame */

/*
 * Contents
 */

/* Where the stamp of a frame is; NULL if it has no address, or is to stay untouched. */
static u64 *word_of(const struct random_ops *ops, struct page *page)
{
	unsigned long pfn = page_to_pfn(page);
	u64 *words = pfn % ops->stamp_every ? NULL : page_address(page);

	/* Anywhere in the frame, so that it is not always the same cache set. */
	return words ? words + pfn * 8 % (PAGE_SIZE / 8) : NULL;
}

/* Of large blocks the first and the last frame will do. */
static unsigned long stamp_step(const struct live *live)
{
	return live->order > STAMPED_WHOLE ? (1UL << live->order) - 1 : 1;
}

static void stamp(const struct random_ops *ops, const struct live *live)
{
	for (unsigned long i = 0; i < live->nr_frames; i += stamp_step(live)) {
		u64 *word = word_of(ops, live->page + i);

		if (word)
			*word = live->stamp + i;
	}
}

static void check_stamp(const struct random_ops *ops, const struct live *live)
{
	for (unsigned long i = 0; i < live->nr_frames; i += stamp_step(live)) {
		const u64 *word = word_of(ops, live->page + i);

		ok(!word || *word == live->stamp + i, "frame %lu, %lu of order %u, was written to",
		   page_to_pfn(live->page), i, live->order);
	}
}

static void check_zero(const struct live *live)
{
	const char *bytes = page_address(live->page);

	ok(!bytes || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, live->nr_frames * PAGE_SIZE - 1)),
	   "frame %lu, %u of them: not zero", page_to_pfn(live->page), live->nr_frames);
}

/*
 * What to do next
 */

static gfp_t random_gfp(unsigned long r)
{
	static const gfp_t kinds[] = {
		GFP_KERNEL,
		GFP_KERNEL,
		GFP_ATOMIC,
		GFP_NOWAIT,
		GFP_NOIO,
		GFP_NOFS | __GFP_RECLAIMABLE,
		GFP_USER,
		GFP_HIGHUSER,
		GFP_HIGHUSER_MOVABLE,
		GFP_HIGHUSER_MOVABLE,
		GFP_KERNEL | __GFP_RECLAIMABLE,
		GFP_KERNEL | __GFP_NORETRY,
		GFP_KERNEL | __GFP_NOMEMALLOC,
		GFP_KERNEL | __GFP_MEMALLOC,
		GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC,
		GFP_ATOMIC | __GFP_MEMALLOC | __GFP_RECLAIMABLE,
	};
	gfp_t gfp = kinds[r % ARRAY_SIZE(kinds)] | __GFP_NOWARN;

	r >>= 8;
	switch (r % 16) {
	case 0:
		gfp |= __GFP_DMA;
		break;
	case 1:
	case 2:
		gfp |= __GFP_DMA32;
		break;
	case 3:
		gfp |= __GFP_SHARED;
		break;
	default:
		break;
	}
	if ((r >> 8) % 4 == 0)
		gfp |= __GFP_THISNODE;
	if ((r >> 16) % 8 == 0)
		gfp |= __GFP_COMP;
	return gfp;
}

static unsigned int random_order(const struct random_ops *ops, unsigned long r)
{
	if (ops->order_span)
		return ops->order_low + (unsigned int)(r % ops->order_span);
	return (unsigned int)__builtin_ctzl(r | 1UL << MAX_PAGE_ORDER);
}

static void next_phase(struct random_ops *ops)
{
	unsigned long r = next_random(ops);
	unsigned long all = ops->model.nr_frames;

	ops->phase_ends = ops->nr_done + 1 + r % 20000;
	r >>= 16;
	switch (r % 6) {
	case 0: /* to the last page */
		ops->target = 2 * all;
		break;
	case 1:
		ops->target = 0;
		break;
	case 2: /* nearly full */
		ops->target = all - all / 16;
		break;
	default:
		ops->target = (r >> 8) % all;
		break;
	}
	r = next_random(ops);
	ops->order_low = (unsigned int)(r % NR_PAGE_ORDERS);
	ops->order_span =
		(unsigned int)((r >> 8) % 4 == 0 ? 1 + (r >> 16) % (NR_PAGE_ORDERS - ops->order_low)
						 : 0);
	ops->oldest_first = (r >> 32) % 4 == 0;
}

/*
 * The operations
 */

/* It is ours now: look at it, tell the model, and write in it. */
static void keep(struct random_ops *ops, struct live *live, int nid)
{
	unsigned long pfn = page_to_pfn(live->page);

	ops->result.nr_allocs++;
	for (unsigned long i = 0; i < live->nr_frames; i += 1UL << live->order)
		model_take(&ops->model, pfn + i, live->order, live->gfp, nid);
	if (live->gfp & __GFP_ZERO)
		check_zero(live);
	if (live->gfp & __GFP_COMP)
		ok(compound_head(live->page + live->nr_frames - 1) == live->page,
		   "the last frame of order %u leads elsewhere", live->order);
	live->stamp = ops->last_stamp += 1UL << NR_PAGE_ORDERS;
	stamp(ops, live);
	ops->live[ops->nr_live++] = *live;
}

/* None came, and the order says how large a block was missing. By address there may be frames and
 * none with an address. */
static void refused(struct random_ops *ops, const struct live *live, unsigned int order, int nid)
{
	ops->result.nr_refused++;
	if (live->origin == PAGES || !(live->gfp & __GFP_SHARED))
		model_check_refusal(&ops->model, live->gfp, nid, order);
}

static void allocate_block(struct random_ops *ops, struct live *live, int nid)
{
	unsigned long r = next_random(ops), addr;

	live->order = (u8)random_order(ops, r >> 8);
	live->nr_frames = 1U << live->order;
	if (r % 8 == 0) {
		live->origin = ADDRESS;
		live->gfp &= ~__GFP_HIGHMEM;
		addr = __get_free_pages(live->gfp, live->order);
		live->page = addr ? virt_to_page((void *)addr) : NULL;
	} else if (r % 8 <= 4) {
		live->page = alloc_pages(live->gfp, live->order);
	} else {
		nid = (int)((r >> 32) % ops->model.nr_nodes);
		live->page = alloc_pages_node(nid, live->gfp, live->order);
	}
	if (live->page)
		keep(ops, live, nid);
	else
		refused(ops, live, live->order, nid);
}

static void allocate_bulk(struct random_ops *ops, struct live *live)
{
	struct page *pages[64] = {NULL};
	unsigned long r = next_random(ops), nr = 1 + r % ARRAY_SIZE(pages), got;
	int nid = (int)((r >> 8) % ops->model.nr_nodes);

	live->gfp &= ~__GFP_COMP;
	live->nr_frames = 1;
	got = alloc_pages_bulk_node(live->gfp, nid, nr, pages);
	ok(got <= nr, "%lu of %lu", got, nr);
	for (unsigned long i = 0; i < got; i++) {
		live->page = pages[i];
		keep(ops, live, nid);
	}
	if (got < nr)
		refused(ops, live, 0, nid);
}

static void allocate_exact(struct random_ops *ops, struct live *live, int nid)
{
	unsigned long r = next_random(ops), size = 1 + r % (40 * PAGE_SIZE);
	void *addr;

	live->origin = EXACT;
	live->gfp &= ~(__GFP_HIGHMEM | __GFP_COMP);
	live->nr_frames = (u32)((size + PAGE_SIZE - 1) / PAGE_SIZE);
	addr = alloc_pages_exact(size, live->gfp);
	if (addr) {
		live->page = virt_to_page(addr);
		keep(ops, live, nid);
	} else {
		refused(ops, live, get_order(live->nr_frames * PAGE_SIZE), nid);
	}
}

static void allocate(struct random_ops *ops)
{
	unsigned long r = next_random(ops);
	struct live live = {.gfp = random_gfp(next_random(ops))};
	int nid = cpu_get()->nid;

	/* Not often: large blocks take long, and i386 maps HighMem to zero it. */
	if (ops->stamp_every == 1 && (r >> 8) % (ops->model.layout == ZONES_I386 ? 256 : 32) == 0)
		live.gfp |= __GFP_ZERO;
	if (r % 128 == 0)
		allocate_bulk(ops, &live);
	else if (r % 128 == 1)
		allocate_exact(ops, &live, nid);
	else
		allocate_block(ops, &live, nid);
}

static struct live forget(struct random_ops *ops, unsigned long at)
{
	struct live live = ops->live[at];

	ops->live[at] = ops->live[--ops->nr_live];
	return live;
}

static void release(struct random_ops *ops, unsigned long at)
{
	struct live live = forget(ops, at);
	unsigned long pfn = page_to_pfn(live.page), r = next_random(ops);

	check_stamp(ops, &live);
	for (unsigned long i = 0; i < live.nr_frames; i += 1UL << live.order)
		model_give(&ops->model, pfn + i, live.order);
	ops->result.nr_frees++;
	/* Somebody else has a use for it a moment longer. */
	if (live.origin == PAGES && r % 16 == 0) {
		get_page(live.page);
		__free_pages(live.page, live.order);
		ok_eq(page_count(live.page), 1);
		check_stamp(ops, &live);
	}
	if (live.origin == PAGES && r % 8 == 0)
		put_page(live.page);
	else if (live.origin == PAGES)
		__free_pages(live.page, live.order);
	else if (live.origin == ADDRESS)
		free_pages((unsigned long)page_address(live.page), live.order);
	else
		free_pages_exact(page_address(live.page), live.nr_frames * PAGE_SIZE);
}

/* Make a block as many single frames, to be freed one by one. */
static void split(struct random_ops *ops, unsigned long at)
{
	struct live live;

	if (ops->live[at].origin != PAGES || ops->live[at].order > STAMPED_WHOLE ||
	    (ops->live[at].gfp & __GFP_COMP))
		return;
	live = forget(ops, at);
	split_page(live.page, live.order);
	live.order = 0;
	for (u32 nr = live.nr_frames; nr > 0; nr--, live.page++, live.stamp++) {
		live.nr_frames = 1;
		ops->live[ops->nr_live++] = live;
	}
}

void random_step(struct random_ops *ops)
{
	unsigned long r = next_random(ops);
	bool below = ops->model.nr_used < ops->target;

	if (ops->nr_done >= ops->phase_ends)
		next_phase(ops);
	ops->nr_done++;
	if (ops->nr_live && (r & 7) < (below ? 2 : 6)) {
		unsigned long at = ops->oldest_first ? 0 : (r >> 8) % ops->nr_live;

		/* The last one came a moment ago, and its frame is on top of a list. */
		release(ops, (r >> 3) % 4 == 0 ? ops->nr_live - 1 : at);
		if (ops->nr_live && (r >> 5) % 64 == 0)
			split(ops, (r >> 16) % ops->nr_live);
	} else {
		allocate(ops);
	}
}

void random_ops_init(struct random_ops *ops, struct kmm *machine, unsigned long random)
{
	*ops = (struct random_ops){.random = random};
	model_init(&ops->model, machine);
	ops->live = malloc(ops->model.nr_frames * sizeof(*ops->live));
	ops->stamp_every = 1 + ops->model.nr_frames / MAX_STAMPED;
}

void random_ops_end(struct random_ops *ops)
{
	while (ops->nr_live)
		release(ops, ops->nr_live - 1);
	kmm_drain(ops->model.machine);
	model_check_count(&ops->model);
	model_check_blocks(&ops->model);
	free(ops->live);
	model_destroy(&ops->model);
}
