/* SPDX-License-Identifier: MIT */
/*
 * What a suite gives to the driver: a list of cases, each one row of throughput.csv. The driver
 * hands them to Google Benchmark (gbench.h), repeats them interleaved at random, and writes the
 * results.
 *
 *	once a run of a case           prepare            (main thread, nothing is timed)
 *	in each of its threads         thread_begin       pin, attach, warm up
 *	                               run(n), run(n) ... timed
 *	                               thread_end         put everything back
 *	once                           finish             check that no byte leaked or changed
 *
 * The threads of a case are in thread_begin at one time (some meet there), and a thread whose
 * thread_begin gave an error runs nothing but still gets its thread_end, with whatever state it was
 * given.
 *
 * A case checks itself: a block handed out twice, a byte that is not what was written, or a leak
 * makes begin/end/finish return an error line, and the run of kmm fails with it. An allocator other
 * than kmm that only runs out of memory (case_no_memory in suites/common.h) loses its row instead.
 */
#ifndef KMM_BENCH_SUITE_H
#define KMM_BENCH_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/peer.h"
#include "kmm.h"

struct fleet_profile; /* workloads/fleet.h */
struct latency_hist;  /* bench/results/latency.h: log-linear histogram of ns */

struct bench_case;

/* What a course's memory is like after a round, while none of its threads works. */
struct round_sample {
	uint64_t requested_bytes; /* live */
	uint64_t backing_bytes;	  /* UINT64_MAX: the allocator cannot say */
	bool held_known; /* backing_bytes is what it cannot give back, and is all there is to say */
	bool free_known; /* the allocator's free memory can be seen: */
	double huge_free_ratio;
	bool blocks_known; /* and by order: */
	uint64_t free_blocks[KMM_PAGE_PEER_ORDERS];
};

/* An object that a case holds between its runs: where its pointer is, which the visitor may set to NULL
 * once it has freed the object, and how many bytes were asked for. */
typedef void held_visit(struct bench_case *c, void **object, uint64_t size_bytes, void *arg);

struct case_ops {
	/* Operations (one alloc + one free, unless the case's name says otherwise) that run() does
	 * per n = 1; 0: as many as the case's own ops_per_batch says. */
	uint64_t ops_per_batch;
	const char *(*prepare)(struct bench_case *c); /* NULL or an error line */
	const char *(*thread_begin)(struct bench_case *c, int thread, void **state);
	void (*run)(struct bench_case *c, int thread, void *state, uint64_t n);
	const char *(*thread_end)(struct bench_case *c, int thread, void *state);
	const char *(*finish)(struct bench_case *c);
	/* n operations, each timed into hist; NULL: no latency rows for this case. Called between
	 * begin and end. */
	void (*latency)(struct bench_case *c, int thread, void *state, uint64_t n,
			struct latency_hist *hist);
	/* Not 0: a course of so many rounds, taken once and in order instead of repeated: run(1) is
	 * a round, and each a sample of the row. sample, by thread 0, before the first round and
	 * after each. */
	unsigned int nr_rounds;
	void (*sample)(struct bench_case *c, struct round_sample *sample);
	/* The rounds are taken in a process of this allocator's own, in turns with those of the others'
	 * (alone.h). Before each, plan, which is not timed. */
	bool alone;
	void (*plan)(struct bench_case *c, int thread, void *state);
	/* Visit each object that the thread holds, between its runs. NULL: it holds none. */
	void (*held)(struct bench_case *c, int thread, void *state, held_visit *visit, void *arg);
};

struct bench_case {
	const char *suite;     /* "page" */
	const char *name;      /* "pair" */
	const char *allocator; /* "kmm"; an A/A copy is "kmm-aa" */
	const char *placement; /* "local", "remote", "interleave" */
	char size[24];	       /* order in suite page, bytes elsewhere, "8-2048" for a range */
	int threads;
	char note[96];	     /* "emulated", "skipped: why", ... joined by "; " */
	bool skipped;	     /* only a row with its note is written */
	const char *gave_up; /* case_no_memory's line; NULL: there was memory so far */

	const struct case_ops *ops;
	const struct object_peer *peer; /* the table that run() calls through, kmm's and the floor's
					 * too; NULL for cases that allocate nothing */
	void *arg;			/* the suite's own */
	size_t size_bytes;
	unsigned int order;
	int count;		/* objects live at once in bulk, shuffle, mixed */
	uint64_t ops_per_batch; /* for ops that leave it to the case; known after prepare */
	bool memory;		/* what memory its allocator holds is looked at (alone.h) */
	uint64_t seed;

	const struct bench_env *env; /* as enumerate was given; outlives the case */

	/* For numa.csv, set by thread_end of thread 0: node of its CPU, the node that most of its
	 * blocks were on (NUMA_NO_NODE: unknown, or no node had most), share of the blocks that
	 * were on its CPU's node (-1 unknown). Zero nodes and a ratio of 0 before the first
	 * thread_end: has_numa says whether it ran. */
	bool has_numa;
	int cpu_node, memory_node;
	double local_ratio;
};

static inline uint64_t case_ops_per_batch(const struct bench_case *c)
{
	return c->ops->ops_per_batch ? c->ops->ops_per_batch : c->ops_per_batch;
}

struct bench_env {
	struct kmm *machine;
	const struct object_peer *peers; /* loaded ones */
	int nr_peers;
	const struct object_peer *page_peers; /* started ones; for suite page only */
	int nr_page_peers;
	const struct fleet_profile *fleets; /* of --fleet; none: kmm's own */
	int nr_fleets;
	uint64_t fleet_bytes; /* live in case fleet; 0: the default */
	bool full;	      /* --full: every order and size */
	bool emulated;
	int nr_threads_max; /* all CPUs; cases come with 1 and with this many threads */
};

/* Grows by doubling; add returns the new case, zeroed, to be filled in; NULL for no memory. */
struct case_list {
	struct bench_case *cases;
	size_t nr, room;
};
struct bench_case *case_list_add(struct case_list *list);

struct suite {
	const char *name;
	const char *summary; /* one line for --help */
	/* Append this suite's cases. 0 or -errno. */
	int (*enumerate)(const struct bench_env *env, struct case_list *list);
};

extern const struct suite *const suites[]; /* ends with NULL; suites/suites.c */

#endif
