/* SPDX-License-Identifier: MIT */
/* See replay_ops.h. */
#include "bench/replay/replay_ops.h"

#include "bench/peers/page_peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Zones are the machine's to choose: DMA and DMA32 where asked for; no HIGHMEM, whose frames may
 * have no address to write a tag to. Zeroing is left out: the peers do not. */
static gfp_t machine_gfp(u32 recorded)
{
	static const struct {
		u32 recorded;
		gfp_t gfp;
	} map[] = {
		{KMT_GFP_DMA, __GFP_DMA},
		{KMT_GFP_DMA32, __GFP_DMA32},
		{KMT_GFP_MOVABLE, __GFP_MOVABLE},
		{KMT_GFP_RECLAIMABLE, __GFP_RECLAIMABLE},
		{KMT_GFP_HIGH, __GFP_HIGH},
		{KMT_GFP_ATOMIC, __GFP_ATOMIC},
		{KMT_GFP_IO, __GFP_IO},
		{KMT_GFP_FS, __GFP_FS},
		{KMT_GFP_DIRECT_RECLAIM, __GFP_DIRECT_RECLAIM},
		{KMT_GFP_KSWAPD_RECLAIM, __GFP_KSWAPD_RECLAIM},
		{KMT_GFP_NOWARN, __GFP_NOWARN},
		{KMT_GFP_NORETRY, __GFP_NORETRY},
		{KMT_GFP_NOFAIL, __GFP_NOFAIL},
		{KMT_GFP_COMP, __GFP_COMP},
	};
	gfp_t gfp = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (recorded & map[i].recorded)
			gfp |= map[i].gfp;
	return gfp;
}

int replay_target_init(struct replay_target *target, u32 nr_ids)
{
	target->nr_ids = nr_ids;
	target->objects = calloc(nr_ids + 1, sizeof(*target->objects));
	target->blocks = calloc(nr_ids + 1, sizeof(*target->blocks));
	return target->objects && target->blocks ? 0 : -ENOMEM;
}

int replay_target_end(struct replay_target *target)
{
	int error = 0;

	for (u32 i = 0; i < target->nr_caches; i++) {
		struct kmem_cache *cache = target->caches[i];

		/* Shapes of one cache share it: destroy it with the last. */
		for (u32 j = i + 1; cache && j < target->nr_caches; j++)
			if (target->caches[j] == cache)
				cache = NULL;
		if (cache && kmem_cache_destroy(cache))
			error = -EBUSY;
	}
	free(target->caches);
	free(target->objects);
	free(target->blocks);
	target->caches = NULL;
	target->objects = NULL;
	target->blocks = NULL;
	target->nr_caches = 0;
	return error;
}

/* Objects of a cache are as large as the trace says that the kernel's were. */
static u64 object_size(const struct kmt_shape *shape)
{
	return shape->allocated > shape->requested ? shape->allocated : shape->requested;
}

/* The cache of a shape that has none yet: another shape's of the same name and size, or a new
 * one. */
static struct kmem_cache *find_cache(struct replay_target *target, struct kmt_reader *reader,
				     u32 number)
{
	u32 nr_shapes;
	const struct kmt_shape *shapes = kmt_shapes(reader, &nr_shapes), *shape = &shapes[number];
	const char *name = kmt_cache_name(reader, shape->cache);
	struct kmem_cache *cache;
	char other[320];

	for (u32 i = 0; i < target->nr_caches; i++)
		if (target->caches[i] && shapes[i].cache == shape->cache &&
		    object_size(&shapes[i]) == object_size(shape))
			return target->caches[i];
	if (object_size(shape) > KMALLOC_MAX_SIZE)
		return NULL;
	/* The kernel that was traced has merged its caches already. */
	cache = kmem_cache_create(name, (unsigned int)object_size(shape), 8, SLAB_NO_MERGE, NULL);
	if (cache)
		return cache;
	/* The machine has one of that name (kmalloc-64), or the trace has it in two sizes. */
	snprintf(other, sizeof(other), "%s:%llu", name, (unsigned long long)object_size(shape));
	return kmem_cache_create(other, (unsigned int)object_size(shape), 8, SLAB_NO_MERGE, NULL);
}

static struct kmem_cache *cache_of_shape(struct replay_target *target, struct kmt_reader *reader,
					 u32 number)
{
	struct kmem_cache **caches;
	u32 nr_shapes;

	kmt_shapes(reader, &nr_shapes);
	if (number >= target->nr_caches) {
		caches = realloc(target->caches, nr_shapes * sizeof(*caches));
		if (!caches)
			return NULL;
		memset(caches + target->nr_caches, 0,
		       (nr_shapes - target->nr_caches) * sizeof(*caches));
		target->caches = caches;
		target->nr_caches = nr_shapes;
	}
	if (!target->caches[number])
		target->caches[number] = find_cache(target, reader, number);
	return target->caches[number];
}

static void decode_free(const struct replay_target *target, u32 id, struct replay_op *op)
{
	struct replay_object *object = &target->objects[id];

	*op = (struct replay_op){.cache = object->cache, .bytes = object->bytes, .id = id};
	op->tag_bytes = object->bytes < 8 ? (u8)object->bytes : 8;
	if (target->population == KMT_PAGES && target->machine)
		op->action = REPLAY_PAGE_FREE;
	else if (target->population == KMT_PAGES && target->peer->free_order)
		op->action = REPLAY_ORDER_FREE;
	else
		op->action = object->cache ? REPLAY_CACHE_FREE : REPLAY_FREE;
	if (target->population == KMT_PAGES)
		op->order = (u8)__builtin_ctzll(object->bytes >> PAGE_SHIFT);
	object->live = false;
}

static int decode_alloc(struct replay_target *target, struct kmt_reader *reader,
			const struct kmt_event *event, struct replay_op *op)
{
	u32 nr_shapes;
	const struct kmt_shape *shape = &kmt_shapes(reader, &nr_shapes)[event->shape];
	struct replay_object *object = &target->objects[event->id];
	u64 bytes = event->kind == KMT_PAGE_ALLOC ? PAGE_SIZE << event->order : event->arg;

	*op = (struct replay_op){
		.bytes = bytes, .id = event->id, .order = event->order, .action = REPLAY_ALLOC};
	op->tag_bytes = bytes < 8 ? (u8)bytes : 8;
	if (event->kind == KMT_PAGE_ALLOC || event->kind == KMT_MEMALIGN)
		op->action = REPLAY_ALIGNED_ALLOC;
	if (event->kind == KMT_PAGE_ALLOC && !target->machine && target->peer->alloc_order)
		op->action = REPLAY_ORDER_ALLOC;
	if (target->machine) {
		op->gfp = shape->gfp ? machine_gfp(shape->gfp) : GFP_KERNEL;
		if (event->kind == KMT_PAGE_ALLOC)
			op->action = REPLAY_PAGE_ALLOC;
		else
			op->action = REPLAY_ALLOC;
	}
	if (target->machine && event->kind == KMT_CACHE_ALLOC) {
		op->action = REPLAY_CACHE_ALLOC;
		/* An event that carries its own size may ask for more than the shape gives. */
		if (bytes <= object_size(shape))
			op->cache = cache_of_shape(target, reader, event->shape);
		if (!op->cache) {
			snprintf(target->error, sizeof(target->error),
				 "kmm cannot make cache %.80s of %llu-byte objects for %llu bytes",
				 kmt_cache_name(reader, shape->cache),
				 (unsigned long long)object_size(shape), (unsigned long long)bytes);
			return -1;
		}
	}
	*object = (struct replay_object){.cache = op->cache, .bytes = bytes, .live = true};
	return 0;
}

ssize_t replay_decode(struct replay_target *target, struct kmt_reader *reader,
		      const struct kmt_event *events, size_t n, struct replay_op *ops,
		      u64 *times_ns)
{
	size_t nr = 0;

	for (size_t i = 0; i < n; i++) {
		const struct kmt_event *event = &events[i];

		if (kmt_kind_population(event->kind) != target->population)
			continue;
		if (kmt_kind_effect(event->kind) == KMT_FREES)
			decode_free(target, event->id, &ops[nr]);
		else if (decode_alloc(target, reader, event, &ops[nr]))
			return -1;
		times_ns[nr++] = event->time_ns;
	}
	return (ssize_t)nr;
}

size_t replay_drain_ops(struct replay_target *target, u32 *from, struct replay_op *ops, size_t n)
{
	size_t nr = 0;

	for (; *from < target->nr_ids && nr < n; ++*from)
		if (target->objects[*from].live)
			decode_free(target, *from, &ops[nr++]);
	return nr;
}

/* Different for any two ids, and unlike what memory usually holds. */
static inline u64 tag_of(u32 id)
{
	return ((u64)id + 1) * 0x9E3779B97F4A7C15ULL;
}

static inline void put_tag(void *block, const struct replay_op *op)
{
	u64 tag = tag_of(op->id);

	if (likely(op->tag_bytes == 8))
		memcpy(block, &tag, 8);
	else
		memcpy(block, &tag, op->tag_bytes);
}

static inline bool tag_holds(const void *block, const struct replay_op *op)
{
	u64 tag = tag_of(op->id), found;

	if (unlikely(op->tag_bytes != 8))
		return !memcmp(block, &tag, op->tag_bytes);
	memcpy(&found, block, 8);
	return found == tag;
}

static KMM_COLD void no_memory(struct replay_target *target, const struct replay_op *op)
{
	snprintf(target->error, sizeof(target->error), "%s has no memory for %llu bytes%s",
		 target->machine ? "kmm" : target->peer->name, (unsigned long long)op->bytes,
		 target->machine ? "; see --memory" : "");
}

static KMM_COLD void bad_contents(struct replay_target *target, const struct replay_op *op,
				  const void *block)
{
	snprintf(target->error, sizeof(target->error),
		 "%s changed the contents of a live block: object %u, %llu bytes at %p",
		 target->machine ? "kmm" : target->peer->name, op->id,
		 (unsigned long long)op->bytes, block);
}

/* Pages are kept by address, so that their tag and the peers' blocks are handled alike. */
static inline void *peer_alloc(const struct object_peer *peer, const struct replay_op *op)
{
	switch (op->action) {
	case REPLAY_ALIGNED_ALLOC:
		return peer->aligned_alloc(PAGE_SIZE, op->bytes);
	case REPLAY_ORDER_ALLOC:
		return peer->alloc_order(op->order);
	default:
		return peer->alloc(op->bytes);
	}
}

static inline void *do_alloc(const struct replay_target *target, const struct replay_op *op,
			     bool machine)
{
	if (!machine)
		return peer_alloc(target->peer, op);
	switch (op->action) {
	case REPLAY_CACHE_ALLOC:
		return kmem_cache_alloc(op->cache, op->gfp);
	case REPLAY_PAGE_ALLOC: {
		struct page *page = alloc_pages(op->gfp, op->order);

		return page ? page_address(page) : NULL;
	}
	default:
		return kmalloc(op->bytes, op->gfp);
	}
}

static inline void do_free(const struct replay_target *target, const struct replay_op *op,
			   void *block, bool machine)
{
	if (!machine) {
		if (op->action == REPLAY_ORDER_FREE)
			target->peer->free_order(block, op->order);
		else
			target->peer->free(block);
		return;
	}
	switch (op->action) {
	case REPLAY_CACHE_FREE:
		kmem_cache_free(op->cache, block);
		break;
	case REPLAY_PAGE_FREE:
		__free_pages(virt_to_page(block), op->order);
		break;
	default:
		kfree(block);
	}
}

static inline bool frees(const struct replay_op *op)
{
	return op->action == REPLAY_FREE || op->action == REPLAY_CACHE_FREE ||
	       op->action == REPLAY_PAGE_FREE || op->action == REPLAY_ORDER_FREE;
}

/* A page peer's block is its own, and aligned; else the target's error is set. */
static bool is_placed(struct replay_target *target, const struct replay_op *op, const void *block)
{
	char line[160];

	if (!page_peer_misplaced(target->peer, block, op->bytes, line, sizeof(line)))
		return true;
	snprintf(target->error, sizeof(target->error), "%s: %s", target->peer->name, line);
	return false;
}

/* placed: look where a peer's block is before anything is written to it; not timed. */
static inline __attribute__((always_inline)) size_t run(struct replay_target *target,
							const struct replay_op *ops, size_t n,
							bool machine, bool verify, bool placed)
{
	void **blocks = target->blocks;

	for (size_t i = 0; i < n; i++) {
		const struct replay_op *op = &ops[i];
		void *block;

		if (frees(op)) {
			block = blocks[op->id];
			if (verify && unlikely(!tag_holds(block, op))) {
				bad_contents(target, op, block);
				return i;
			}
			do_free(target, op, block, machine);
			continue;
		}
		block = do_alloc(target, op, machine);
		if (unlikely(!block)) {
			no_memory(target, op);
			return i;
		}
		if (placed && !machine && !is_placed(target, op, block))
			return i;
		if (verify)
			put_tag(block, op);
		blocks[op->id] = block;
	}
	return n;
}

static u64 usable_size(const struct replay_target *target, const struct replay_op *op, void *block)
{
	if (target->peer && !target->peer->alloc_order)
		return target->peer->usable_size ? target->peer->usable_size(block) : 0;
	if (target->population == KMT_PAGES)
		return op->bytes;
	return op->cache ? kmem_cache_size(op->cache) : ksize(block);
}

/* The same, one by one, with the account of what is live kept beside. */
static size_t run_measured(struct replay_target *target, const struct replay_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct replay_op *op = &ops[i];

		if (frees(op)) {
			target->requested_bytes -= op->bytes;
			target->allocated_bytes -= usable_size(target, op, target->blocks[op->id]);
		}
		if (!run(target, op, 1, target->machine != NULL, target->verify, true))
			return i;
		if (!frees(op)) {
			target->requested_bytes += op->bytes;
			target->allocated_bytes += usable_size(target, op, target->blocks[op->id]);
		}
	}
	return n;
}

size_t replay_run(struct replay_target *target, const struct replay_op *ops, size_t n)
{
	if (target->measure)
		return run_measured(target, ops, n);
	if (target->machine)
		return target->verify ? run(target, ops, n, true, true, false)
				      : run(target, ops, n, true, false, false);
	return target->verify ? run(target, ops, n, false, true, false)
			      : run(target, ops, n, false, false, false);
}
