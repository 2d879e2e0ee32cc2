# SPDX-License-Identifier: MIT
# Trace format, readers and generators: a convenience library used by the kmm command and the tests.

noinst_LTLIBRARIES += libworkloads.la
libworkloads_la_SOURCES = \
	workloads/access.c \
	workloads/access.h \
	workloads/access_internal.h \
	workloads/champsim.c \
	workloads/convert.c \
	workloads/convert.h \
	workloads/crc32c.c \
	workloads/crc32c.h \
	workloads/fleet.c \
	workloads/fleet.h \
	workloads/fleet_server.c \
	workloads/gfp_names.c \
	workloads/gfp_names.h \
	workloads/kmt.h \
	workloads/kmt_access.c \
	workloads/kmt_common.c \
	workloads/kmt_csv.c \
	workloads/kmt_csv.h \
	workloads/kmt_format.h \
	workloads/kmt_index.c \
	workloads/kmt_index.h \
	workloads/kmt_merge.c \
	workloads/kmt_merge.h \
	workloads/kmt_read.c \
	workloads/kmt_read_defs.c \
	workloads/kmt_reader.h \
	workloads/kmt_sums.c \
	workloads/kmt_sums.h \
	workloads/kmt_write.c \
	workloads/kmt_write_defs.c \
	workloads/kmt_writer.h \
	workloads/lackey.c \
	workloads/live_map.c \
	workloads/live_map.h \
	workloads/pattern.c \
	workloads/pattern.h \
	workloads/perf_script.c \
	workloads/perf_script.h \
	workloads/record/chunks.c \
	workloads/record/chunks.h \
	workloads/record/merge.c \
	workloads/record/merge.h \
	workloads/record/raw.h \
	workloads/text_input.c \
	workloads/text_input.h
libworkloads_la_LIBADD  = $(ZSTD_LIBS) -lm

# What kmm record preloads. It records malloc, so it must not be instrumented, and a thread-local must not need
# an allocation.
if RECORD_LIBRARY
pkglib_LTLIBRARIES += libkmm-record.la
endif
libkmm_record_la_SOURCES = workloads/record/file.c workloads/record/file.h workloads/record/preload.c \
			   workloads/record/raw.h workloads/record/stream.c workloads/record/stream.h
libkmm_record_la_CFLAGS  = -std=gnu11 -D_GNU_SOURCE= $(WARN_CFLAGS) -fno-strict-aliasing -pthread -fvisibility=hidden \
			   -ftls-model=initial-exec -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc \
			   -fno-builtin-free
libkmm_record_la_LDFLAGS = -pthread -shared -module -avoid-version -Wl,-z,now -Wl,-z,nodelete
libkmm_record_la_LIBADD  = -ldl
libkmm_record_la_LIBTOOLFLAGS = --tag=disable-static
EXTRA_DIST += \
	workloads/FORMAT.md \
	workloads/samples/README.md \
	workloads/samples/fswalk.kmt \
	workloads/samples/kbuild.kmt \
	workloads/samples/nginx.kmt \
	workloads/samples/pgbench.kmt
