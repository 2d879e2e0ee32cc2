/* SPDX-License-Identifier: MIT */
/*
 * Lines of `perf script -F comm,tid,cpu,time,event,trace` with kmem:* tracepoints:
 *
 * 	            make 30266 [001]  1126.998579:  kmem:kmem_cache_alloc: ptr=0x... name=filp ...
 *
 * The reader knows no state: it turns one line into one struct, and what the line says of objects
 * is the converter's to understand.
 */
#ifndef WORKLOADS_PERF_SCRIPT_H
#define WORKLOADS_PERF_SCRIPT_H

#include "base/types.h"

enum perf_kind {
	PERF_BLANK, /* empty, or a comment */
	PERF_OTHER, /* an event of no use here */
	PERF_KMALLOC,
	PERF_KFREE,
	PERF_CACHE_ALLOC,
	PERF_CACHE_FREE,
	PERF_PAGE_ALLOC,
	PERF_PAGE_FREE,
	PERF_PAGE_FREE_BATCHED,
	PERF_PCPU_DRAIN,
};

struct perf_event {
	enum perf_kind kind;
	u32 cpu;
	s32 tid;
	u64 time_ns;
	u32 time_unit_ns; /* what the digits of the time resolve: 1000 for six of them */
	u64 address;	  /* of an object, or frame number of a page; 0 none */
	u64 requested, allocated;
	u32 gfp; /* KMT_GFP_* */
	u32 order;
	s32 migratetype; /* -1 not said */
	s32 node;
	const char *name; /* of the cache: inside the line; NULL not said */
	size_t name_length;
};

/*
 * Read a line of length bytes, without its newline. Returns NULL; or what is wrong with it, a
 * constant string.
 */
const char *perf_script_parse(const char *line, size_t length, struct perf_event *event);

#endif
