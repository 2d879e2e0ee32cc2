/* SPDX-License-Identifier: MIT */
/*
 * The patterns that allocate and free through a table: pair, bulk, shuffle, mixed, and their
 * checks.
 *
 *	pair	allocate, touch, free
 *	bulk	count allocations, then the frees in the same order
 *	shuffle	count allocations, then the frees in random order
 *	mixed	shuffle with sizes of 8 to 2048 bytes
 *	bulk_api	bulk, by one call for all allocations and one for all frees, where the allocator
 *		has such a call
 *
 * The timed loops (loops.h) are the same code for every allocator: function pointers loaded once from
 * the case's table. Nothing but the allocator touches the objects in all but pair, unless the
 * suite has a touch_stride: then shuffle touches as pair does. Before and
 * after the timed runs, untimed, each thread fills a set of objects with words made of their address
 * and number, and checks that they lie apart and that every word is still there when each is freed
 * (verify.h).
 */
#ifndef KMM_BENCH_SUITES_OBJECTS_H
#define KMM_BENCH_SUITES_OBJECTS_H

#include "bench/suites/common.h"
#include "bench/suites/verify.h"

/* What a suite adds to the patterns. All hooks may be NULL. */
struct object_suite {
	/* An object's size, of up to 65535 bytes: each thread has a table of such. NULL: size_bytes. */
	size_t (*draw_size)(uint64_t *random);
	/* A word in each so many bytes is touched, in pair and shuffle; 0: pair touches the first. */
	size_t touch_stride;
	/* Main thread: set kmm_target; before any thread, after all of them. NULL or an error line.
	 */
	const char *(*setup)(struct bench_case *c);
	const char *(*teardown)(struct bench_case *c);
	/* Each thread, after it is pinned; before it is unpinned. */
	const char *(*thread_setup)(struct bench_case *c, int thread);
	const char *(*thread_teardown)(struct bench_case *c, int thread);
	/* The node of one of kmm's objects. Peers' objects are asked of the OS. */
	int (*node_of)(const void *object);
};

/* A thread's state. */
struct object_thread {
	const struct object_suite *suite;
	size_t state_bytes; /* of this whole mapping */
	bool failed;	    /* an allocation gave NULL in a timed run */
	const char *error;  /* what else went wrong in one */
	unsigned int next_perm;
	uint64_t random; /* for patterns that draw as they go; bench_random's */
	struct verify_set verify;
	void **objects;		   /* [count] */
	uint64_t *alloc_cycles;	   /* [count], for latency */
	uint16_t *perms[NR_PERMS]; /* [count], a random order each */
	uint16_t *sizes[NR_PERMS]; /* [count], drawn; zeros where the suite draws none */
	uint16_t *held;		   /* [count], the size of each in objects, for who keeps it */
};

enum pattern { PATTERN_BULK, PATTERN_SHUFFLE, PATTERN_MIXED, PATTERN_BULK_API, PATTERN_PAIR };

/* The operations of a pattern. A case's count is 16 to 32768, and for pair 1. */
const struct case_ops *pattern_ops(enum pattern pattern);

/* The parts that other patterns share: prepare and finish of all, begin and end of a thread. */
const char *objects_prepare(struct bench_case *c);
const char *objects_finish(struct bench_case *c);
const char *objects_thread_begin(struct bench_case *c, int thread, struct object_thread **state);
const char *objects_thread_end(struct bench_case *c, int thread, struct object_thread *state);

/*
 * Cases of one pattern and size: for each allocator, each thread count, and (kmm, jemalloc) each
 * placement, where there is more than one node. 0 or -ENOMEM.
 */
struct object_cases {
	const char *suite, *name;
	const struct case_ops *ops;
	const struct object_suite *object_suite;
	const struct object_peer *kmm;	/* its tables, [NR_PLACEMENTS] */
	const struct object_peer *mmap; /* &mmap_table or NULL */
	const char *size;		/* the column; NULL: size_bytes in decimal */
	size_t size_bytes;
	unsigned int order, most_order; /* most_order: of cases that mix orders */
	int count;			/* live at once */
	uint64_t ops_per_batch;		/* 0: count; only where ops leave it open */
	int threads;			/* 0: 1 and all CPUs; else so many */
	bool one_placement;		/* local only, though there be nodes */
	uint64_t memory_bytes;		/* that a case has for all threads' objects; 0: enough */
	const char *note;		/* for the row, or NULL */
	/* The same, of one allocator. Or NULL. */
	const char *(*note_of)(const struct object_peer *peer);
	bool aa;     /* also the A/A copies of kmm and jemalloc */
	bool fine;   /* also kmm with its finer sizes, as kmm-fine: of cases in their own process */
	bool memory; /* of the most threads, what memory is held is looked at */
	/* Why an allocator's row is skipped; NULL: it is not, "": there is no row at all. Or NULL. */
	const char *(*refuse)(const struct bench_env *env, const struct object_cases *cases,
			      const struct object_peer *peer);
};
int object_cases_add(const struct bench_env *env, struct case_list *list,
		     const struct object_cases *cases);

/*
 * The cases that suites of objects have in common beyond pair, bulk and shuffle, of the size given:
 *
 *	bulk_api, bulk_api16	64 and 16 objects a call
 *	repeat, occupancy	slots.h
 *	threadtest		bulk with more objects than any cache of a CPU holds, on all CPUs
 *	xcpu, remote		xcpu.h
 *
 * and, of 8 bytes, falseshare and falseshare_passive (falseshare.h). like says the suite, its hooks and
 * kmm's tables. 0 or -ENOMEM.
 */
int object_cases_add_more(const struct bench_env *env, struct case_list *list,
			  const struct object_cases *like, size_t size_bytes);
int object_cases_add_falseshare(const struct bench_env *env, struct case_list *list,
				const struct object_cases *like);

/* The largest power of two, 16 to BATCH_COUNT, of objects that all threads together can hold in a
 * quarter of memory_bytes. */
int batch_count(const struct bench_env *env, size_t object_bytes, uint64_t memory_bytes);
/* Bytes of the page allocator's memory on the node that has least, without frames for vmalloc; 1
 * GiB if there is no machine. */
uint64_t node_memory_bytes(const struct bench_env *env);

#endif
