/* SPDX-License-Identifier: MIT */
/*
 * The slow model of a machine's memory: a bit a frame. It learns through the interface alone which
 * frames there are to be had (it takes them all), and from the bits says what buddyinfo must be
 * when nothing lies in per-CPU lists.
 *
 *	frames	0 0 1 1 1 1 1 1 1 1 1 1 1 1 1 1    to be had (0: boot's own, for ever)
 *	used	. . 1 1 0 0 1 0 0 0 0 0 0 0 0 0    somebody has it
 *	free	        |o1 |  |0|     o3       |  the largest aligned blocks without a used frame
 *
 * Not for several threads at once.
 */
#ifndef TESTS_PHYS_FRAME_MODEL_H
#define TESTS_PHYS_FRAME_MODEL_H

#include "phys/phys.h"
#include "tests/alloc/phys/machine.h"

#define MODEL_MAX_ZONES 32

struct frame_model {
	struct kmm *machine;
	enum zone_layout layout;
	unsigned long nr_pfns;
	unsigned long nr_frames; /* to be had */
	unsigned long nr_used;
	u64 *frames, *used; /* bits by frame number */
	unsigned int nr_nodes, nr_zones;
	struct phys_zone_info zones[MODEL_MAX_ZONES]; /* as the allocator said last */
};

/* Start with everything free. The caller's slot and idle ones are drained; no other may hold
 * pages. */
void model_init(struct frame_model *model, struct kmm *machine);
void model_destroy(struct frame_model *model);

/* A block is somebody's now: it must be aligned, inside one zone, of frames that there are and that
 * nobody has, and where gfp and nid (NUMA_NO_NODE: anywhere) allow. */
void model_take(struct frame_model *model, unsigned long pfn, unsigned int order, gfp_t gfp,
		int nid);
/* And nobody's again. */
void model_give(struct frame_model *model, unsigned long pfn, unsigned int order);

/* An allocation found none: then each zone that it may use has no block of the order, or would have
 * less than its minimum with the reserve against this allocation if it gave one (nothing, if it may
 * use the last page); and if it may wait, no slot without a thread has any on its lists. */
void model_check_refusal(struct frame_model *model, gfp_t gfp, int nid, unsigned int order);
/* As many frames are free as the model says, on the machine. */
void model_check_count(struct frame_model *model);
/* The same, zone by zone and order by order: nothing may be in per-CPU lists. */
void model_check_blocks(struct frame_model *model);

#endif
