/* SPDX-License-Identifier: MIT */
/*
 * Random operations of several threads against a slow model. The model of a live object is an entry
 * in a plain table: which cache, what size, what content. Objects are filled with a pattern of
 * their own when they come and compared when they go, so that two of them sharing a byte is found.
 * After each round, when no thread runs, the tables' sums must be what each cache says, and
 * slab_validate() recounts the rest.
 *
 * Objects come and go one by one and in bulk, by kmem_cache_* and kfree(), are resized by
 * krealloc(), and a part of them is freed by another thread than the one that allocated them.
 *
 * TEST_OPS: operations of each thread in each run, default 8,000 (500 under a
 * sanitizer); there are 5 runs, and 8 of a quarter of it with debugging. TEST_THREADS: default 8.
 */
#include "machine.h"

#include <pthread.h>

#define NR_CACHES   9
#define NR_LIVE	    3000 /* entries in a thread's table */
#define NR_MAILBOX  64
#define NR_ROUNDS   8
#define MAX_THREADS 64

struct live {
	void *object;
	unsigned int size; /* bytes filled */
	int cache;	   /* index, or NR_CACHES for kmalloc */
	u64 tag;
};

struct worker {
	unsigned int number;
	unsigned long random;
	u64 next_tag;
	struct live live[NR_LIVE];
	u64 nr_live[NR_CACHES + 1];
	u64 nr_none; /* allocations refused */
};

static const struct {
	unsigned int size, align;
	bool ctor;
} kinds[NR_CACHES] = {{8, 0, false},   {24, 0, true},	 {64, 64, false},
		      {100, 0, false}, {192, 64, true},	 {520, 0, false},
		      {1024, 0, true}, {3000, 0, false}, {20000, 4096, false}};

static struct kmm *machine;
static struct kmem_cache *caches[NR_CACHES];
static struct worker workers[MAX_THREADS];
static struct live *mailbox[NR_MAILBOX]; /* objects on their way to be freed by another thread */
static unsigned int nr_threads, nr_cpus;
static unsigned long nr_ops;

#define CTOR_BYTE 0xc7

/* Constructed objects keep their last eight bytes. */
static void ctor(void *object)
{
	memset(object, CTOR_BYTE, 8);
}

/* The byte to look at after byte i: all of a small object, the ends and a comb of a large one. */
static unsigned int next_byte(unsigned int i, unsigned int size)
{
	return i < 256 || i + 64 >= size ? i + 1 : min_t(unsigned int, i + 61, size - 64);
}

static void fill(struct live *l)
{
	unsigned char *bytes = l->object;
	unsigned int from = l->cache < NR_CACHES && kinds[l->cache].ctor ? 8 : 0;

	for (unsigned int i = from; i < l->size; i = next_byte(i, l->size))
		bytes[i] = (unsigned char)(l->tag + i);
}

/* The first `part` bytes, at those places that were filled. */
static void compare_part(const struct live *l, unsigned int part)
{
	const unsigned char *bytes = l->object;
	bool made = l->cache < NR_CACHES && kinds[l->cache].ctor;

	for (unsigned int i = 0; i < part; i = next_byte(i, l->size)) {
		unsigned char want = made && i < 8 ? CTOR_BYTE : (unsigned char)(l->tag + i);

		if (bytes[i] != want) {
			ok(false, "byte %u of %u of %p (kind %d) is %#x, not %#x", i, l->size,
			   l->object, l->cache, bytes[i], want);
			return;
		}
	}
}

static void compare(const struct live *l)
{
	compare_part(l, l->size);
}

static bool allocate(struct worker *w, struct live *l)
{
	unsigned long r = tap_random(&w->random);
	gfp_t gfp = r & 0x1000000 ? GFP_KERNEL : GFP_KERNEL | __GFP_ZERO;
	int nid = r & 0x2000000 ? NUMA_NO_NODE : (int)(r >> 32 & 1);

	l->cache = (int)(r % (NR_CACHES + 3));
	l->tag = w->next_tag++ * 31 + w->number;
	if (l->cache >= NR_CACHES) {
		l->cache = NR_CACHES;
		l->size = (unsigned int)(1 + (r >> 40) % (r & 0x4000000 ? 200 : 9000));
		l->object = nr_cpus > 2 && r & 0x8000000 ? kmalloc_node(l->size, gfp, nid)
							 : kmalloc(l->size, gfp);
	} else {
		l->size = kinds[l->cache].size;
		if (kinds[l->cache].ctor)
			gfp &= ~__GFP_ZERO;
		l->object = nr_cpus > 2 && r & 0x8000000
				    ? kmem_cache_alloc_node(caches[l->cache], gfp, nid)
				    : kmem_cache_alloc(caches[l->cache], gfp);
	}
	if (!l->object)
		return false;
	if (gfp & __GFP_ZERO)
		for (unsigned int i = 0; i < l->size; i = next_byte(i, l->size))
			if (((unsigned char *)l->object)[i]) {
				ok(false, "byte %u of %u is not zero", i, l->size);
				break;
			}
	fill(l);
	return true;
}

static void release(struct live *l)
{
	compare(l);
	if (l->cache == NR_CACHES)
		kfree(l->object);
	else
		kmem_cache_free(caches[l->cache], l->object);
	l->object = NULL;
}

/*
 * kmalloc's objects change their size; the model, which copies, keeps what both sizes have. To be
 * compared at its places, the new one is looked at as if it had the old size.
 */
static void resize(struct worker *w, struct live *l)
{
	unsigned int size = 1 + (unsigned int)(tap_random(&w->random) % 12000);
	void *object = krealloc(l->object, size, GFP_KERNEL);

	if (!object) {
		w->nr_none++;
		return;
	}
	l->object = object;
	compare_part(l, min_t(unsigned int, l->size, size));
	l->size = size;
	fill(l);
}

#define BULK 24

/* Fill the empty ones of some entries with objects of one cache, or empty the full ones. */
static void in_bulk(struct worker *w, struct live *first)
{
	unsigned long r = tap_random(&w->random);
	struct live *chosen[BULK];
	void *objects[BULK];
	int cache = (int)(r % NR_CACHES), nr = 0;
	bool take = r >> 32 & 1;

	for (int i = 0; i < BULK; i++)
		if (!first[i].object == take && (take || r >> 33 & 1 || first[i].cache == cache)) {
			objects[nr] = first[i].object;
			chosen[nr++] = &first[i];
		}
	if (!take) {
		for (int i = 0; i < nr; i++) {
			compare(chosen[i]);
			w->nr_live[chosen[i]->cache]--;
			chosen[i]->object = NULL;
		}
		kmem_cache_free_bulk(r >> 33 & 1 ? NULL : caches[cache], (size_t)nr, objects);
		return;
	}
	if (!kmem_cache_alloc_bulk(caches[cache], GFP_KERNEL, (size_t)nr, objects)) {
		w->nr_none += (u64)nr;
		return;
	}
	for (int i = 0; i < nr; i++) {
		*chosen[i] = (struct live){.object = objects[i],
					   .size = kinds[cache].size,
					   .cache = cache,
					   .tag = w->next_tag++ * 31 + w->number};
		fill(chosen[i]);
		w->nr_live[cache]++;
	}
}

/* Leave one of ours for another thread, and free what lay there. */
static void exchange(struct worker *w, struct live *mine)
{
	struct live *letter = malloc(sizeof(*letter)), *other;
	unsigned int box = (unsigned int)(tap_random(&w->random) % NR_MAILBOX);

	*letter = *mine;
	w->nr_live[mine->cache]--;
	mine->object = NULL;
	other = __atomic_exchange_n(&mailbox[box], letter, __ATOMIC_ACQ_REL);
	if (!other)
		return;
	release(other);
	free(other);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	int cpu = (int)(w->number % nr_cpus);

	ok_eq(kmm_attach(machine, cpu), 0);
	for (unsigned long i = 0; i < nr_ops / NR_ROUNDS; i++) {
		unsigned long r = tap_random(&w->random);
		struct live *l = &w->live[r % NR_LIVE];

		if (r >> 60 == 15) {
			in_bulk(w, &w->live[r % (NR_LIVE - BULK)]);
		} else if (!l->object) {
			if (allocate(w, l))
				w->nr_live[l->cache]++;
			else
				w->nr_none++;
		} else if (r >> 60 < 5) {
			exchange(w, l);
		} else if (r >> 60 < 7 && l->cache == NR_CACHES) {
			resize(w, l);
		} else {
			w->nr_live[l->cache]--;
			release(l);
		}
	}
	return NULL;
}

static void check_round(void)
{
	u64 live[NR_CACHES + 1] = {0};

	for (unsigned int t = 0; t < nr_threads; t++)
		for (int c = 0; c <= NR_CACHES; c++)
			live[c] += workers[t].nr_live[c];
	for (int i = 0; i < NR_MAILBOX; i++)
		if (mailbox[i])
			live[mailbox[i]->cache]++;
	for (int c = 0; c < NR_CACHES; c++)
		ok_eq(info_of(machine, caches[c]->name).active_objs, live[c]);
	slab_validate(machine);
}

static void free_everything(void)
{
	u64 none = 0;

	for (unsigned int t = 0; t < nr_threads; t++) {
		none += workers[t].nr_none;
		for (int i = 0; i < NR_LIVE; i++)
			if (workers[t].live[i].object)
				release(&workers[t].live[i]);
	}
	for (int i = 0; i < NR_MAILBOX; i++)
		if (mailbox[i]) {
			release(mailbox[i]);
			free(mailbox[i]);
			mailbox[i] = NULL;
		}
	printf("# %lu allocations found no memory\n", none);
}

/* nr_hogs: MiB taken away before the start. */
static void run_model_with(const char *synthetic, u64 node_bytes, unsigned int nr_hogs,
			   const char *slub_debug, enum kmalloc_classes classes)
{
	static const char *names[NR_CACHES] = {"r0", "r1", "r2", "r3", "r4",
					       "r5", "r6", "r7", "r8"};
	unsigned long seed = tap_seed();
	pthread_t threads[MAX_THREADS];
	void *hogs[64];

	machine = boot_config((struct kmm_config){.synthetic = synthetic,
						  .node_bytes = node_bytes,
						  .slub_debug = slub_debug,
						  .kmalloc_classes = classes});
	nr_cpus = topology_nr_cpus(machine->topology);
	for (int c = 0; c < NR_CACHES; c++)
		caches[c] = kmem_cache_create(names[c], kinds[c].size, kinds[c].align, 0,
					      kinds[c].ctor ? ctor : NULL);
	for (unsigned int i = 0; i < nr_hogs; i++)
		hogs[i] = kmalloc(1UL << 20, GFP_KERNEL);
	for (unsigned int t = 0; t < nr_threads; t++) {
		memset(&workers[t], 0, sizeof(workers[t]));
		workers[t].number = t;
		workers[t].random = (seed ^ (t + 1) * 0x9e3779b97f4a7c15UL) | 1;
	}
	for (int round = 0; round < NR_ROUNDS; round++) {
		for (unsigned int t = 0; t < nr_threads; t++)
			pthread_create(&threads[t], NULL, work, &workers[t]);
		for (unsigned int t = 0; t < nr_threads; t++)
			pthread_join(threads[t], NULL);
		check_round();
	}
	free_everything();
	for (unsigned int i = 0; i < nr_hogs; i++)
		kfree(hogs[i]);
	for (int c = 0; c < NR_CACHES; c++)
		ok_eq(kmem_cache_destroy(caches[c]), 0);
	end_machine(machine);
}

static void run_model(const char *synthetic, u64 node_bytes, unsigned int nr_hogs,
		      const char *slub_debug)
{
	run_model_with(synthetic, node_bytes, nr_hogs, slub_debug, KMALLOC_CLASSES_KERNEL);
}

static void the_model_agrees_with_fine_classes(void)
{
	run_model_with(ONE_NODE, 256UL << 20, 0, NULL, KMALLOC_CLASSES_FINE);
}

static void the_model_agrees_on_one_node(void)
{
	run_model(ONE_NODE, 512UL << 20, 0, NULL);
}

static void the_model_agrees_on_two_nodes(void)
{
	run_model(TWO_NODES, 256UL << 20, 0, NULL);
}

/* Most allocations of large objects fail here, so that every way back is taken. */
static void the_model_agrees_when_memory_is_short(void)
{
	run_model(ONE_NODE, 16UL << 20, 6, NULL);
}

static void the_model_agrees_when_two_nodes_are_short(void)
{
	run_model(TWO_NODES, 16UL << 20, 20, NULL);
}

/* Every cache is watched, kmalloc's too, and nothing is found. */
static void the_model_agrees_under_every_debug_flag(void)
{
	static const char *const flags[] = {"F", "Z", "P", "U", "FZPU"};

	nr_ops /= 4;
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++)
		run_model(i & 1 ? TWO_NODES : ONE_NODE, 256UL << 20, 0, flags[i]);
	run_model(TWO_NODES, 16UL << 20, 20, "ZPU");
	run_model_with(TWO_NODES, 16UL << 20, 20, NULL, KMALLOC_CLASSES_FINE);
	run_model_with(ONE_NODE, 256UL << 20, 0, "FZPU", KMALLOC_CLASSES_FINE);
}

int main(void)
{
	const char *threads = getenv("TEST_THREADS");

	nr_ops = tap_ops(TAP_SANITIZED ? 500 : 8000);
	nr_threads = (unsigned int)(threads ? min_t(unsigned long, MAX_THREADS,
						    strtoul(threads, NULL, 0))
					    : 8);
	RUN(the_model_agrees_on_one_node);
	RUN(the_model_agrees_on_two_nodes);
	RUN(the_model_agrees_with_fine_classes);
	RUN(the_model_agrees_when_memory_is_short);
	RUN(the_model_agrees_when_two_nodes_are_short);
	RUN(the_model_agrees_under_every_debug_flag);
	return done();
}
