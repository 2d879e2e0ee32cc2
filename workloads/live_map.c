/* SPDX-License-Identifier: MIT */
/* See live_map.h. Fibonacci hashing: addresses differ in their middle bits, the product's high bits
 * mix all. */
#include "workloads/live_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static u32 home(const struct live_map *map, u64 key)
{
	return (u32)((key * 0x9E3779B97F4A7C15ULL) >> 32) & (map->room - 1);
}

static u32 find(const struct live_map *map, u64 key)
{
	u32 i = home(map, key);

	while (map->values[i] != LIVE_MAP_NONE && map->keys[i] != key)
		i = (i + 1) & (map->room - 1);
	return i;
}

u32 live_map_get(const struct live_map *map, u64 key)
{
	return map->room ? map->values[find(map, key)] : LIVE_MAP_NONE;
}

static int grow(struct live_map *map)
{
	struct live_map bigger = {.nr = map->nr, .room = map->room ? map->room * 2 : 1024};

	if (!bigger.room)
		return -ENOMEM;
	bigger.keys = malloc(bigger.room * sizeof(*bigger.keys));
	bigger.values = malloc(bigger.room * sizeof(*bigger.values));
	if (!bigger.keys || !bigger.values) {
		live_map_free(&bigger);
		return -ENOMEM;
	}
	memset(bigger.values, 0xff, bigger.room * sizeof(*bigger.values));
	for (u32 i = 0; i < map->room; i++) {
		u32 to;

		if (map->values[i] == LIVE_MAP_NONE)
			continue;
		to = find(&bigger, map->keys[i]);
		bigger.keys[to] = map->keys[i];
		bigger.values[to] = map->values[i];
	}
	live_map_free(map);
	*map = bigger;
	return 0;
}

int live_map_add(struct live_map *map, u64 key, u32 value)
{
	u32 i;

	if (map->nr >= map->room / 2 && grow(map))
		return -ENOMEM;
	i = find(map, key);
	map->keys[i] = key;
	map->values[i] = value;
	map->nr++;
	return 0;
}

void live_map_remove(struct live_map *map, u64 key)
{
	u32 mask = map->room - 1, gap, i;

	if (!map->room)
		return;
	gap = find(map, key);
	if (map->values[gap] == LIVE_MAP_NONE)
		return;
	/* Move back into the gap what could have been there: all whose home is not behind the
	 * gap. */
	for (i = (gap + 1) & mask; map->values[i] != LIVE_MAP_NONE; i = (i + 1) & mask) {
		if (((i - home(map, map->keys[i])) & mask) < ((i - gap) & mask))
			continue;
		map->keys[gap] = map->keys[i];
		map->values[gap] = map->values[i];
		gap = i;
	}
	map->values[gap] = LIVE_MAP_NONE;
	map->nr--;
}

void live_map_free(struct live_map *map)
{
	free(map->keys);
	free(map->values);
	*map = (struct live_map){0};
}
