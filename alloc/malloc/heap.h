/* SPDX-License-Identifier: MIT */
/*
 * Inside libkmm-malloc.so: the C library's allocator on kmm, for LD_PRELOAD and for linking.
 *
 *	malloc, free, operator new ...	this CPU's magazine, no call, no lock          (malloc.c, new.c)
 *	     |
 *	heap_alloc, heap_free ...	to 32 KiB slab; to 64 MiB runs of
 *	     |				pages; above, or when the machine is full, mmap
 *	     |                                                  (objects.c, huge.c)
 *	heap_enter			the machine is booted, the thread has a slot   (start.c)
 *
 * The library has one machine of layout ZONES_PLAIN, as large as the host's memory, none of which
 * costs anything before it is touched. All symbols but those of malloc's family are hidden, so a
 * program may use libkmm besides, which is then another copy with machines of its own.
 *
 * Where an address comes from follows from what it is:
 *	inside the machine's direct map	its struct page says slab, or a run of pages
 *	inside heap_early		the arena for calls that come while the machine is booted; never freed
 *	registered in huge.c		a mapping of its own
 *	none of these			a caller's bug, or the loader's own from before there was a malloc
 */
#ifndef KMM_MALLOC_HEAP_H
#define KMM_MALLOC_HEAP_H

#include <pthread.h>

#include "base/config.h"
#include "base/cpu.h"
#include "base/types.h"

/* Out of line, so that fast paths need no frame, but not cold: a refill is no rarity. */
#define SLOW __attribute__((noinline))

/* What the library exports: the rest is hidden. */
#define EXPORT __attribute__((visibility("default")))

#define MIN_ALIGN 16UL /* of all that is handed out: what x86-64's ABI promises */

enum heap_state {
	HEAP_NONE,
	HEAP_BOOTING,
	HEAP_READY,
	HEAP_FAILED, /* the host refused even a small machine: everything is mmapped */
};

/* The process's heap. Set at boot and then constant, but for what says otherwise. */
struct heap {
	enum heap_state state; /* atomic */
	struct kmm *machine;
	char *direct_map; /* the machine's, to tell its addresses from others without a slot */
	u64 direct_map_bytes;
	pthread_key_t key;    /* its destructor gives a dying thread's slot back */
	unsigned int trim_ms; /* how soon idle memory goes back; 0: never by itself */
	int stats_fd; /* where to print a summary at exit: stderr as it was at first, because
			       * many a program closes its own before it ends; 0: nowhere */
	s32 pid;      /* set again in the child of a fork */

	/* The slot of threads that cannot have one of their own. guest_lock protects: */
	struct kmm_cpu *guest;
	pthread_mutex_t guest_lock;
};
extern struct heap heap;

/*
 * start.c
 */

/* How a slow path came by its slot, for heap_leave. */
enum entry {
	ENTRY_OWN,   /* this_cpu is the thread's own */
	ENTRY_GUEST, /* it is the guest's, and guest_lock is held */
	ENTRY_EARLY, /* there is none: the machine is being booted by this thread, or could not be */
};
enum entry heap_enter_slow(void);
void heap_leave_guest(void);

/* Has the thread's slot been given back for good, or is about to be? */
bool thread_is_ending(void);

/* Around all that needs this_cpu: boots the machine and attaches the thread when that is to be done. */
static inline enum entry heap_enter(void)
{
	if (likely(this_cpu != kmm_cpu_detached) && likely(READ_ONCE(heap.state) == HEAP_READY))
		return ENTRY_OWN;
	return heap_enter_slow();
}

static inline void heap_leave(enum entry entry)
{
	if (unlikely(entry == ENTRY_GUEST))
		heap_leave_guest();
}

/* Is addr in the machine's memory? */
static inline bool heap_has(const void *addr)
{
	return (u64)((const char *)addr - READ_ONCE(heap.direct_map)) <
	       READ_ONCE(heap.direct_map_bytes);
}

/*
 * early.c: memory for calls of malloc that come from the boot of the machine itself. It is zero, and
 * never used again.
 */
void *early_alloc(size_t size, size_t align);
bool early_has(const void *addr);
size_t early_size(const void *addr);

/*
 * objects.c: the whole way, for any size and alignment (a power of two). NULL and errno for no memory.
 * zero: all bytes asked for are zero.
 */
void *heap_alloc(size_t size, size_t align, bool zero);
/* Give back what it gave. caller: whoever called free, to tell the loader. errno stays as it is. */
void heap_free(void *addr, void *caller);
/* Is addr in the loader's own code or data? */
bool heap_is_loader(const void *addr);
/* Usable bytes, which whoever asks may use. */
size_t heap_size(void *addr);
void *heap_realloc(void *addr, size_t size);

/* runs.c: the layer of free runs of pages. */
extern const struct kmm_layer runs_layer;

/*
 * huge.c: one mapping an allocation, found by its address. Any thread; takes huge_lock.
 */
void huge_init(void);
/* size is at least 1. Zeroed. NULL for no memory. */
void *huge_alloc(size_t size, size_t align);
/* The same, but not zeroed, for a buffer that is expected to grow: with address space behind it to do so.
 * NULL also when there are very many mappings already. */
void *huge_alloc_growing(size_t size);
/* False when there is none at this address. */
bool huge_free(void *addr);
/* Its bytes; 0 when there is none at this address. */
size_t huge_size(const void *addr);
/* Make it size bytes long, here or elsewhere, without a copy; NULL if the host refuses, and it is as it
 * was. */
void *huge_resize(void *addr, size_t size);
/* Give back the free one that is kept at hand. False if there is none. */
bool huge_trim(void);
/* How many there are, and their bytes. */
void huge_count(u64 *nr, u64 *bytes);
struct lock *huge_lock_for_fork(void);

/*
 * options.c: KMM_OPTIONS and KMM_STATS. Fills in the machine's configuration, and the heap's own part.
 * A bad one is one line on stderr, and all are then as if not given: as in *defaults.
 */
void options_read(struct kmm_config *config, struct kmm_config *defaults);
void options_complain(const char *what);

/* fork.c: register the handlers. */
int fork_init(void);

/* trim.c */
/* Give all that is free back to the host, as malloc_trim. True if anything was; false also when another
 * thread is at it, or one just was. */
bool trim_now(void);
/* After a free of about so many bytes that went the slow way, with no lock held. caller: of free. */
void trim_note(size_t bytes, void *caller);
/* A thread ends, and what it had at hand is free memory as any. */
void trim_thread_ends(void);
/* In the child of a fork: there is no helper thread, and nobody trims. */
void trim_after_fork(void);

/* info.c: a few lines; allocates nothing. */
void heap_print_summary(int fd);

#endif
