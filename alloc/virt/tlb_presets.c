/* SPDX-License-Identifier: MIT */
/*
 * The TLBs of real processors. What no source gives is an assumption, and `sources` says so.
 *
 *	              L1 instructions   L1 data            L2                 walk caches
 *	486           -------- 32, 4 ways, one for both ----------            none
 *	P6            32 + 2 large      64 + 8 large       none               none
 *	Haswell       128 + 8           64 + 32 + 4        1024, 8 ways       32, 4, 2 (assumed)
 *	Skylake       128 + 8           64 + 32 + 4        1536, 12 ways      32, 4, 2 (assumed)
 *	Zen 4         64, any size      72, any size       512 and 3072       64 and 64
 *	Golden Cove   256 + 32          96 + 32 + 8        2048, 16 ways      32, 4, 2 (assumed)
 *
 * What one of two hardware threads has is given where the processor divides an array between them.
 */
#include <string.h>

#include "virt/tlb.h"

#define L(level)  TLB_LEVEL(level)
#define ANY_LEVEL (L(1) | L(2) | L(3))
#define HARDLY_ANY                                                                                 \
	"Cycles of a walk, and of each reference (a hit in the L2 cache), are assumptions.\n"

#define ARRAY(name_, entries_, ways_, kinds_, levels_, replacement_)                               \
	{                                                                                          \
		.name = name_, .entries = entries_, .ways = ways_, .kinds = kinds_,                \
		.levels = levels_, .replacement = replacement_                                     \
	}
#define CACHE(name_, entries_, ways_, levels_) ARRAY(name_, entries_, ways_, 0, levels_, TLB_LRU)

/* Intel documents that there are caches of PDEs, PDPTEs and PML4Es (SDM 4.10.3), no sizes. */
#define INTEL_CACHES                                                                               \
	{                                                                                          \
		CACHE("PDE", 32, 4, L(2)), CACHE("PDPTE", 4, 0, L(3)), CACHE("PML4E", 2, 0, L(4)), \
			CACHE("PML5E", 1, 0, L(5))                                                 \
	}

#define PAGING_I386                                                                                \
	{                                                                                          \
		2,                                                                                 \
		{                                                                                  \
			0, 12, 22                                                                  \
		}                                                                                  \
	}
#define PAGING_4_LEVEL                                                                             \
	{                                                                                          \
		4,                                                                                 \
		{                                                                                  \
			0, 12, 21, 30, 39                                                          \
		}                                                                                  \
	}

const struct tlb_preset tlb_presets[] = {
	{
		.name = "i486",
		.processor = "Intel 80486",
		.sources = "Embedded Intel486 Processor Hardware Reference Manual (1997), 3.5: 8 "
			   "sets of 4 ways, one for\n"
			   "instructions and data, pseudo-LRU by three bits a set; a load of CR3 "
			   "flushes all. 4 KiB pages only,\n"
			   "nothing is global. " HARDLY_ANY,
		.max_levels = 2,
		.config = {.name = "i486",
			   .paging = PAGING_I386,
			   .arrays = {{ARRAY("TLB", 32, 4, TLB_ALL, L(1), TLB_PLRU)}},
			   .walk_cycles = 3,
			   .ref_cycles = 5},
	},
	{
		.name = "p6",
		.processor = "Intel P6 family (Pentium Pro, II, III)",
		.sources = "Intel SDM volume 2, CPUID leaf 2, descriptors 01h (instructions, 4 "
			   "KiB: 32, "
			   "4 ways), 02h (4 MiB: 2,\n"
			   "fully associative), 03h (data, 4 KiB: 64, 4 ways), 04h (4 MiB: 8, 4 "
			   "ways). "
			   "Replacement and caches of\n"
			   "directory entries are not documented: pseudo-LRU and none are "
			   "assumed. " HARDLY_ANY,
		.max_levels = 2,
		.config = {.name = "p6",
			   .paging = PAGING_I386,
			   .arrays = {{ARRAY("ITLB 4K", 32, 4, TLB_INSTRUCTIONS, L(1), TLB_PLRU),
				       ARRAY("ITLB 4M", 2, 0, TLB_INSTRUCTIONS, L(2), TLB_PLRU),
				       ARRAY("DTLB 4K", 64, 4, TLB_DATA, L(1), TLB_PLRU),
				       ARRAY("DTLB 4M", 8, 4, TLB_DATA, L(2), TLB_PLRU)}},
			   .walk_cycles = 4,
			   .ref_cycles = 7,
			   .global = true},
	},
	{
		.name = "haswell",
		.processor = "Intel Haswell (2013)",
		.sources =
			"Intel 64 and IA-32 Architectures Optimization Reference Manual, Haswell, "
			"TLB parameters: entries and\n"
			"ways. 7 cycles for a hit in the second level: the same manual, of Sandy "
			"Bridge. Sets are taken from\n"
			"the lowest bits: Gras and others, Translation Leak-aside Buffer, USENIX "
			"Security 2018. Not documented:\n"
			"replacement (pseudo-LRU assumed, as in Skylake), and the page-walk "
			"caches' sizes (assumed).\n" HARDLY_ANY,
		.max_levels = 4,
		.config = {.name = "haswell",
			   .paging = PAGING_4_LEVEL,
			   .arrays = {{ARRAY("ITLB 4K", 128, 4, TLB_INSTRUCTIONS, L(1), TLB_PLRU),
				       ARRAY("ITLB 2M", 8, 0, TLB_INSTRUCTIONS, L(2), TLB_PLRU),
				       ARRAY("DTLB 4K", 64, 4, TLB_DATA, L(1), TLB_PLRU),
				       ARRAY("DTLB 2M", 32, 4, TLB_DATA, L(2), TLB_PLRU),
				       ARRAY("DTLB 1G", 4, 4, TLB_DATA, L(3), TLB_PLRU)},
				      {ARRAY("STLB", 1024, 8, TLB_ALL, L(1) | L(2), TLB_PLRU)}},
			   .caches = INTEL_CACHES,
			   .l2_hit_cycles = 7,
			   .walk_cycles = 8,
			   .ref_cycles = 12,
			   .pcid = true,
			   .global = true},
	},
	{
		.name = "skylake",
		.processor = "Intel Skylake (2015)",
		.sources =
			"Intel 64 and IA-32 Architectures Optimization Reference Manual, Skylake "
			"Client, TLB parameters: entries\n"
			"and ways. Pseudo-LRU, 9 cycles for a hit in the second level: Hennessy "
			"and "
			"Patterson, Computer\n"
			"Architecture, 6th edition, chapter 2 (Core i7-6700); of 12 ways there is "
			"no "
			"tree, so LRU. The second\n"
			"level's sets are an xor of twice seven bits: Gras and others, Translation "
			"Leak-aside Buffer, USENIX\n"
			"Security 2018. The page-walk caches' sizes are not documented: "
			"assumed.\n" HARDLY_ANY,
		.max_levels = 4,
		.config = {.name = "skylake",
			   .paging = PAGING_4_LEVEL,
			   .arrays = {{ARRAY("ITLB 4K", 128, 8, TLB_INSTRUCTIONS, L(1), TLB_PLRU),
				       ARRAY("ITLB 2M", 8, 0, TLB_INSTRUCTIONS, L(2), TLB_PLRU),
				       ARRAY("DTLB 4K", 64, 4, TLB_DATA, L(1), TLB_PLRU),
				       ARRAY("DTLB 2M", 32, 4, TLB_DATA, L(2), TLB_PLRU),
				       ARRAY("DTLB 1G", 4, 4, TLB_DATA, L(3), TLB_PLRU)},
				      {{.name = "STLB",
					.entries = 1536,
					.ways = 12,
					.kinds = TLB_ALL,
					.levels = L(1) | L(2),
					.hash = 7},
				       ARRAY("STLB 1G", 16, 4, TLB_ALL, L(3), TLB_PLRU)}},
			   .caches = INTEL_CACHES,
			   .l2_hit_cycles = 9,
			   .walk_cycles = 8,
			   .ref_cycles = 12,
			   .pcid = true,
			   .global = true},
	},
	{
		.name = "zen4",
		.processor = "AMD Zen 4 (2022)",
		.sources = "AMD, Software Optimization Guide for the AMD Zen4 Microarchitecture "
			   "(57647): first levels\n"
			   "of 64 and 72 entries for all sizes, fully associative; second levels "
			   "of 512 "
			   "(4 KiB and 2 MiB) and\n"
			   "3072; a page directory cache of 64 entries. The second level for data "
			   "also "
			   "holds directory entries,\n"
			   "as many as there is room for: modelled as a cache of 64 of their own. "
			   "1 GiB "
			   "pages, which it holds as\n"
			   "2 MiB, are in the first level only here. Pages are not coalesced. Not "
			   "documented: replacement (LRU\n"
			   "assumed), ways of the second levels (8 and 24 are assumed), and the "
			   "cycles "
			   "of a hit there (7 assumed).\n" HARDLY_ANY,
		.max_levels = 5,
		.config = {.name = "zen4",
			   .paging = PAGING_4_LEVEL,
			   .arrays = {{ARRAY("L1 ITLB", 64, 0, TLB_INSTRUCTIONS, ANY_LEVEL,
					     TLB_LRU),
				       ARRAY("L1 DTLB", 72, 0, TLB_DATA, ANY_LEVEL, TLB_LRU)},
				      {ARRAY("L2 ITLB", 512, 8, TLB_INSTRUCTIONS, L(1) | L(2),
					     TLB_LRU),
				       ARRAY("L2 DTLB", 3072, 24, TLB_DATA, L(1) | L(2), TLB_LRU)}},
			   .caches = {CACHE("PDE", 64, 0, L(2)),
				      CACHE("PDC", 64, 0, L(3) | L(4) | L(5))},
			   .l2_hit_cycles = 7,
			   .walk_cycles = 8,
			   .ref_cycles = 14,
			   .pcid = true,
			   .global = true},
	},
	{
		.name = "goldencove",
		.processor = "Intel Golden Cove (2021)",
		.sources =
			"Hennessy and Patterson, Computer Architecture, 7th edition, chapter 2 "
			"(Core "
			"i9-12900): 256 and 32 entries\n"
			"for instructions, 96 (6 ways), 32 and 8 for loads, a second level of 2048 "
			"(16 ways) for all sizes, 9\n"
			"cycles for a hit there, pseudo-LRU; of 6 ways there is no tree, so LRU. "
			"16 "
			"entries of all sizes for\n"
			"stores: Intel 64 and IA-32 Architectures Optimization Reference Manual, "
			"Sunny Cove. Not documented: the\n"
			"second level's choice of sets (lowest bits assumed), the page-walk "
			"caches' "
			"sizes (assumed).\n" HARDLY_ANY,
		.max_levels = 5,
		.config = {.name = "goldencove",
			   .paging = PAGING_4_LEVEL,
			   .arrays = {{ARRAY("ITLB 4K", 256, 8, TLB_INSTRUCTIONS, L(1), TLB_PLRU),
				       ARRAY("ITLB 2M", 32, 8, TLB_INSTRUCTIONS, L(2), TLB_PLRU),
				       ARRAY("DTLB 4K", 96, 6, TLB_LOADS, L(1), TLB_LRU),
				       ARRAY("DTLB 2M", 32, 4, TLB_LOADS, L(2), TLB_PLRU),
				       ARRAY("DTLB 1G", 8, 0, TLB_LOADS, L(3), TLB_PLRU),
				       ARRAY("stores", 16, 0, TLB_STORES, ANY_LEVEL, TLB_PLRU)},
				      {ARRAY("STLB", 2048, 16, TLB_ALL, ANY_LEVEL, TLB_PLRU)}},
			   .caches = INTEL_CACHES,
			   .l2_hit_cycles = 9,
			   .walk_cycles = 8,
			   .ref_cycles = 15,
			   .pcid = true,
			   .global = true},
	},
	{0},
};

const struct tlb_preset *tlb_find_preset(const char *name)
{
	const struct tlb_preset *preset = tlb_presets;

	while (preset->name && strcmp(preset->name, name))
		preset++;
	return preset->name ? preset : NULL;
}
