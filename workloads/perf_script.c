/* SPDX-License-Identifier: MIT */
/*
 * By hand and without copying: a line is looked at about once, from the left. Where the thread's
 * name ends cannot be seen (it may hold spaces and brackets), so the line is cut at the first thing
 * that looks whole like "TID [CPU] SECONDS.FRACTION: ", behind the 16 columns that perf gives the
 * name if the line has them. Follows print formats in include/trace/events/kmem.h, Linux 4.19 to
 * 6.18.
 */
#define _GNU_SOURCE /* memmem */
#include "workloads/perf_script.h"

#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "workloads/gfp_names.h"
#include "workloads/kmt.h"

#define COMM_COLUMNS 16

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_spaces(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* Digits at p; the byte behind them, or NULL if there are none or the number is above max. */
static const char *get_decimal(const char *p, const char *end, u64 max, u64 *value)
{
	const char *first = p;
	u64 sum = 0;

	for (; p < end && is_digit(*p); p++) {
		u64 digit = (u64)(*p - '0');

		if (sum > (max - digit) / 10)
			return NULL;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return p > first ? p : NULL;
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A decimal, a number with 0x, or "(nil)" and "(null)", which are 0. */
static const char *get_number(const char *p, const char *end, u64 *value)
{
	const char *first;
	u64 sum = 0;
	int digit;

	if (p < end && *p == '(') {
		size_t left = (size_t)(end - p);

		*value = 0;
		if (left >= 5 && !memcmp(p, "(nil)", 5))
			return p + 5;
		if (left >= 6 && !memcmp(p, "(null)", 6))
			return p + 6;
		return NULL;
	}
	if (end - p < 3 || p[0] != '0' || p[1] != 'x')
		return get_decimal(p, end, UINT64_MAX, value);
	first = p += 2;
	for (; p < end && (digit = hex_digit(*p)) >= 0; p++)
		sum = sum << 4 | (u64)digit;
	*value = sum;
	return p > first && p - first <= 16 ? p : NULL;
}

/* "[CPU] SECONDS.FRACTION: " at p. The byte behind, or NULL. */
static const char *get_cpu_and_time(const char *p, const char *end, struct perf_event *event)
{
	u64 cpu, seconds, fraction;
	const char *digits;

	p = get_decimal(p + 1, end, KMT_MAX_CPU, &cpu);
	if (!p || p >= end || *p != ']')
		return NULL;
	p = get_decimal(skip_spaces(p + 1, end), end, INT64_MAX / 1000000000 - 1, &seconds);
	if (!p || p >= end || *p != '.')
		return NULL;
	digits = p + 1;
	p = get_decimal(digits, end, 999999999, &fraction);
	if (!p || p >= end || *p != ':' || (p - digits != 6 && p - digits != 9))
		return NULL;
	event->cpu = (u32)cpu;
	event->time_unit_ns = p - digits == 6 ? 1000 : 1;
	event->time_ns = seconds * 1000000000 + fraction * event->time_unit_ns;
	return p + 1;
}

/* The thread's number, which ends in front of p. */
static bool get_tid_before(const char *p, const char *line, struct perf_event *event)
{
	const char *last = p;
	u64 tid;

	while (last > line && last[-1] == ' ')
		last--;
	for (p = last; p > line && is_digit(p[-1]);)
		p--;
	if (p == last || !get_decimal(p, last, INT32_MAX, &tid))
		return false;
	event->tid = (s32)tid;
	if (p > line && p[-1] == '-') {
		event->tid = -event->tid;
		p--;
	}
	return p == line || p[-1] == ' ' || p[-1] == '\t';
}

/* Everything in front of the event's name. The byte behind, or NULL. */
static const char *get_prefix(const char *line, const char *from, const char *end,
			      struct perf_event *event)
{
	const char *p = from;

	while (p < end && (p = memchr(p, '[', (size_t)(end - p)))) {
		const char *behind = get_cpu_and_time(p, end, event);

		if (behind && get_tid_before(p, line, event))
			return behind;
		p++;
	}
	return NULL;
}

static const struct {
	const char *name;
	size_t length;
	enum perf_kind kind;
} kinds[] = {
#define KIND(name, kind)                                                                           \
	{                                                                                          \
		name, sizeof(name) - 1, kind                                                       \
	}
	KIND("kmem:kmalloc", PERF_KMALLOC),
	KIND("kmem:kmalloc_node", PERF_KMALLOC),
	KIND("kmem:kfree", PERF_KFREE),
	KIND("kmem:kmem_cache_alloc", PERF_CACHE_ALLOC),
	KIND("kmem:kmem_cache_alloc_node", PERF_CACHE_ALLOC),
	KIND("kmem:kmem_cache_free", PERF_CACHE_FREE),
	KIND("kmem:mm_page_alloc", PERF_PAGE_ALLOC),
	KIND("kmem:mm_page_free", PERF_PAGE_FREE),
	KIND("kmem:mm_page_free_batched", PERF_PAGE_FREE_BATCHED),
	KIND("kmem:mm_page_pcpu_drain", PERF_PCPU_DRAIN),
#undef KIND
};

/* "subsystem:event:" at p. The byte behind, or NULL. */
static const char *get_kind(const char *p, const char *end, struct perf_event *event)
{
	const char *subsystem_end = memchr(p, ':', (size_t)(end - p));
	const char *name_end;
	size_t length;

	if (!subsystem_end || subsystem_end == p)
		return NULL;
	name_end = memchr(subsystem_end + 1, ':', (size_t)(end - subsystem_end - 1));
	if (!name_end || name_end == subsystem_end + 1 || memchr(p, ' ', (size_t)(name_end - p)))
		return NULL;
	length = (size_t)(name_end - p);
	event->kind = PERF_OTHER;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].length == length && !memcmp(kinds[i].name, p, length))
			event->kind = kinds[i].kind;
	return name_end + 1;
}

/* Which fields a line has given. */
enum {
	HAS_ADDRESS = 1,
	HAS_REQUESTED = 2,
	HAS_ALLOCATED = 4,
	HAS_ORDER = 8,
	HAS_GFP = 16,
};

static bool key_is(const char *key, size_t length, const char *name)
{
	return length == strlen(name) && !memcmp(key, name, length);
}

/* The node and the migratetype may be negative. */
static const char *get_signed(const char *p, const char *end, s32 *value)
{
	bool negative = p < end && *p == '-';
	u64 number = 0;

	p = get_decimal(p + negative, end, INT32_MAX, &number);
	*value = negative ? -(s32)number : (s32)number;
	return p;
}

/* A cache's name may hold spaces: it ends before " bytes_req=" in an allocation, with the line in a
 * free. */
static const char *get_name(const char *p, const char *end, struct perf_event *event)
{
	const char *behind = end;

	if (event->kind == PERF_CACHE_ALLOC) {
		behind = memmem(p, (size_t)(end - p), " bytes_req=", 11);
		if (!behind)
			return NULL;
	}
	event->name = p;
	event->name_length = (size_t)(behind - p);
	return event->name_length && event->name_length <= KMT_MAX_NAME ? behind : NULL;
}

/* The value of one key; the byte behind it, or NULL if it cannot be read. */
static const char *get_field(const char *key, size_t key_length, const char *p, const char *end,
			     struct perf_event *event, unsigned int *has)
{
	bool is_page = event->kind >= PERF_PAGE_ALLOC;
	const char *space;
	u64 number = 0;

	if (key_is(key, key_length, is_page ? "pfn" : "ptr")) {
		*has |= HAS_ADDRESS;
		return get_number(p, end, &event->address);
	}
	if (key_is(key, key_length, "bytes_req")) {
		*has |= HAS_REQUESTED;
		return get_decimal(p, end, KMT_MAX_SIZE, &event->requested);
	}
	if (key_is(key, key_length, "bytes_alloc")) {
		*has |= HAS_ALLOCATED;
		return get_decimal(p, end, KMT_MAX_SIZE, &event->allocated);
	}
	if (key_is(key, key_length, "order")) {
		*has |= HAS_ORDER;
		p = get_decimal(p, end, KMT_MAX_ORDER, &number);
		event->order = (u32)number;
		return p;
	}
	if (key_is(key, key_length, "migratetype"))
		return get_signed(p, end, &event->migratetype);
	if (key_is(key, key_length, "node"))
		return get_signed(p, end, &event->node);
	if (key_is(key, key_length, "name"))
		return get_name(p, end, event);
	space = memchr(p, ' ', (size_t)(end - p));
	if (!space)
		space = end;
	if (key_is(key, key_length, "gfp_flags")) {
		*has |= HAS_GFP;
		event->gfp = gfp_from_names(p, (size_t)(space - p));
	}
	return space;
}

static const unsigned int wanted[] = {
	[PERF_KMALLOC] = HAS_ADDRESS | HAS_REQUESTED | HAS_ALLOCATED | HAS_GFP,
	[PERF_KFREE] = HAS_ADDRESS,
	[PERF_CACHE_ALLOC] = HAS_ADDRESS | HAS_REQUESTED | HAS_ALLOCATED | HAS_GFP,
	[PERF_CACHE_FREE] = HAS_ADDRESS,
	[PERF_PAGE_ALLOC] = HAS_ADDRESS | HAS_ORDER | HAS_GFP,
	[PERF_PAGE_FREE] = HAS_ADDRESS | HAS_ORDER,
};

static const char *get_fields(const char *p, const char *end, struct perf_event *event)
{
	unsigned int has = 0;

	while ((p = skip_spaces(p, end)) < end) {
		const char *equals = memchr(p, '=', (size_t)(end - p));

		if (!equals || memchr(p, ' ', (size_t)(equals - p)))
			return "a field without a value";
		p = get_field(p, (size_t)(equals - p), equals + 1, end, event, &has);
		if (!p || (p < end && *p != ' '))
			return "a field's value cannot be read";
	}
	return (has & wanted[event->kind]) == wanted[event->kind] ? NULL : "a field is missing";
}

const char *perf_script_parse(const char *line, size_t length, struct perf_event *event)
{
	const char *end = line + length, *p = skip_spaces(line, end);

	*event = (struct perf_event){.migratetype = -1, .node = KMT_NO_NODE};
	if (p == end || *p == '#')
		return NULL;
	p = length > COMM_COLUMNS ? get_prefix(line, line + COMM_COLUMNS, end, event) : NULL;
	if (!p)
		p = get_prefix(line, line, end, event);
	if (!p)
		return "not a line of perf script (comm, tid, [cpu], time)";
	p = get_kind(skip_spaces(p, end), end, event);
	if (!p)
		return "not a line of perf script (event)";
	/* The rest of these two says nothing new, and that of others is unknown. */
	if (event->kind == PERF_OTHER || event->kind == PERF_PAGE_FREE_BATCHED ||
	    event->kind == PERF_PCPU_DRAIN)
		return NULL;
	return get_fields(p, end, event);
}
