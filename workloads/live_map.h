/* SPDX-License-Identifier: MIT */
/*
 * What is live at which address: the converters' map from an address (or frame number) to the
 * number of what lives there. Open addressing with linear probing; a removal closes its gap, so
 * there are no tombstones and the map's memory is for the most that was live at once.
 */
#ifndef WORKLOADS_LIVE_MAP_H
#define WORKLOADS_LIVE_MAP_H

#include "base/types.h"

#define LIVE_MAP_NONE 0xffffffffU

struct live_map {
	u64 *keys;
	u32 *values;  /* LIVE_MAP_NONE: the slot is empty */
	u32 nr, room; /* nr <= room / 2; room is 0 or a power of two */
};

/* Number at key, or LIVE_MAP_NONE. */
u32 live_map_get(const struct live_map *map, u64 key);
/* Put value (not LIVE_MAP_NONE) at key, where nothing is. 0 or -ENOMEM. */
int live_map_add(struct live_map *map, u64 key, u32 value);
/* Take what is at key away; nothing there does nothing. */
void live_map_remove(struct live_map *map, u64 key);
void live_map_free(struct live_map *map);

#endif
