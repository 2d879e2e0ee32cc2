/* SPDX-License-Identifier: MIT */
/* Opening access traces: which format is it? See access.h. */
#include "workloads/access_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int access_fail(struct access_reader *reader, const char *fmt, ...)
{
	int n = snprintf(reader->error, sizeof(reader->error), "%.300s:", text_name(reader->input));
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reader->error + n, sizeof(reader->error) - (size_t)n, fmt, ap);
	va_end(ap);
	return -1;
}

/* The first bytes of text have no control characters but line ends and tabs. */
static bool is_text(const char *bytes, size_t length)
{
	for (size_t i = 0; i < length && i < 512; i++)
		if ((unsigned char)bytes[i] < ' ' && !strchr("\n\r\t", bytes[i] ? bytes[i] : 'x'))
			return false;
	return true;
}

/* What else traces come compressed with, as its first bytes tell: a program that undoes it; NULL:
 * with nothing that is known. The three bytes of gzip might also begin a record of ChampSim's. */
static const char *foreign_packer(const char *bytes, size_t length, enum access_format format)
{
	if (length >= 6 && !memcmp(bytes,
				   "\xfd"
				   "7zXZ\0",
				   6))
		return "xz";
	if (format == ACCESS_DETECT && length >= 3 && !memcmp(bytes, "\x1f\x8b\x08", 3))
		return "gzip";
	return NULL;
}

static int detect(struct access_reader *reader, int fd, enum access_format format)
{
	const char *bytes, *packer;
	size_t length;
	int got = text_peek(reader->input, 512, &bytes, &length);

	if (got < 0) {
		snprintf(reader->error, sizeof(reader->error), "%s", text_error(reader->input));
		return -1;
	}
	if (!got)
		return access_fail(reader, " the file is empty");
	packer = foreign_packer(bytes, length, format);
	if (packer)
		return access_fail(reader,
				   " compressed with %s: give it as `%s -dc TRACE' into a pipe",
				   packer, packer);
	if (format == ACCESS_KMT || (format == ACCESS_DETECT && kmt_is_trace(bytes, length))) {
		reader->read = kmt_access_read;
		reader->name = "kmt";
		if (lseek(fd, 0, SEEK_SET))
			return access_fail(reader, " a .kmt trace is read from a file only");
		return kmt_access_open(reader, fd);
	}
	if (format == ACCESS_DETECT)
		format = is_text(bytes, length) ? ACCESS_LACKEY : ACCESS_CHAMPSIM;
	reader->read = format == ACCESS_LACKEY ? lackey_read : champsim_read;
	reader->name = format == ACCESS_LACKEY ? "lackey" : "ChampSim";
	return 0;
}

struct access_reader *access_open_fd(int fd, const char *name, enum access_format format,
				     char error[KMT_ERROR_SIZE])
{
	struct access_reader *reader = calloc(1, sizeof(*reader));

	if (!reader) {
		snprintf(error, KMT_ERROR_SIZE, "%.300s: no memory to read it", name);
		return NULL;
	}
	reader->input = text_open_fd(fd, name, error);
	if (!reader->input) {
		free(reader);
		return NULL;
	}
	if (detect(reader, fd, format)) {
		memcpy(error, reader->error, KMT_ERROR_SIZE);
		access_close(reader);
		return NULL;
	}
	return reader;
}

void access_close(struct access_reader *reader)
{
	if (!reader)
		return;
	kmt_access_close(reader);
	text_close(reader->input);
	free(reader);
}

ssize_t access_read(struct access_reader *reader, struct access *out, size_t room)
{
	ssize_t n = reader->read(reader, out, room);

	if (n < 0 && !reader->error[0])
		snprintf(reader->error, sizeof(reader->error), "%s", text_error(reader->input));
	return n;
}

const char *access_error(const struct access_reader *reader)
{
	return reader->error;
}

const char *access_format_name(const struct access_reader *reader)
{
	return reader->name;
}
