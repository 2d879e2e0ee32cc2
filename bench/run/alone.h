/* SPDX-License-Identifier: MIT */
/*
 * Cases in processes of their own, one for each case and allocator (worker.h):
 *
 *	rounds	of cases that say so (case_ops.alone), so that each allocator's heap is its own; rounds of
 *		all allocators are taken in turns at random: throughput.csv, raw.csv
 *	memory	of cases that say so (bench_case.memory), without huge pages for whomever:
 *		fragmentation.csv, and caches.csv for kmm
 *
 * 	parent			worker
 * 	'r'  ->			a round, timed			-> ROUND
 * 	'm'  ->			the points below		-> SAMPLE and CACHE ...
 *				everything freed, the case over
 *								-> SAMPLE ..., DONE, and ends
 * 	'q'  ->			the same without samples	-> DONE, and ends
 *				the allocator has no memory	-> SKIPPED, and ends
 *
 * The worker's command line is the run's own, with the allocator and the case at its end.
 */
#ifndef KMM_BENCH_ALONE_H
#define KMM_BENCH_ALONE_H

#include "bench/run/measure.h"

/* When memory is looked at; the number is fragmentation.csv's event. */
enum alone_point {
	ALONE_BEFORE,	    /* nothing was allocated */
	ALONE_HELD,	    /* the work is done, and all that the case holds is live */
	ALONE_DRAINED,	    /* a random three quarters of the objects have been freed */
	ALONE_DRAINED_TRIM, /* and the allocator was asked to give back what it can */
	ALONE_EMPTY,	    /* all objects have been freed, and the threads have ended */
	ALONE_EMPTY_TRIM,   /* as before */
};

/* The passes of these cases. An exit status after one line of complaint. */
int measure_alone(struct measure *measure);
/* Seconds that they will take; for progress. */
double alone_expected_s(const struct measure *measure);

/* Is the case left out of the other passes? */
static inline bool is_alone(const struct measured_case *m)
{
	return m->run.c->ops->alone;
}

/* The worker's work: the one case. Returns its exit status. */
int alone_worker(struct bench_case *c, int socket);
/* First in a worker that looks at memory: nobody gets huge pages. */
void alone_without_huge_pages(void);

enum alone_message_type { ALONE_ROUND, ALONE_SAMPLE, ALONE_CACHE, ALONE_DONE, ALONE_SKIPPED };

struct alone_message {
	enum alone_message_type type;
	double ns; /* ROUND: of the slowest thread */
	uint64_t ops;
	enum alone_point point;
	struct {
		int64_t time_ns; /* since BEFORE */
		uint64_t requested_bytes, allocated_bytes;
		bool allocated_known;
		uint64_t backing_bytes, rss_bytes; /* backing: rss since BEFORE */
	} sample;
	struct {
		char name[64];
		bool requested_known;
		uint64_t object_bytes, requested_bytes, objects, slots, slabs, partial, slab_bytes;
	} cache;
	char note[96]; /* SKIPPED */
};

#endif
