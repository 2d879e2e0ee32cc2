/* SPDX-License-Identifier: MIT */
/*
 * What every suite shares: making cases, error lines, pinning, random numbers, memory of the
 * harness's own.
 *
 * No state here but error lines and what kmm_target holds for the one case that runs.
 */
#ifndef KMM_BENCH_SUITES_COMMON_H
#define KMM_BENCH_SUITES_COMMON_H

#include "bench/peers/page_peers.h"
#include "bench/suite.h"
#include "bench/suites/loops.h"

/* A line that says what went wrong in a case; good until 64 more have been made. Any thread. */
const char *error_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Append to the row's note; and, for a row without figures, put why before it. */
void case_note(struct bench_case *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void case_skip(struct bench_case *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * The allocator has not the memory that the case wants: a line "no memory ...", for thread_begin or
 * thread_end to return, of the thread of the case that said so first. It ends the run where the
 * allocator is kmm; any other's row is skipped with it (case_run.h). So whoever calls this gives back,
 * by thread_end at the latest, what the thread did get. Any thread.
 */
const char *case_no_memory(struct bench_case *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* That line, or NULL as long as no thread has said so. */
const char *case_given_up(const struct bench_case *c);

/* A new case with placement local, the default seed, and "emulated" noted where it is. NULL for no
 * memory. */
struct bench_case *case_add(const struct bench_env *env, struct case_list *list, const char *suite,
			    const char *name, const char *allocator, const struct case_ops *ops,
			    int threads);

/* Pin the calling thread to logical CPU thread % CPUs, and attach it to the machine there; and undo
 * it. Nothing without a machine. NULL or an error line. */
const char *thread_pin(const struct bench_case *c, int thread);
void thread_unpin(const struct bench_case *c);
int thread_cpu(const struct bench_case *c, int thread);
/* The node of that CPU; NUMA_NO_NODE without a machine. */
int thread_node(const struct bench_case *c, int thread);
/* The node farthest from nid; nid itself where there is but one. */
int farthest_node(const struct bench_case *c, int nid);
unsigned int nr_nodes(const struct bench_env *env);

/* Zeroed memory that is none of the allocators', present at once (present) or as touched; huge:
 * asks for huge pages. NULL for no memory. */
void *harness_alloc(size_t size, bool present, bool huge);
void harness_free(void *memory, size_t size);
/* What of it there is now. */
uint64_t harness_bytes(void);

/*
 * Where the threads of a case wait for each other, between thread_begin and thread_end; prepare sets
 * it to zeros. One that cannot come says so with meeting_leave, or else the others give up after some
 * seconds. NULL, or an error line when somebody did not come: case_given_up's if there is one.
 */
struct meeting {
	int nr_arrived; /* ever, so that a meeting can be held again */
	bool left;	/* somebody gave up */
};
const char *meeting_wait(struct meeting *meeting, const struct bench_case *c);
void meeting_leave(struct meeting *meeting);

/* Thread counts of a case: 1, and all CPUs where that is more. Returns how many there are. */
int thread_counts(const struct bench_env *env, int counts[2]);

/* The allocators of a suite: kmm (if there is a machine), the peers, page peers where kmm's table is
 * kmm_page_tables, mmap. */
struct allocator_choice {
	const char *name;
	const struct object_peer *peer;
};
#define MAX_CHOICES (PEER_MAX + PAGE_PEER_MAX + 2)
int list_allocators(const struct bench_env *env, const struct object_peer *kmm,
		    const struct object_peer *mmap, struct allocator_choice out[MAX_CHOICES]);

/*
 * kmm's entry points, the host's mmap and the floor's list, as tables like any peer's. What
 * malloc's signature has no room for (order, cache, size for munmap, node) lies in kmm_target: the
 * case's prepare sets it, and it is constant while threads run. kmm_target_nid is the running
 * thread's own, and so is kmm_target_cpu, the number by which page peers know the thread: thread_pin
 * sets it to the thread's number in its case.
 */
enum placement { PLACE_LOCAL, PLACE_REMOTE, PLACE_INTERLEAVE, NR_PLACEMENTS };
extern const char *const placement_names[NR_PLACEMENTS];

struct kmm_target {
	struct kmm *machine;
	struct kmem_cache *cache;
	unsigned int order;
	int nr_nodes;
	size_t size_bytes;
};
extern struct kmm_target kmm_target __attribute__((visibility("hidden")));
/* Reached in one instruction, position-independent code or not. */
#define FAST_TLS __attribute__((tls_model("initial-exec")))
extern _Thread_local int kmm_target_nid FAST_TLS;
extern _Thread_local unsigned int kmm_target_cpu FAST_TLS;

extern const struct object_peer kmm_page_tables[NR_PLACEMENTS];
extern const struct object_peer kmm_slab_tables[NR_PLACEMENTS];
extern const struct object_peer kmm_kmalloc_tables[NR_PLACEMENTS];
extern const struct object_peer kmm_vmalloc_tables[NR_PLACEMENTS];
extern const struct object_peer mmap_table;
extern const struct object_peer mmap_pages_table; /* the same, and blocks of any order */
/* The same, and aligned; and free unmaps range_size bytes where that is not 0, of the thread that
 * calls. */
extern const struct object_peer mmap_ranges_table;
extern _Thread_local size_t range_size FAST_TLS;
extern const struct object_peer list_table;

#define LIST_STOCK	 1024 /* objects of 64 bytes that a thread's list holds */
#define LIST_OBJECT_SIZE 64
/* Fill and empty the calling thread's list. 0, -ENOMEM; the number of objects in it. */
int list_stock(void);
int list_unstock(void);

#endif
