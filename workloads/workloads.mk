# SPDX-License-Identifier: MIT
# Trace format, readers and generators: a convenience library used by the kmm command and the tests.

noinst_LTLIBRARIES += libworkloads.la
libworkloads_la_SOURCES =
libworkloads_la_LIBADD  = $(ZSTD_LIBS)
