/* SPDX-License-Identifier: MIT */
/*
 * Lines of a text file that may be compressed with zstd (windows up to 128 MiB, as --long=27
 * makes), read forward in constant memory: one line may be up to TEXT_LINE_MAX bytes.
 */
#ifndef WORKLOADS_TEXT_INPUT_H
#define WORKLOADS_TEXT_INPUT_H

#include <sys/types.h>

#include "base/types.h"
#include "workloads/kmt.h"

#define TEXT_LINE_MAX (64U << 10)

struct text_input;

/* Read from fd, which stays the caller's; name is for errors. NULL with a line in error. */
struct text_input *text_open_fd(int fd, const char *name, char error[KMT_ERROR_SIZE]);
void text_close(struct text_input *input);

/* The next line, without its newline, valid until the next call. Returns 1; 0 at the end; -1 on an
 * error (text_error has the line), such as an end in mid-line. */
int text_line(struct text_input *input, const char **line, size_t *length);

/*
 * For readers that find their own way: what is there, at least `least` bytes of it (at most
 * TEXT_LINE_MAX) or all that is left, valid until the next call. Returns 1; 0 at the end; -1 on
 * an error. text_skip passes over the first n bytes of it, which text_line then does not see, nor
 * count.
 */
int text_peek(struct text_input *input, size_t least, const char **bytes, size_t *length);
void text_skip(struct text_input *input, size_t n);

/* Number of the line that text_line gave last, from 1. */
u64 text_line_number(const struct text_input *input);
const char *text_error(const struct text_input *input);
const char *text_name(const struct text_input *input);

#endif
