/* SPDX-License-Identifier: MIT */
/*
 * libkmm: Linux's memory management cores as a userspace library.
 *
 *	struct kmm *machine;
 *	struct kmm_config config = {0};
 *
 *	kmm_boot(&config, &machine);
 *	struct page *page = alloc_pages(GFP_KERNEL, 0);
 *	...
 *	kmm_shutdown(machine, NULL);
 *
 * This header brings all of it; each part can be included alone. It is C++ (17) too; the member
 * `private` of struct page is private_ there.
 *
 * fork: the child has a copy of the machine as it stood, with one exception. What lies in frames of
 * a memfd-backed zone (Shared, or on i386 HighMem or what stands in for it) is not copied: all of
 * vmalloc's areas, and pages that came from there when the other zones were full. Parent and child
 * write to the same memory, while each keeps its own account of whose it is. So the child may read
 * and free what it has, allocate from the other zones, boot a machine of its own and attach to it,
 * shut its copy down, or exec; it must not use vmalloc, nor run its copy out of memory, while the
 * parent lives on. Only the thread that forked is in the child: what other threads had in their
 * lists is lost to it, and a lock that one of them held stays held, so fork while none is inside a
 * call.
 */
#ifndef KMM_H
#define KMM_H

#include "base/compiler.h"
#include "base/config.h"
#include "base/cpu.h"
#include "base/lock.h"
#include "base/machine.h"
#include "base/types.h"
#include "arch/topology.h"
#include "phys/highmem.h"
#include "phys/mempolicy.h"
#include "phys/page_alloc.h"
#include "phys/page_flags.h"
#include "phys/page_ref.h"
#include "slab/kmalloc.h"
#include "slab/slab.h"
#include "virt/pgtable.h"
#include "virt/vmalloc.h"
#include "report/report.h"

KMM_BEGIN_DECLS

/*
 * Boot a machine. Follows the kernel: topology, nodes, memblock, mem_map, zones, boot memory
 * released to the buddy, slab from static caches, kmalloc caches, kernel page tables and the
 * vmalloc area.
 *
 * The first machine booted becomes the process's current one: threads that never called kmm_attach
 * attach to it on first use, and the one that boots it is attached at once. Later machines leave
 * the calling thread where it is. Not for signal handlers; one boot or shutdown at a time.
 *
 * Returns 0; -EINVAL for a configuration that cannot be (kmm_boot_error() says what is wrong with
 * it); -ENOMEM when the host refuses the memory; or another errno of the host. On an error *machine
 * is NULL and nothing is left behind. Touches little of the memory that it makes, however much that
 * is: struct pages are initialised when their frames are allocated.
 */
KMM_API int kmm_boot(const struct kmm_config *config, struct kmm **machine);

/* One line about this thread's last kmm_boot that failed; "" if none did. */
KMM_API const char *kmm_boot_error(void);

/*
 * End a machine: drain every slot, count what is still allocated, give all memory back to the host.
 * No thread may be inside a call of the machine, or just ending while attached to it, and pointers
 * from it are dead afterwards; a thread other than the caller that is still attached to it may end
 * later, but faults if it uses the library again. With leaks NULL, leaks are printed to stderr, a
 * line a kind. Returns 0, or -EBUSY when something had leaked.
 */
KMM_API int kmm_shutdown(struct kmm *machine, struct kmm_leaks *leaks);

/*
 * Attach the calling thread to logical CPU `cpu` of the machine's topology, or to the one it runs
 * on if cpu is -1, and detach it from where it was. Does not move the thread: see
 * topology_bind_thread. Returns 0; -EINVAL for a CPU that is not there; -EAGAIN when KMM_MAX_SLOTS
 * threads are attached, or -ENOMEM, and the thread is then attached nowhere. Takes slots_lock.
 */
KMM_API int kmm_attach(struct kmm *machine, int cpu);

/* Detach the calling thread; its slot keeps its caches. Done by itself when a thread ends. */
KMM_API void kmm_detach(void);

/* Give every page and object cached by this thread's slot and by idle slots back to where it came
 * from. */
KMM_API void kmm_drain(struct kmm *machine);

/*
 * Give memory that nobody uses back to the host, until no more than keep_bytes of what is free has
 * memory behind it. As kmm_drain, and asks running threads for what their page lists hold, which
 * they give at their next slow path. Runs of 64 KiB, so that up to 64 KiB more may stay; where 2 MiB
 * or more are kept, whole 2 MiB first; with keep_bytes 0 every page. Returns the bytes given back.
 * Any thread, at any time: allocations go on meanwhile.
 * Takes slots_lock.
 */
KMM_API unsigned long kmm_trim(struct kmm *machine, size_t keep_bytes);

/*
 * The same of memory that has been free for a while, for who has a timer: call it every 100 to 250
 * ms. What is freed before one call, and not used until the next, goes back by then or by the one
 * after: pages, what slots without a thread cache, what the caches of objects hold back. Bounded
 * work a call. Returns the bytes given back. Takes slots_lock.
 */
KMM_API unsigned long kmm_age(struct kmm *machine);

/* The process's current machine, or NULL. */
KMM_API struct kmm *kmm_current(void);

KMM_END_DECLS
#endif
