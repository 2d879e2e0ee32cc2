/* SPDX-License-Identifier: MIT */
/*
 * Many objects at once: between the caller's array and this CPU's magazine they move without a
 * look at each (out), or with a look at each one's key only (in). What the magazine has not, or has
 * no room for, goes object by object through the ordinary paths, which then fill it, or make room in
 * it, by a batch. No lock, no atomic, but those of these paths.
 */
#include <string.h>

#include "slab/cache.h"

/* Up to want objects from the top of a magazine, and how many. */
static unsigned int magazine_pop_bulk(struct magazine *mag, void **objects, size_t want)
{
	u64 state = mag->state;
	unsigned int nr = (u16)state;
	unsigned int take = (unsigned int)min_t(size_t, nr, want);

	if (!take)
		return 0;
	memcpy(objects, mag->objects + nr - take, take * sizeof(*objects));
	mag->top = (&mag->bottom)[nr - take];
	WRITE_ONCE(mag->state, state + take * (MAGAZINE_TAKEN - 1));
	return take;
}

/*
 * Objects from the array onto a magazine, up to the first that does not belong there, and how many.
 * One that follows itself is such a one, for the ordinary path to say so.
 */
static size_t magazine_push_bulk(const struct kmm_cpu *cpu, struct magazine *mag, void **objects,
				 size_t nr)
{
	u64 state = mag->state;
	unsigned int old = (u16)state;
	size_t room = min_t(size_t, nr, mag->capacity - min_t(unsigned int, old, mag->capacity));
	void *top = mag->top;
	size_t i;

	for (i = 0; i < room; i++) {
		struct page *page;

		if (KMM_DEBUG || !cpu_frame(cpu, objects[i], &page) ||
		    READ_ONCE(page->slab_key) != mag->key || objects[i] == top)
			break;
		top = mag->objects[old + i] = objects[i];
	}
	if (i) {
		mag->top = top;
		WRITE_ONCE(mag->state, state + i);
	}
	return i;
}

int kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t nr, void **objects)
{
	struct magazine *mag = cache_magazine(cache, cache_cpu(cache));
	bool special = gfp & __GFP_THISNODE;
	size_t done = 0;

	while (done < nr) {
		if (!special)
			done += magazine_pop_bulk(mag, objects + done, nr - done);
		if (done == nr)
			break;
		objects[done] = kmem_cache_alloc(cache, gfp & ~__GFP_ZERO);
		if (!objects[done]) {
			kmem_cache_free_bulk(cache, done, objects);
			return 0;
		}
		done++;
	}
	for (size_t i = 0; gfp & __GFP_ZERO && i < nr; i++)
		memset(objects[i], 0, READ_ONCE(cache->object_size));
	return (int)nr;
}

void kmem_cache_free_bulk(struct kmem_cache *cache, size_t nr, void **objects)
{
	struct kmm_cpu *cpu;
	size_t done = 0;

	if (!cache) {
		kfree_bulk(nr, objects);
		return;
	}
	cpu = cache_cpu(cache);
	while (done < nr) {
		done += magazine_push_bulk(cpu, cache_magazine(cache, cpu), objects + done,
					   nr - done);
		if (done < nr)
			kmem_cache_free(cache, objects[done++]);
	}
}

void kfree_bulk(size_t nr, void **objects)
{
	for (size_t i = 0; i < nr; i++)
		kfree(objects[i]);
}
