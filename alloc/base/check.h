/* SPDX-License-Identifier: MIT */
/*
 * Three tiers of checks.
 *
 *	KMM_BUG_ON(cond, ...)	every build: a caller's bug, found where looking is free
 *	KMM_DEBUG_ON(cond, ...)	--enable-checks: an invariant of ours
 *	KMM_PARANOID		--enable-checks=paranoid: code that recounts whole structures
 */
#ifndef KMM_BASE_CHECK_H
#define KMM_BASE_CHECK_H

#include "base/compiler.h"

#ifndef KMM_CHECKS
#ifdef HAVE_CONFIG_H
#include <config.h> /* autoconf's; base/config.h would be found with quotes */
#endif
#endif
#ifndef KMM_CHECKS
#define KMM_CHECKS 0
#endif

#define KMM_DEBUG    (KMM_CHECKS >= 1)
#define KMM_PARANOID (KMM_CHECKS >= 2)

/* Print "kmm: file:line: function: message" to stderr and abort. Allocates nothing. */
KMM_COLD __attribute__((noreturn, format(printf, 4, 5))) KMM_API void
kmm_bug(const char *file, int line, const char *func, const char *fmt, ...);

#define KMM_BUG(...) kmm_bug(__FILE__, __LINE__, __func__, __VA_ARGS__)
#define KMM_BUG_ON(cond, ...)                                                                      \
	do {                                                                                       \
		if (unlikely(cond))                                                                \
			KMM_BUG(__VA_ARGS__);                                                      \
	} while (0)
#define KMM_DEBUG_ON(cond, ...)                                                                    \
	do {                                                                                       \
		if (KMM_DEBUG)                                                                     \
			KMM_BUG_ON(cond, __VA_ARGS__);                                             \
	} while (0)

#endif
