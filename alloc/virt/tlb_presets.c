/* SPDX-License-Identifier: MIT */
/*
 * The TLBs of real processors. What was looked up is cited in `sources'; what was not to be found
 * in anything at hand is `not verified' there, and has a ? here.
 *
 *	              L1 instructions   L1 data            L2                 walk caches
 *	486           -------- 32, 4 ways, one for both ----------            none
 *	P6            32 + 2 large      64 + 8 large       none               none ?
 *	Haswell       128 + 8 ?         64 + 32 + 4        1024, 8 ways       32, 4, 2 ?
 *	Skylake       128 + 8           64 + 32 ? + 4      1536, 12 ways      32, 4, 2 ?
 *	Zen 4         64, any size      72, any size       512 and 3072       64 and 64 ?
 *	Golden Cove   256 + 32          96 + 32 + 8        2048, 16 ways      32, 4, 2 ?
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
		.sources = "Embedded Intel486 Processor Hardware Reference Manual, page 3-17 and "
			   "figure 3-7: 8\n"
			   "sets of 4 ways, one for instructions and data, pseudo-LRU as in the "
			   "cache, by three\n"
			   "bits a set; a load of CR3 flushes all.\n4 KiB pages only, nothing is "
			   "global.\n" HARDLY_ANY,
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
		.sources = "Intel SDM, volume 2, CPUID, table of the descriptors of leaf 2: 01h "
			   "(instructions, 4\n"
			   "KiB: 32, 4 ways), 02h (4 MiB: 2, fully associative), 03h (data, 4 KiB: "
			   "64, 4 ways),\n"
			   "04h (4 MiB: 8, 4 ways); boot messages of FreeBSD on Pentium IIs list "
			   "these four.\n"
			   "Not verified: replacement and caches of directory entries (pseudo-LRU "
			   "and none are\n"
			   "assumed).\n" HARDLY_ANY,
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
		.sources = "CPUID leaf 2 of a Core i5-4278U (github.com/libmir/mir-cpuid, issue "
			   "7): 64 entries for\n"
			   "instructions, 8 ways, which is one thread's half of 128; 64, 4 ways, "
			   "for data; 1024,\n"
			   "8 ways, in the second level (descriptor C1h: for 4 KiB and 2 MiB). 32 "
			   "for 2 MiB and 4\n"
			   "for 1 GiB pages: Mynavi News, 21 June 2013, on Haswell, part 15.\n"
			   "Not verified: 8 entries for instructions in 2 MiB pages, the ways of "
			   "the last three,\n"
			   "7 cycles for a hit in the second level (the 2013 article measures 12 "
			   "as a whole), sets\n"
			   "from the lowest bits, replacement (pseudo-LRU assumed), and the "
			   "page-walk caches.\n" HARDLY_ANY,
		.max_levels = 4,
		.config = {.name = "haswell",
			   .paging = PAGING_4_LEVEL,
			   .arrays = {{ARRAY("ITLB 4K", 128, 8, TLB_INSTRUCTIONS, L(1), TLB_PLRU),
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
		.sources = "Intel 64 and IA-32 Architectures Optimization Reference Manual "
			   "(248966-045), table\n"
			   "2-15: 128 for instructions, 8 ways; 8 a thread in 2 MiB pages. CPUID "
			   "leaf 2 of a\n"
			   "Skylake server: 64, 4 ways, for data (03h), 4 for 1 GiB pages, 4 ways "
			   "(63h), 1536 in\n"
			   "the second level (C3h, which has 16 for 1 GiB pages, 4 ways, too; it "
			   "says 6 ways).\n"
			   "12 ways there, of 128 sets that are an xor of twice seven bits: what "
			   "follows Gras and\n"
			   "others, Translation Leak-aside Buffer, USENIX Security 2018, takes it "
			   "so.\n"
			   "Not verified: 32 entries for 2 MiB pages, 9 cycles for a hit in the "
			   "second level and\n"
			   "pseudo-LRU (of 12 ways there is no tree, so LRU), and the page-walk "
			   "caches.\n" HARDLY_ANY,
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
			   "(57647), as quoted\n"
			   "by others: 2.7.1: 72 for data, all sizes, fully associative; 2.7.2: "
			   "3072, 24 ways,\n"
			   "which holds page directory entries too; 2.7.3: six walkers (here walks "
			   "take turns).\n"
			   "As in Zen 2 (7-cpu.com, WikiChip): 64 for instructions, all sizes, "
			   "fully associative;\n"
			   "512, 8 ways, in the second level; 1 GiB pages are held there as 2 MiB: "
			   "here they are\n"
			   "in the first level only.\n"
			   "Not verified: a page directory cache of 64; directory entries in the "
			   "second level are\n"
			   "modelled as a cache of 64 of their own; 7 cycles for a hit there; LRU. "
			   "Pages are not\n"
			   "coalesced here.\n" HARDLY_ANY,
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
		.sources = "Hennessy and Patterson, Computer Architecture, 7th edition, chapter 2 "
			   "(Core i9-12900):\n"
			   "instructions 256 and 32, 8 ways; loads 96 (6 ways), 32 (4) and 8 (8); "
			   "a second level\n"
			   "of 2048, 16 ways, for all sizes; 9 cycles for a miss in the first that "
			   "hits there;\n"
			   "pseudo-LRU; of 6 ways there is no tree, so LRU.\n"
			   "Not verified: 16 entries of all sizes for stores (as in Sunny Cove), "
			   "the second\n"
			   "level's choice of sets (lowest bits), and the page-walk "
			   "caches.\n" HARDLY_ANY,
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
