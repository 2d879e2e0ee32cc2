// SPDX-License-Identifier: MIT
/*
 * Traces, replayed: page events onto the page allocator, object events onto caches and kmalloc. Each is
 * replayed once with samples of memory on the way and what /proc says at its end, then some times with
 * nothing but the clock. Page events are replayed once more with the lists of CPUs off, and the buddy's
 * free blocks told before, at the end, and after all is freed.
 *
 * A trace that does not fit into this kernel's memory, or whose harness does not, is skipped, and the next one is
 * replayed.
 *
 * As in the command, every block carries a word of its id, looked at before the block is freed.
 */
#include "kmm_linux.h"

#include <mem_user.h>

#include "trace_format.h"

#define REPETITIONS 3

struct target {
	const struct linux_trace *trace;
	const struct linux_trace_op *ops;
	struct kmem_cache **caches;
	void **blocks;
	u32 *bytes; /* of the live block of each id; 0: none */
	u16 *kinds; /* its order, or its cache */
	u64 requested, allocated;
	char name[LINUX_TRACE_NAME + 8];
	char why[64]; /* after -ENOMEM */
};

static gfp_t gfp_of(const struct linux_trace_op *op)
{
	gfp_t gfp = op->gfp & LINUX_GFP_ATOMIC ? GFP_ATOMIC : GFP_KERNEL;

	/* There is nobody that could be killed for more memory: the kernel would panic. */
	gfp |= __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	if (op->gfp & LINUX_GFP_MOVABLE)
		gfp |= __GFP_MOVABLE;
	if (op->gfp & LINUX_GFP_RECLAIMABLE)
		gfp |= __GFP_RECLAIMABLE;
	if (op->gfp & LINUX_GFP_COMP)
		gfp |= __GFP_COMP;
	return gfp;
}

static u64 tag_of(u32 id)
{
	return ((u64)id + 1) * 0x9E3779B97F4A7C15ULL;
}

static bool is_pages(const struct target *t)
{
	return t->trace->population == LINUX_TRACE_PAGES;
}

static void *do_alloc(const struct target *t, const struct linux_trace_op *op)
{
	if (is_pages(t))
		return (void *)__get_free_pages(gfp_of(op), op->order);
	if (op->cache != LINUX_NO_CACHE)
		return kmem_cache_alloc(t->caches[op->cache], gfp_of(op));
	return kmalloc(op->bytes, gfp_of(op));
}

static void do_free(const struct target *t, u32 id)
{
	void *block = t->blocks[id];

	if (is_pages(t))
		free_pages((unsigned long)block, t->kinds[id]);
	else if (t->kinds[id] != LINUX_NO_CACHE)
		kmem_cache_free(t->caches[t->kinds[id]], block);
	else
		kfree(block);
}

/* Of a block of so many bytes, as many as a tag has room in. */
static bool tag_holds(const struct target *t, u32 id)
{
	u64 tag = tag_of(id);

	return !memcmp(t->blocks[id], &tag, min_t(u32, t->bytes[id], sizeof(tag)));
}

/* The trace is over; the caller says why. */
static int no_memory(struct target *t, const char *what, u32 number)
{
	snprintf(t->why, sizeof(t->why), "no memory for %s %u", what, number);
	return -ENOMEM;
}

static int run_op(struct target *t, const struct linux_trace_op *op)
{
	u64 tag = tag_of(op->id);
	void *block;

	if (op->action == LINUX_FREE) {
		if (unlikely(!tag_holds(t, op->id)))
			return say_error("%s: object %u is not what was written to it", t->name,
					 op->id);
		do_free(t, op->id);
		t->bytes[op->id] = 0;
		return 0;
	}
	block = do_alloc(t, op);
	if (unlikely(!block))
		return no_memory(t, "a block of bytes:", op->bytes);
	memcpy(block, &tag, min_t(u32, op->bytes, sizeof(tag)));
	t->blocks[op->id] = block;
	t->bytes[op->id] = op->bytes;
	t->kinds[op->id] = is_pages(t) ? op->order : op->cache;
	return 0;
}

static u64 usable(const struct target *t, u32 id)
{
	if (is_pages(t))
		return t->bytes[id];
	if (t->kinds[id] != LINUX_NO_CACHE)
		return kmem_cache_size(t->caches[t->kinds[id]]);
	return ksize(t->blocks[id]);
}

static void say_event(const struct target *t, u64 event, u64 time_ns)
{
	struct free_blocks free;
	char text[FREE_TEXT];

	count_free(&free);
	say("event %s %llu %llu %llu %llu%s", t->name, event, time_ns, t->requested, t->allocated,
	    free_blocks_text(&free, text, sizeof(text)));
}

static int replay_sampled(struct target *t)
{
	u64 every = t->trace->nr_ops / max(t->trace->samples, 1U) + 1, i;
	int error = 0;

	t->requested = t->allocated = 0;
	for (i = 0; !error && i < t->trace->nr_ops; i++) {
		const struct linux_trace_op *op = &t->ops[i];

		if (op->action == LINUX_FREE) {
			t->requested -= t->bytes[op->id];
			t->allocated -= usable(t, op->id);
		}
		error = run_op(t, op);
		if (!error && op->action == LINUX_ALLOC) {
			t->requested += op->bytes;
			t->allocated += usable(t, op->id);
		}
		if (i % every == every - 1 || i + 1 == t->trace->nr_ops)
			say_event(t, i + 1, op->time_ns);
	}
	return error;
}

static int replay_plain(struct target *t)
{
	int error = 0;
	u64 i;

	for (i = 0; !error && i < t->trace->nr_ops; i++)
		error = run_op(t, &t->ops[i]);
	return error;
}

static int drain(struct target *t)
{
	u32 id;

	for (id = 0; id < t->trace->nr_ids; id++) {
		if (!t->bytes[id])
			continue;
		if (!tag_holds(t, id))
			return say_error("%s: object %u is not what was written to it", t->name,
					 id);
		do_free(t, id);
		t->bytes[id] = 0;
	}
	return 0;
}

static int replay_timed(struct target *t)
{
	u64 begin = cycles_now();
	int error = replay_plain(t);

	begin = cycles_now() - begin;
	if (!error)
		say("sample replay %s trace 1 %llu %llu", t->name, t->trace->nr_ops / 2, begin);
	return error ?: drain(t);
}

/* Nothing but the trace's blocks may come and go between the first line and the last. */
static int replay_without_lists(struct target *t)
{
	int error;

	pcp_off();
	say_free_blocks(t->name, "before");
	error = replay_plain(t);
	if (!error)
		say_free_blocks(t->name, "end");
	error = error ?: drain(t);
	if (!error)
		say_free_blocks(t->name, "drained");
	pcp_on();
	return error;
}

static int replay_all(struct target *t)
{
	int error = replay_sampled(t), i;

	if (!error) {
		say_proc(t->name, "buddyinfo");
		say_proc(t->name, "slabinfo");
		error = drain(t);
	}
	for (i = 0; !error && i < REPETITIONS; i++)
		error = replay_timed(t);
	if (!error && is_pages(t))
		error = replay_without_lists(t);
	return error;
}

static int make_caches(struct target *t, const struct linux_trace_cache *caches)
{
	u32 i;

	for (i = 0; i < t->trace->nr_caches; i++) {
		t->caches[i] = kmem_cache_create(caches[i].name, caches[i].size_bytes, 8, 0, NULL);
		if (!t->caches[i])
			return no_memory(t, "a cache of bytes:", caches[i].size_bytes);
	}
	return 0;
}

static int replay_trace(const struct linux_trace *trace, const struct linux_trace_cache *caches,
			const struct linux_trace_op *ops)
{
	struct target t = {.trace = trace, .ops = ops};
	int error;
	u32 i;

	snprintf(t.name, sizeof(t.name), "%s", trace->name);
	t.caches = kvcalloc(trace->nr_caches + 1, sizeof(*t.caches), GFP_KERNEL);
	t.blocks = kvcalloc(trace->nr_ids + 1, sizeof(*t.blocks), GFP_KERNEL);
	t.bytes = kvcalloc(trace->nr_ids + 1, sizeof(*t.bytes), GFP_KERNEL);
	t.kinds = kvcalloc(trace->nr_ids + 1, sizeof(*t.kinds), GFP_KERNEL);
	if (t.caches && t.blocks && t.bytes && t.kinds)
		error = make_caches(&t, caches) ?: replay_all(&t);
	else
		error = no_memory(&t, "so many ids:", trace->nr_ids);
	if (error == -ENOMEM) {
		error = t.bytes && t.blocks && t.kinds ? drain(&t) : 0;
		if (!error)
			say("skipped %s %s", t.name, t.why);
	}
	for (i = 0; t.caches && !error && i < trace->nr_caches; i++)
		kmem_cache_destroy(t.caches[i]);
	kvfree(t.caches);
	kvfree(t.blocks);
	kvfree(t.bytes);
	kvfree(t.kinds);
	return error;
}

int replay_cases(void)
{
	unsigned long length = 0; /* find_iomem() leaves it where there is none */
	const char *at = (const char *)find_iomem(LINUX_TRACE_REGION, &length), *end = at + length;
	int error = 0;

	while (!error && at && end - at >= (long)sizeof(struct linux_trace)) {
		const struct linux_trace *trace = (const struct linux_trace *)at;
		const struct linux_trace_cache *caches = (const void *)(trace + 1);
		const struct linux_trace_op *ops;

		if (!trace->nr_ops)
			break;
		ops = (const void *)(caches + trace->nr_caches);
		if (trace->magic != LINUX_TRACE_MAGIC || (const char *)(ops + trace->nr_ops) > end)
			return say_error("the traces handed in are cut short");
		error = replay_trace(trace, caches, ops);
		at = (const char *)(ops + trace->nr_ops);
	}
	return error;
}
