# SPDX-License-Identifier: MIT
# libkmm. Headers are installed with their folders; kmm.pc adds $(includedir)/kmm to the include path.

lib_LTLIBRARIES += libkmm.la
pkgconfig_DATA  += alloc/kmm.pc

kmmincludedir = $(includedir)/kmm
nobase_kmminclude_HEADERS =
libkmm_headers =
libkmm_la_SOURCES = $(libkmm_headers)
libkmm_la_CFLAGS  = $(AM_CFLAGS) -fvisibility=hidden
libkmm_la_LIBADD  = $(HWLOC_LIBS)
libkmm_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0
