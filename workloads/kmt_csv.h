/* SPDX-License-Identifier: MIT */
/*
 * Events of a trace as CSV, a line each:
 *
 *	event	number in the file, from 0	cache		name, or empty
 *	time_ns	since the trace began		gfp		names joined by |, or empty
 *	cpu, tid				migratetype	number, or empty
 *	kind	malloc, kfree, ...		node		asked for, or empty
 *	id	of the object			write		1: an access that stores
 *	bytes	requested; of an access touched	offset		of an access in its object, or empty
 *	order	pages; of an alignment		implied		1: the source has no such free
 *	allocated  bytes that it was given, or empty; the order of columns is the header's
 */
#ifndef WORKLOADS_KMT_CSV_H
#define WORKLOADS_KMT_CSV_H

#include "workloads/kmt.h"

#define KMT_CSV_HEADER                                                                             \
	"event,time_ns,cpu,tid,kind,id,bytes,allocated,order,cache,gfp,migratetype,node,offset,"   \
	"write,implied"

/* Write a line. The stream's error flag tells of errors. */
void kmt_csv_event(FILE *out, const struct kmt_reader *reader, const struct kmt_event *event,
		   u64 number);

#endif
