/* SPDX-License-Identifier: MIT */
/* The array of lines.h. */
#include <errno.h>

#include "arch/host.h"
#include "bench/suites/lines.h"

#define MAX_ARRAYS 4

struct line_array {
	struct line *lines;
	size_t bytes;
	uint64_t nr;
};

/* Kept until the process ends: cases of several footprints take turns. */
static struct line_array arrays[MAX_ARRAYS], *current = arrays;

const struct line *lines_array(void)
{
	return current->lines;
}

uint64_t lines_count(void)
{
	return current->nr;
}

/* Each step is one to one on the numbers below a power of two, and so is the whole. */
uint64_t lines_at(uint64_t place)
{
	uint64_t mask = current->nr - 1, x = place & mask;
	unsigned int half = current->nr > 2 ? (64U - (unsigned int)__builtin_clzl(mask)) / 2 : 1;

	for (int round = 0; round < 2; round++) {
		x = (x * 0xD6E8FEB86659FD93UL + 0x632BE59BD9B4E019UL) & mask;
		x ^= x >> half;
	}
	return x;
}

static void fill(struct line *lines)
{
	uint64_t line = lines_at(0);

	for (uint64_t place = 0; place < current->nr; place++) {
		uint64_t next = lines_at(place + 1);

		lines[line].number = line;
		lines[line].next = next;
		line = next;
	}
}

int lines_make(size_t bytes)
{
	for (int i = 0; i < MAX_ARRAYS; i++) {
		current = &arrays[i];
		if (current->bytes == bytes)
			return 0;
		if (current->bytes)
			continue;
		current->lines = harness_alloc(bytes, false, true);
		if (!current->lines)
			return -ENOMEM;
		current->bytes = bytes;
		current->nr = bytes / sizeof(struct line);
		fill(current->lines);
		return 0;
	}
	return -ENOMEM;
}

uint64_t walk_mapped_bytes(const struct bench_env *env)
{
	uint64_t bytes = env->full ? 64UL << 30 : 4UL << 30;

	/* The tables take 1/512 of it, from the page allocator: a small machine maps less. */
	while (env->machine && bytes > 1UL << 24 &&
	       bytes / 512 > env->machine->config.node_bytes / 16)
		bytes /= 2;
	return bytes;
}

int lines_footprints(const struct bench_env *env, size_t bytes[3])
{
	size_t tables = walk_mapped_bytes(env) / 512;
	size_t large = env->full ? 4UL << 30 : 256UL << 20;

	while (large > tables && large > host_available_bytes() / 4)
		large /= 2;
	bytes[0] = tables;
	bytes[1] = large;
	return large > tables ? 2 : 1;
}
