/* SPDX-License-Identifier: MIT */
/*
 * An allocator that is broken on purpose, in one chosen way, to see whether the suites' checks see
 * it. Sound otherwise: free lists by power of two under a mutex, over one reserved range.
 */
#ifndef TESTS_BENCH_BROKEN_H
#define TESTS_BENCH_BROKEN_H

#include "bench/peer.h"

enum breakage {
	BREAK_NOTHING,
	BREAK_TWICE,   /* now and then hands out the block it gave last */
	BREAK_OVERLAP, /* now and then hands out a block that begins in the one it gave last */
	BREAK_BYTE,    /* a free changes a byte of a live block */
	BREAK_LEAK,    /* now and then a free does nothing */
	BREAK_NULL,    /* no memory, in the end */
};

/* A block handed out twice is written by two threads at once. */
#ifndef __has_feature /* gcc has not, and says it so: */
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define RACES_ARE_FATAL true
#else
#define RACES_ARE_FATAL false
#endif

extern const char *const breakage_names[];
extern const struct object_peer broken_peer;

/* A fresh allocator, broken in this way; and all its memory back to the system. */
void broken_start(enum breakage breakage);
void broken_end(void);

#endif
