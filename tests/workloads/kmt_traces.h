/* SPDX-License-Identifier: MIT */
/* Traces in memory files, for the tests of the .kmt reader and writer: small enough that every byte
 * of one can be cut off or changed. A failure in here ends the test program. */
#ifndef TESTS_WORKLOADS_KMT_TRACES_H
#define TESTS_WORKLOADS_KMT_TRACES_H

#include "workloads/kmt_format.h"

/* What the traces say of their source. */
extern const struct kmt_info trace_info;

/* A file of these bytes, to be read from its start. */
int memory_file(const void *bytes, size_t length);

/* A shape with nothing but its kind. */
struct kmt_shape shape_of(enum kmt_kind kind);

struct kmt_writer *writer_to(int fd);

/* Read all of fd: events, or -1 and the error. */
ssize_t read_all_events(int fd, char error[KMT_ERROR_SIZE]);

/* Some events of every sort; a few hundred bytes. */
int small_trace(void);

#endif
