/* SPDX-License-Identifier: MIT */
/*
 * Page peers (peer.h, struct kmm_page_peer) in this process: loaded, given memory, and wrapped into
 * tables of suite page like kmm's own.
 *
 *	page_peer_load    dlopen, checks; the table is there, its functions must not be called yet
 *	page_peer_start   memory, init; now they may
 *	page_peer_stop    exit; the memory goes back
 *
 * One thread, at start and end of the process's work; a library stays loaded. Errors are one line;
 * that of page_peer_load begins with the peer's name or file.
 */
#ifndef KMM_BENCH_PAGE_PEERS_H
#define KMM_BENCH_PAGE_PEERS_H

#include "bench/peer.h"
#include "kmm.h"

#define PAGE_PEER_MAX 8

/*
 * Load FILE or NAME=FILE. others are allocators whose names are taken, besides kmm's, mmap's, the
 * floor's, the known malloc libraries' and those of page peers already loaded. 0; -ENOENT when the
 * file cannot be loaded; -EINVAL for what it exports, or a name that cannot be; -EEXIST for a name
 * or library that is there already; -ENOSPC beyond PAGE_PEER_MAX; -ENOMEM.
 */
int page_peer_load(const char *spec, const struct object_peer *others, int nr_others,
		   struct object_peer *peer, char *error, size_t error_size);

/*
 * Reserve, bind and advise as much memory as the machine has, as it does with its own, and init the
 * peer. Its threads will be number 0 to nr_cpus - 1. 0; -ENOMEM; or what init gave.
 */
int page_peer_start(const struct object_peer *peer, const struct kmm *machine, unsigned int nr_cpus,
		    char *error, size_t error_size);

/* Nothing where the peer was not started, or has been stopped. */
void page_peer_stop(const struct object_peer *peer);

/* Does the peer serve all orders from lowest to highest? True for all that are no page peers. */
bool page_peer_serves(const struct object_peer *peer, unsigned int lowest, unsigned int highest);

/* Whether a block that the peer handed out is not one of its memory, or not aligned to its size: a
 * line says so, else NULL. NULL for all that are no page peers. */
const char *page_peer_misplaced(const struct object_peer *peer, const void *block,
				size_t size_bytes, char *line, size_t line_size);

/* The memory that the peer manages. */
uint64_t page_peer_nr_frames(const struct object_peer *peer);

#endif
