/* SPDX-License-Identifier: MIT */
/*
 * After include/trace/events/mmflags.h and include/linux/gfp_types.h, Linux 4.19 to 6.18. The
 * kernel prints the largest name that fits first, and what is left by single flags.
 */
#include "workloads/gfp_names.h"

#include <string.h>

#include "base/compiler.h"
#include "workloads/kmt.h"

#define RECLAIM	  (KMT_GFP_DIRECT_RECLAIM | KMT_GFP_KSWAPD_RECLAIM)
#define KERNEL	  (RECLAIM | KMT_GFP_IO | KMT_GFP_FS)
#define USER	  (KERNEL | KMT_GFP_HARDWALL)
#define HIGHUSER  (USER | KMT_GFP_HIGHMEM)
#define MOVABLE	  (HIGHUSER | KMT_GFP_MOVABLE)
#define THP_LIGHT ((MOVABLE | KMT_GFP_COMP | KMT_GFP_NOMEMALLOC | KMT_GFP_NOWARN) & ~RECLAIM)

static const struct {
	const char *name;
	size_t length;
	u32 flags;
} names_known[] = {
#define NAME(text) text, sizeof(text) - 1
	{NAME("GFP_KERNEL"), KERNEL},
	{NAME("GFP_KERNEL_ACCOUNT"), KERNEL | KMT_GFP_ACCOUNT},
	{NAME("GFP_NOFS"), RECLAIM | KMT_GFP_IO},
	{NAME("GFP_NOIO"), RECLAIM},
	{NAME("GFP_NOWAIT"), KMT_GFP_KSWAPD_RECLAIM | KMT_GFP_NOWARN},
	{NAME("GFP_ATOMIC"), KMT_GFP_HIGH | KMT_GFP_KSWAPD_RECLAIM},
	{NAME("GFP_USER"), USER},
	{NAME("GFP_HIGHUSER"), HIGHUSER},
	{NAME("GFP_HIGHUSER_MOVABLE"), MOVABLE},
	{NAME("GFP_TRANSHUGE_LIGHT"), THP_LIGHT},
	{NAME("GFP_TRANSHUGE"), THP_LIGHT | KMT_GFP_DIRECT_RECLAIM},
	{NAME("GFP_TEMPORARY"), KERNEL | KMT_GFP_RECLAIMABLE},
	{NAME("GFP_DMA"), KMT_GFP_DMA},
	{NAME("GFP_DMA32"), KMT_GFP_DMA32},
	{NAME("__GFP_RECLAIM"), RECLAIM},
	{NAME("__GFP_REPEAT"), KMT_GFP_RETRY_MAYFAIL},
	{NAME("none"), 0},
	{NAME("0"), 0},
	{NAME("0x0"), 0},
#define X(name) {NAME("__GFP_" #name), KMT_GFP_##name},
	KMT_GFP_FLAGS(X)
#undef X
#undef NAME
};

static u32 gfp_from_name(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(names_known); i++)
		if (names_known[i].length == length && !memcmp(names_known[i].name, name, length))
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
