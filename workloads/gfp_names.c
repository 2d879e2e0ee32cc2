/* SPDX-License-Identifier: MIT */
/*
 * After include/trace/events/mmflags.h and include/linux/gfp_types.h, Linux 4.19 to 6.18. The kernel prints the
 * largest name that fits first, and what is left by single flags.
 */
#include "workloads/gfp_names.h"

#include <string.h>

#include "base/compiler.h"
#include "workloads/kmt.h"

#define RECLAIM	   (KMT_GFP_DIRECT_RECLAIM | KMT_GFP_KSWAPD_RECLAIM)
#define KERNEL	   (RECLAIM | KMT_GFP_IO | KMT_GFP_FS)
#define USER	   (KERNEL | KMT_GFP_HARDWALL)
#define HIGHUSER   (USER | KMT_GFP_HIGHMEM)
#define MOVABLE	   (HIGHUSER | KMT_GFP_MOVABLE)
#define THP_LIGHT  ((MOVABLE | KMT_GFP_COMP | KMT_GFP_NOMEMALLOC | KMT_GFP_NOWARN) & ~RECLAIM)

static const struct {
	const char *name;
	u32 flags;
} names_known[] = {
	{"GFP_KERNEL", KERNEL},
	{"GFP_KERNEL_ACCOUNT", KERNEL | KMT_GFP_ACCOUNT},
	{"GFP_NOFS", RECLAIM | KMT_GFP_IO},
	{"GFP_NOIO", RECLAIM},
	{"GFP_NOWAIT", KMT_GFP_KSWAPD_RECLAIM | KMT_GFP_NOWARN},
	{"GFP_ATOMIC", KMT_GFP_HIGH | KMT_GFP_KSWAPD_RECLAIM},
	{"GFP_USER", USER},
	{"GFP_HIGHUSER", HIGHUSER},
	{"GFP_HIGHUSER_MOVABLE", MOVABLE},
	{"GFP_TRANSHUGE_LIGHT", THP_LIGHT},
	{"GFP_TRANSHUGE", THP_LIGHT | KMT_GFP_DIRECT_RECLAIM},
	{"GFP_TEMPORARY", KERNEL | KMT_GFP_RECLAIMABLE},
	{"GFP_DMA", KMT_GFP_DMA},
	{"GFP_DMA32", KMT_GFP_DMA32},
	{"__GFP_RECLAIM", RECLAIM},
	{"__GFP_REPEAT", KMT_GFP_RETRY_MAYFAIL},
	{"none", 0},
	{"0", 0},
	{"0x0", 0},
#define X(name) {"__GFP_" #name, KMT_GFP_##name},
	KMT_GFP_FLAGS(X)
#undef X
};

static u32 gfp_from_name(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(names_known); i++)
		if (strlen(names_known[i].name) == length && !memcmp(names_known[i].name, name, length))
			return names_known[i].flags;
	return KMT_GFP_OTHER;
}

u32 gfp_from_names(const char *names, size_t length)
{
	const char *end = names + length;
	u32 flags = 0;

	while (names < end) {
		const char *bar = memchr(names, '|', (size_t)(end - names));

		if (!bar)
			bar = end;
		flags |= gfp_from_name(names, (size_t)(bar - names));
		names = bar + 1;
	}
	return flags;
}
