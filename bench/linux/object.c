// SPDX-License-Identifier: MIT
/* Suites slab and kmalloc. */
#include "kmm_linux.h"

static struct kmem_cache *cache;

static void *cache_alloc(size_t size)
{
	return kmem_cache_alloc(cache, GFP_KERNEL);
}

static void cache_free(void *object)
{
	kmem_cache_free(cache, object);
}

static size_t cache_alloc_bulk(size_t size, size_t count, void **objects)
{
	return kmem_cache_alloc_bulk(cache, GFP_KERNEL, count, objects);
}

static void cache_free_bulk(size_t count, void **objects)
{
	kmem_cache_free_bulk(cache, count, objects);
}

static void *sized_alloc(size_t size)
{
	return kmalloc(size, GFP_KERNEL);
}

static void sized_free(void *object)
{
	kfree(object);
}

static const size_t sizes[] = {64, 256, 1024};

static int measure_object(struct kmm_case c, const char *name, enum pattern pattern, int count)
{
	c.name = name;
	c.pattern = pattern;
	c.count = count;
	return measure_case(&c);
}

static int measure_size(struct kmm_case c, size_t size)
{
	int error;

	c.size_bytes = size;
	snprintf(c.size, sizeof(c.size), "%zu", size);
	error = measure_object(c, "pair", PAIR, 1);
	error = error ?: measure_object(c, "bulk", BULK, BATCH_COUNT);
	error = error ?: measure_object(c, "shuffle", SHUFFLE, BATCH_COUNT);
	if (!error && c.alloc_bulk) {
		error = measure_object(c, "bulk_api", BULK_CALL, 64);
		error = error ?: measure_object(c, "bulk_api16", BULK_CALL, 16);
	}
	return error;
}

static int slab_case(size_t size)
{
	struct kmm_case c = {
		.suite = "slab",
		.alloc = cache_alloc,
		.release = cache_free,
		.alloc_bulk = cache_alloc_bulk,
		.free_bulk = cache_free_bulk,
	};
	char name[24];
	int error;

	snprintf(name, sizeof(name), "kmm-bench-%zu", size);
	cache = kmem_cache_create(name, size, 0, 0, NULL);
	if (!cache)
		return say_error("slab: no cache of %zu bytes", size);
	error = measure_size(c, size);
	kmem_cache_destroy(cache);
	return error;
}

int slab_cases(void)
{
	int error = 0, i;

	for (i = 0; !error && i < ARRAY_SIZE(sizes); i++)
		error = slab_case(sizes[i]);
	return error;
}

int kmalloc_cases(void)
{
	struct kmm_case c = {.suite = "kmalloc", .alloc = sized_alloc, .release = sized_free};
	int error = 0, i;

	for (i = 0; !error && i < ARRAY_SIZE(sizes); i++)
		error = measure_size(c, sizes[i]);
	if (error)
		return error;
	c.size_bytes = MIXED_MAX;
	snprintf(c.size, sizeof(c.size), "%d-%d", MIXED_MIN, MIXED_MAX);
	return measure_object(c, "mixed", MIXED, BATCH_COUNT);
}
