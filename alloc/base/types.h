/* SPDX-License-Identifier: MIT */
/* The kernel's short integer names, page geometry and the numbers that identify things. */
#ifndef KMM_BASE_TYPES_H
#define KMM_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

#define PAGE_SHIFT 12
#define PAGE_SIZE  (1UL << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define HPAGE_SHIFT 21
#define HPAGE_SIZE  (1UL << HPAGE_SHIFT)
#define HPAGE_ORDER (HPAGE_SHIFT - PAGE_SHIFT)

#define MAX_PAGE_ORDER	   10 /* the largest block of the buddy allocator: 4 MiB */
#define NR_PAGE_ORDERS	   (MAX_PAGE_ORDER + 1)
#define MAX_ORDER_NR_PAGES (1UL << MAX_PAGE_ORDER)

#define KMM_MAX_NODES 64   /* NUMA nodes of a machine */
#define KMM_MAX_CPUS  1024 /* CPUs of a topology */
#define KMM_MAX_SLOTS 4096 /* threads attached at one time */

#define NUMA_NO_NODE (-1)

struct kmm;
struct kmm_cpu;
struct page;
struct zone;

#endif
