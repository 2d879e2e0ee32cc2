/* SPDX-License-Identifier: MIT */
/*
 * Traces as the command hands them to the kernel: one file, mapped there, of any number of
 *
 *	struct linux_trace, its caches, its operations
 *
 * one behind the other, then one with nr_ops 0. Operations are in the order of the .kmt they were made
 * from, of one population, with everything looked up that the kernel need not look up.
 */
#ifndef KMM_BENCH_LINUX_TRACE_FORMAT_H
#define KMM_BENCH_LINUX_TRACE_FORMAT_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define LINUX_TRACE_REGION "kmmtrace" /* iomem's name for the file */
#define LINUX_TRACE_MAGIC  0x31656361726d6d6bULL

#define LINUX_TRACE_NAME  64
#define LINUX_NO_CACHE	  0xffff
#define LINUX_TRACE_PAGES 1 /* population: pages; 0: objects */

enum linux_action { LINUX_ALLOC, LINUX_FREE };

/* Of an allocation: what the kernel is asked for beyond GFP_KERNEL, or in its place. */
#define LINUX_GFP_ATOMIC      1
#define LINUX_GFP_MOVABLE     2
#define LINUX_GFP_RECLAIMABLE 4
#define LINUX_GFP_COMP	      8

struct linux_trace {
	uint64_t magic, nr_ops;
	uint32_t population, nr_ids, nr_caches, samples; /* samples: of memory, over the trace */
	char name[LINUX_TRACE_NAME];
};

struct linux_trace_cache {
	char name[56];
	uint32_t size_bytes, pad;
};

struct linux_trace_op {
	uint64_t time_ns;
	uint32_t id;
	uint32_t bytes; /* of pages: of the block */
	uint16_t cache; /* LINUX_NO_CACHE: kmalloc */
	uint8_t action;
	uint8_t order;
	uint8_t gfp; /* LINUX_GFP_* */
	uint8_t pad[3];
};

#endif
