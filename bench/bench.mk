# SPDX-License-Identifier: MIT
# The kmm command. libkmm is linked statically, so that its calls, like the peers', are plain calls.

# Suites, peers and latency histograms: a convenience library of the kmm command and the tests.
noinst_LTLIBRARIES += libsuites.la
libsuites_la_SOURCES = bench/suite.h bench/peer.h bench/peers_internal.h bench/peers.c bench/peers_env.c \
		       bench/latency.h bench/latency.c
