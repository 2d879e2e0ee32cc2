/* SPDX-License-Identifier: MIT */
/* What the compiler is told: branch weights, cold paths, single accesses, layout. */
#ifndef KMM_BASE_COMPILER_H
#define KMM_BASE_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define KMM_BEGIN_DECLS extern "C" {
#define KMM_END_DECLS	}
#define _Static_assert static_assert
#else
#define KMM_BEGIN_DECLS
#define KMM_END_DECLS
#endif

/* What the shared library shows. A library that only has kmm inside defines it as nothing. */
#ifndef KMM_API
#define KMM_API __attribute__((visibility("default")))
#endif

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* A fast path, or one that is specialised by constant arguments: in line whatever its callers. */
#define KMM_ALWAYS_INLINE static inline __attribute__((always_inline))

/* A slow path: out of line, and laid out away from the fast paths. */
#define KMM_COLD __attribute__((noinline, cold))

#define CACHELINE_SIZE	  64
#define CACHELINE_ALIGNED __attribute__((aligned(CACHELINE_SIZE)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* One access, not torn, repeated or invented; orders nothing. */
#define READ_ONCE(x)	 __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

#define ALIGN_UP(x, a)	 (((x) + ((a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a)-1)) == 0)

#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define max_t(type, a, b) ((type)(a) > (type)(b) ? (type)(a) : (type)(b))

#endif
