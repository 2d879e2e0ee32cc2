/* SPDX-License-Identifier: MIT */
/*
 * A preset as text, to be kept in a file, read and changed by people. One thing a line, words
 * between blanks; what follows a # is a comment, but not in a TEXT:
 *
 *	kmm-tlb 1
 *	name NAME			a word
 *	processor TEXT			to the end of the line
 *	source TEXT			where the numbers are from; any number of lines
 *	levels 4|5			of page tables that it can walk
 *	l1 NAME ENTRIES WAYS KINDS PAGES REPLACEMENT [hash BITS]
 *	l2 ...				the same
 *	cache NAME ENTRIES WAYS LEVELS REPLACEMENT [hash BITS]
 *	lines ENTRIES WAYS		lines of page tables that the data caches hold
 *	cycles l2|walk|reference|far N
 *	has pcid|global
 *
 * WAYS 0: fully associative. KINDS: all, or some of load, store and fetch with + between. PAGES:
 * some of 4K, 2M and 1G. LEVELS: of the entries held, some of 2, 3, 4 and 5. REPLACEMENT: lru or
 * plru. Only `kmm-tlb 1', the first line, has a place; of the others, l1, l2, cache, source and
 * has may come more than once.
 */
#ifndef KMM_VIRT_TLB_FILE_H
#define KMM_VIRT_TLB_FILE_H

#include <stdio.h>

#include "virt/tlb.h"

KMM_BEGIN_DECLS

#define TLB_NAME_SIZE  24
#define TLB_FILE_ERROR 200
#define TLB_FILE_MAX   65536 /* bytes of a file */

/* A preset, and the texts that it points to: not to be copied as a whole. */
struct tlb_file {
	struct tlb_preset preset;
	char name[TLB_NAME_SIZE], processor[128], sources[2048];
	char l_names[TLB_DEPTH][TLB_MAX_ARRAYS][TLB_NAME_SIZE];
	char cache_names[TLB_MAX_CACHES][TLB_NAME_SIZE];
};

/*
 * Read length bytes of text. 0; -EINVAL with a line in error, `LINE: what is wrong', or without a
 * number where it is the whole. What tlb_create would refuse is refused here too.
 */
KMM_API int tlb_file_parse(const char *text, size_t length, struct tlb_file *file,
			   char error[TLB_FILE_ERROR]);
/* Write it as text, so that tlb_file_parse makes the same of it, but that blanks in names are then
 * dashes. It has tables of 4 levels or more. 0, or -EIO. */
KMM_API int tlb_file_write(const struct tlb_preset *preset, FILE *out);

KMM_END_DECLS
#endif
