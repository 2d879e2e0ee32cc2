/* SPDX-License-Identifier: MIT */
/*
 * Traces of other programs into .kmt. Real traces begin and end in mid-life and miss frees; what
 * does not fit is counted in the trace's trailer, never passed over in silence:
 *
 * 	a free of nothing (null)			dropped, counted
 * 	a free of what was never seen allocated		dropped, counted (unknown)
 * 	an allocation where something is still live	its free is put in first, KMT_IMPLIED (missed)
 * 	a free of some pages of a block of pages	counted (split); its last page frees the block
 * 	mm_page_free_batched, mm_page_pcpu_drain	dropped, counted: mm_page_free has told it
 * 	with `lenient`, a line that cannot be read	dropped, counted (skipped)
 */
#ifndef WORKLOADS_CONVERT_H
#define WORKLOADS_CONVERT_H

#include "workloads/kmt.h"

struct convert_options {
	u64 first;		 /* events of the source to pass over */
	u64 events;		 /* events of the source to take then; 0: all */
	u64 begin_ns, end_ns;	 /* of a .kmt trace: only events in between; 0: to its end */
	bool lenient; /* lines that cannot be read are skipped, as is what follows damage; counted */
	const char *description; /* NULL: of the source itself */
};

/*
 * Convert what fd (name, for errors) holds, perf script text, plain or zstd, or a .kmt trace, into
 * a trace at `out`, or on the file out_fd if out is NULL. 0 with *counts filled, or -errno with one
 * line in error; there is then nothing at `out` that was not there before. Time is linear, memory
 * for live objects only.
 */
int convert_trace(int fd, const char *name, const char *out, int out_fd,
		  const struct convert_options *options, struct kmt_counts *counts,
		  char error[KMT_ERROR_SIZE]);

#endif
