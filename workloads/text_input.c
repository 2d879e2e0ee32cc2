/* SPDX-License-Identifier: MIT */
/*
 * See text_input.h. The buffer holds whole chunks; what is left of a line at its end moves to the
 * front before the next chunk is read or decompressed behind it.
 */
#include "workloads/text_input.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define CHUNK_BYTES    (256U << 10)
#define WINDOW_LOG_MAX 27
#define ZSTD_MAGIC     "\x28\xb5\x2f\xfd"

struct text_input {
	int fd;
	bool ended, compressed;
	char *name;
	char error[KMT_ERROR_SIZE];
	u64 line; /* lines given */

	char *buffer; /* TEXT_LINE_MAX + CHUNK_BYTES */
	size_t at, end;

	ZSTD_DCtx *zstd;
	u8 *packed; /* CHUNK_BYTES of the file */
	ZSTD_inBuffer input;
	bool frame_open; /* the end of the file would cut a frame */
	bool pending;	 /* the decoder may hold output that had no room */
};

__attribute__((format(printf, 2, 3))) static int fail(struct text_input *t, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(t->error, sizeof(t->error), "%.300s:%llu: ", t->name,
			 (unsigned long long)t->line + 1);

	va_start(ap, fmt);
	vsnprintf(t->error + n, sizeof(t->error) - (size_t)n, fmt, ap);
	va_end(ap);
	return -1;
}

/* At most length bytes of the file; 0 at its end; -1 on an error. */
static ssize_t read_some(struct text_input *t, void *bytes, size_t length)
{
	ssize_t n;

	do {
		n = read(t->fd, bytes, length);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? fail(t, "%s", strerror(errno)) : n;
}

/* Decompress behind t->end until there is something, or the file's end. */
static int fill_compressed(struct text_input *t)
{
	ZSTD_outBuffer output = {t->buffer + t->end, CHUNK_BYTES, 0};

	while (!output.pos) {
		size_t wanted;

		if (t->input.pos == t->input.size && !t->pending) {
			ssize_t n = read_some(t, t->packed, CHUNK_BYTES);

			if (n < 0)
				return -1;
			if (!n && t->frame_open)
				return fail(
					t,
					"the compressed data end too early: the file is truncated");
			if (!n) {
				t->ended = true;
				return 0;
			}
			t->input = (ZSTD_inBuffer){t->packed, (size_t)n, 0};
		}
		wanted = ZSTD_decompressStream(t->zstd, &output, &t->input);
		if (ZSTD_isError(wanted))
			return fail(t, "cannot decompress: %s", ZSTD_getErrorName(wanted));
		t->frame_open = wanted != 0;
		/* After a whole frame there is nothing: asked again, it would begin another one. */
		t->pending = wanted && output.pos == output.size;
	}
	t->end += output.pos;
	return 0;
}

static int fill_plain(struct text_input *t)
{
	ssize_t n = read_some(t, t->buffer + t->end, CHUNK_BYTES);

	if (n < 0)
		return -1;
	t->ended = !n;
	t->end += (size_t)n;
	return 0;
}

int text_line(struct text_input *t, const char **line, size_t *length)
{
	size_t searched = 0;

	for (;;) {
		char *begin = t->buffer + t->at;
		char *newline = memchr(begin + searched, '\n', t->end - t->at - searched);

		if (newline) {
			*line = begin;
			*length = (size_t)(newline - begin);
			t->at += *length + 1;
			t->line++;
			return 1;
		}
		searched = t->end - t->at;
		if (t->ended && searched)
			return fail(t, "truncated: the last line has no end");
		if (t->ended)
			return 0;
		if (searched >= TEXT_LINE_MAX)
			return fail(t, "a line of more than %u bytes", TEXT_LINE_MAX);
		memmove(t->buffer, begin, searched);
		t->at = 0;
		t->end = searched;
		if (t->compressed ? fill_compressed(t) : fill_plain(t))
			return -1;
	}
}

int text_peek(struct text_input *t, size_t least, const char **bytes, size_t *length)
{
	while (t->end - t->at < least && !t->ended) {
		memmove(t->buffer, t->buffer + t->at, t->end - t->at);
		t->end -= t->at;
		t->at = 0;
		if (t->compressed ? fill_compressed(t) : fill_plain(t))
			return -1;
	}
	*bytes = t->buffer + t->at;
	*length = t->end - t->at;
	return *length != 0;
}

void text_skip(struct text_input *t, size_t n)
{
	t->at += n;
}

/* Look at the first bytes: is it zstd? */
static int begin(struct text_input *t)
{
	ssize_t n = 0, more;

	do {
		more = read_some(t, t->packed + n, CHUNK_BYTES - (size_t)n);
		if (more < 0)
			return -1;
		n += more;
	} while (more && n < 4);
	if (!n)
		return fail(t, "the file is empty");
	t->compressed = n >= 4 && !memcmp(t->packed, ZSTD_MAGIC, 4);
	if (t->compressed) {
		t->input = (ZSTD_inBuffer){t->packed, (size_t)n, 0};
		t->frame_open = true;
	} else {
		memcpy(t->buffer, t->packed, (size_t)n);
		t->end = (size_t)n;
	}
	return 0;
}

struct text_input *text_open_fd(int fd, const char *name, char error[KMT_ERROR_SIZE])
{
	struct text_input *t = calloc(1, sizeof(*t));

	if (t) {
		t->fd = fd;
		t->name = strdup(name);
		t->buffer = malloc(TEXT_LINE_MAX + CHUNK_BYTES);
		t->packed = malloc(CHUNK_BYTES);
		t->zstd = ZSTD_createDCtx();
	}
	if (!t || !t->name || !t->buffer || !t->packed || !t->zstd ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(t->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
		snprintf(error, KMT_ERROR_SIZE, "%.300s: no memory to read it", name);
		text_close(t);
		return NULL;
	}
	if (begin(t)) {
		memcpy(error, t->error, KMT_ERROR_SIZE);
		text_close(t);
		return NULL;
	}
	return t;
}

void text_close(struct text_input *t)
{
	if (!t)
		return;
	ZSTD_freeDCtx(t->zstd);
	free(t->packed);
	free(t->buffer);
	free(t->name);
	free(t);
}

u64 text_line_number(const struct text_input *t)
{
	return t->line;
}

const char *text_error(const struct text_input *t)
{
	return t->error;
}

const char *text_name(const struct text_input *t)
{
	return t->name;
}
