/* SPDX-License-Identifier: MIT */
/* The reader of fleet.h's tables. Every byte of a line is accounted for: what is not understood is an
 * error, not a guess. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/fleet.h"

#define LINE_MAX_BYTES 256
#define MAX_SIZE       (1UL << 40)
#define MIN_NUMBER     1e-15 /* but for 0, so that no quotient or product of them is 0 or endless */
#define MAX_NUMBER     1e15

struct reader {
	FILE *in;
	const char *path;
	char *error;
	unsigned long line;
	struct fleet_entry *entries;
	size_t nr, room;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct reader *r, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (r->line)
		snprintf(r->error, FLEET_ERROR_SIZE, "%.120s:%lu: %s", r->path, r->line, what);
	else
		snprintf(r->error, FLEET_ERROR_SIZE, "%.120s: %s", r->path, what);
	return -1;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next line without its newline and blanks at both ends. 1; 0 at the end; -1. */
static int next_line(struct reader *r, char line[LINE_MAX_BYTES], char **text)
{
	size_t length = 0;
	int c;

	r->line++;
	while ((c = getc(r->in)) != EOF && c != '\n') {
		if (length == LINE_MAX_BYTES - 1)
			return fail(r, "a line of more than %d bytes", LINE_MAX_BYTES - 1);
		if (c < ' ' && !is_blank((char)c))
			return fail(r, "not text: a byte of value %d", c);
		line[length++] = (char)c;
	}
	if (ferror(r->in)) {
		r->line = 0;
		return fail(r, "%s", strerror(errno));
	}
	if (c == EOF && !length)
		return 0;
	while (length && is_blank(line[length - 1]))
		length--;
	line[length] = '\0';
	*text = line;
	while (is_blank(**text))
		++*text;
	return 1;
}

/* The next field of a line, up to a comma or its end, without blanks. NULL: there is none. */
static char *next_field(char **at)
{
	char *field = *at, *end;

	if (!field)
		return NULL;
	end = field + strcspn(field, ",");
	*at = *end ? end + 1 : NULL;
	*end = '\0';
	while (is_blank(*field))
		field++;
	while (end > field && is_blank(end[-1]))
		*--end = '\0';
	return field;
}

static int read_size(const struct reader *r, const char *field, u64 *size)
{
	char *end;

	errno = 0;
	*size = strtoull(field, &end, 10);
	if (field[0] < '0' || field[0] > '9' || *end)
		return fail(r, "size: '%.40s' is not a whole number", field);
	if (errno || !*size || *size > MAX_SIZE)
		return fail(r, "size: %.40s is not from 1 to %lu", field, MAX_SIZE);
	return 0;
}

static int read_number(const struct reader *r, const char *name, const char *field, double *number)
{
	char *end;

	*number = strtod(field, &end);
	/* strtod would also take "inf", "nan" and hexadecimal numbers */
	if (!field[0] || *end || strspn(field, "0123456789.eE+-") < strlen(field))
		return fail(r, "%s: '%.40s' is not a number", name, field);
	if (*number != 0 && !(*number >= MIN_NUMBER && *number <= MAX_NUMBER))
		return fail(r, "%s: %.40s is not 0, nor from %g to %g", name, field, MIN_NUMBER,
			    MAX_NUMBER);
	return 0;
}

static int add(struct reader *r, const struct fleet_entry *entry)
{
	if (r->nr == FLEET_MAX_ENTRIES)
		return fail(r, "more than %d sizes", FLEET_MAX_ENTRIES);
	if (r->nr == r->room) {
		size_t room = r->room ? 2 * r->room : 256;
		struct fleet_entry *entries = realloc(r->entries, room * sizeof(*entries));

		if (!entries)
			return fail(r, "no memory");
		r->entries = entries;
		r->room = room;
	}
	r->entries[r->nr++] = *entry;
	return 0;
}

static int read_entry(struct reader *r, char *text)
{
	static const char *const names[] = {"size", "alloc_rate", "num_live"};
	struct fleet_entry entry;
	char *fields[3], *at = text;

	for (int i = 0; i < 3; i++)
		if (!(fields[i] = next_field(&at)))
			return fail(r, "%d fields where size,alloc_rate,num_live are wanted", i);
	if (at)
		return fail(r, "more fields than size,alloc_rate,num_live");
	if (r->line == 1 && !strcmp(fields[0], names[0]) && !strcmp(fields[1], names[1]) &&
	    !strcmp(fields[2], names[2]))
		return 0;
	if (read_size(r, fields[0], &entry.size_bytes) ||
	    read_number(r, names[1], fields[1], &entry.per_second) ||
	    read_number(r, names[2], fields[2], &entry.live))
		return -1;
	return entry.per_second > 0 && entry.live > 0 ? add(r, &entry) : 0;
}

static void set_name(struct fleet_profile *profile, const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *ending = strrchr(base, '.');
	size_t length = ending && ending > base && !strcmp(ending, ".csv") ? (size_t)(ending - base)
									   : strlen(base);

	snprintf(profile->name, sizeof(profile->name), "%.*s", (int)length, base);
}

int fleet_read_stream(FILE *in, const char *path, struct fleet_profile *profile,
		      char error[FLEET_ERROR_SIZE])
{
	struct reader r = {.in = in, .path = path, .error = error};
	char line[LINE_MAX_BYTES], *text = line;
	int status;

	*profile = (struct fleet_profile){0};
	while ((status = next_line(&r, line, &text)) > 0) {
		if (text[0] && text[0] != '#')
			status = read_entry(&r, text);
		if (status < 0)
			break;
	}
	if (!status && !r.nr) {
		r.line = 0;
		status = fail(&r, "no size with a rate and live objects");
	}
	if (status) {
		free(r.entries);
		return -1;
	}
	set_name(profile, path);
	profile->entries = r.entries;
	profile->nr = r.nr;
	return 0;
}

int fleet_read(const char *path, struct fleet_profile *profile, char error[FLEET_ERROR_SIZE])
{
	FILE *in = fopen(path, "re");
	int status;

	if (!in) {
		snprintf(error, FLEET_ERROR_SIZE, "%.120s: %s", path, strerror(errno));
		return -1;
	}
	status = fleet_read_stream(in, path, profile, error);
	fclose(in);
	return status;
}

void fleet_free(struct fleet_profile *profile)
{
	free((struct fleet_entry *)profile->entries);
	*profile = (struct fleet_profile){0};
}
