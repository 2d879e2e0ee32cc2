/* SPDX-License-Identifier: MIT */
/* What the readers of access traces share; see access.h. */
#ifndef WORKLOADS_ACCESS_INTERNAL_H
#define WORKLOADS_ACCESS_INTERNAL_H

#include "workloads/access.h"

struct access_reader {
	struct text_input *input;
	const char *name; /* of the format */
	ssize_t (*read)(struct access_reader *reader, struct access *out, size_t room);
	u64 nr_read;		/* lines, or records, taken */
	struct kmt_access *kmt; /* of a .kmt trace: its reader, and where objects are */
	char error[KMT_ERROR_SIZE];
};

ssize_t lackey_read(struct access_reader *reader, struct access *out, size_t room);
ssize_t champsim_read(struct access_reader *reader, struct access *out, size_t room);

ssize_t kmt_access_read(struct access_reader *reader, struct access *out, size_t room);
/* From fd, which stands at the begin. 0 or -1, with a line in reader->error. */
int kmt_access_open(struct access_reader *reader, int fd);
void kmt_access_close(struct access_reader *reader);

/* Make the error line "FILE: ..."; -1. */
__attribute__((format(printf, 2, 3))) int access_fail(struct access_reader *reader, const char *fmt,
						      ...);

#endif
