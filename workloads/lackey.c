/* SPDX-License-Identifier: MIT */
/*
 * Lines of valgrind's lackey, as it prints them and nothing else:
 *
 *	I  04000a80,3		fetch: kind, address in hexadecimal, bytes
 *	 S 1ffefff870,8		store
 *	 L 0403ab12,8		load
 *	 M 0421c7cc,4		modify: both
 *	==123== ...		valgrind's own remarks, passed over
 */
#include <string.h>

#include "workloads/access_internal.h"

#define KIND_BYTES 3
#define MAX_BYTES  65535U

/* The digit's value; 16 or more: it is none. */
static inline unsigned int hex_digit(char c)
{
	static const u8 values[256] = {
		['0'] = 1,  ['1'] = 2,	['2'] = 3,  ['3'] = 4,	['4'] = 5,  ['5'] = 6,
		['6'] = 7,  ['7'] = 8,	['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
		['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12,
		['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
	};

	return values[(u8)c] - 1U;
}

/* ADDRESS,BYTES up to `end`, where there is a newline: NULL if it is not that. */
static inline const char *parse_place(const char *at, const char *end, struct access *access)
{
	const char *begin = at;
	u64 address = 0;
	u32 bytes = 0;

	for (unsigned int digit; (digit = hex_digit(*at)) < 16; at++)
		address = address << 4 | digit;
	if (at == begin || at - begin > 16 || *at != ',')
		return NULL;
	begin = ++at;
	for (; *at >= '0' && *at <= '9' && at - begin < 6; at++)
		bytes = bytes * 10 + (u32)(*at - '0');
	if (at != end || !bytes || bytes > MAX_BYTES)
		return NULL;
	access->address = address;
	access->bytes = bytes;
	return at;
}

static inline bool is_kind(const char *line, const char *kind)
{
	return line[0] == kind[0] && line[1] == kind[1] && line[2] == kind[2];
}

/* Accesses of a line, whose newline is at `end`: how many; -1: it is none of lackey's. */
static inline int parse_line(const char *line, const char *end, struct access *out)
{
	if (end - line < KIND_BYTES)
		return line == end ? 0 : -1;
	if (is_kind(line, "I  "))
		out->kind = ACCESS_FETCH;
	else if (is_kind(line, " L ") || is_kind(line, " M "))
		out->kind = ACCESS_LOAD;
	else if (is_kind(line, " S "))
		out->kind = ACCESS_STORE;
	else
		return (line[0] == '=' && line[1] == '=') || (line[0] == '-' && line[1] == '-')
			       ? 0
			       : -1;
	if (!parse_place(line + KIND_BYTES, end, out))
		return -1;
	if (line[1] != 'M')
		return 1;
	out[1] = out[0];
	out[1].kind = ACCESS_STORE;
	return 2;
}

static int bad_line(struct access_reader *reader)
{
	return access_fail(reader,
			   "%llu: neither `I  ADDRESS,BYTES' nor the same with ` L', ` S' or ` M'",
			   (unsigned long long)reader->nr_read + 1);
}

/* Whole lines of bytes[0 .. length) into out; *used: the bytes of them. -1: a bad line. */
static ssize_t parse(struct access_reader *reader, const char *bytes, size_t length,
		     struct access *out, size_t room, size_t *used)
{
	const char *line = bytes, *stop = bytes + length;
	size_t n = 0;

	while (n + 2 <= room) {
		const char *end = memchr(line, '\n', (size_t)(stop - line));
		int got;

		if (!end)
			break;
		got = parse_line(line, end, out + n);
		if (got < 0)
			return bad_line(reader);
		n += (size_t)got;
		reader->nr_read++;
		line = end + 1;
	}
	*used = (size_t)(line - bytes);
	return (ssize_t)n;
}

ssize_t lackey_read(struct access_reader *reader, struct access *out, size_t room)
{
	size_t length, used = 0, least = 1;
	const char *bytes;
	ssize_t n;

	for (;;) {
		int got = text_peek(reader->input, least, &bytes, &length);

		if (got <= 0)
			return got;
		n = parse(reader, bytes, length, out, room, &used);
		if (n < 0)
			return -1;
		text_skip(reader->input, used);
		if (n)
			return n;
		if (used) {
			least = 1;
			continue;
		}
		/* Not a whole line. */
		if (length < least)
			return access_fail(reader, "%llu: truncated: the last line has no end",
					   (unsigned long long)reader->nr_read + 1);
		if (length >= TEXT_LINE_MAX)
			return bad_line(reader);
		least = length + 1;
	}
}
