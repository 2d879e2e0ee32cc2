# SPDX-License-Identifier: MIT
# The kmm command. libkmm is linked statically, so that its calls, like the peers', are plain calls.

# What an allocator of someone else's needs to be measured.
nobase_kmminclude_HEADERS += bench/peer.h
examplesdir = $(docdir)/examples
dist_examples_DATA = bench/peers/example_page_peer.c

# Suites, peers and latency histograms: a convenience library of the kmm command and the tests.
noinst_LTLIBRARIES += libsuites.la
libsuites_la_SOURCES = bench/suite.h bench/peer.h bench/peers/peers_internal.h bench/peers/peers.c bench/peers/peers_env.c \
		       bench/peers/page_peers.h bench/peers/page_peers.c \
		       bench/results/latency.h bench/results/latency.c \
		       bench/suites/common.h bench/suites/common.c bench/suites/tables.c bench/suites/loops.h \
		       bench/suites/objects.h bench/suites/objects.c bench/suites/object_cases.c \
		       bench/suites/verify.h bench/suites/verify.c \
		       bench/suites/arena.h bench/suites/arena.c bench/suites/xcpu.h bench/suites/xcpu.c \
		       bench/suites/slots.h bench/suites/churn.c bench/suites/larson.c \
		       bench/suites/falseshare.h bench/suites/falseshare.c bench/suites/fleet.h bench/suites/fleet.c \
		       bench/suites/freelist.h bench/suites/freelist.c \
		       bench/suites/lines.h bench/suites/lines.c bench/suites/suites.h bench/suites/suites.c \
		       bench/suites/floor.c bench/suites/page.c bench/suites/page_cases.h \
		       bench/suites/page_fill.c bench/suites/page_stress.c \
		       bench/suites/page_ageing.c bench/suites/slab.c bench/suites/kmalloc.c \
		       bench/suites/map_ram.c bench/suites/map_unmap.c bench/suites/ranges.c bench/suites/ranges.h \
		       bench/suites/vmalloc.c bench/suites/walk.c bench/suites/tlb.c bench/suites/tlb_trace.h bench/suites/tlb_trace.c \
		       bench/suites/tree.c bench/suites/tree_loop.h
libsuites_la_LIBADD  = libworkloads.la -lm

# Everything of the command that tests exercise apart from main: a convenience library too.
noinst_LTLIBRARIES += libbench.la
libbench_la_SOURCES = bench/command.h bench/options/options.h bench/options/options.c bench/options/peer_options.c bench/options/fleet_options.h bench/options/fleet_options.c \
		      bench/results/stats.h bench/results/stats.c bench/run/progress.h bench/run/progress.c \
		      bench/run/supervise.h bench/run/supervise.c bench/replay/replay.h bench/complain.c \
		      bench/results/results.h bench/results/results_internal.h bench/results/results.c bench/results/results_csv.c \
		      bench/results/results_rows.c bench/results/journal.c bench/results/keep.c bench/results/machine_json.c \
		      bench/run/gbench.h bench/run/gbench.cc bench/options/choose.h bench/options/choose.c bench/run/case_run.h bench/run/case_run.c \
		      bench/run/measure.h bench/run/measure.c bench/run/rounds.c bench/run/alone.h bench/run/alone.c bench/run/alone_worker.c \
		      bench/run/linux_run.h bench/run/linux_run.c bench/run/linux_lines.h bench/run/linux_lines.c \
		      bench/run/linux_rows.c bench/run/linux_traces.c \
		      bench/run/count.c bench/paths.h bench/paths.c bench/results/summary.h bench/results/summary.c \
		      bench/results/fragmentation.h bench/results/fragmentation.c bench/replay/replay_internal.h \
		      bench/run/worker.h bench/run/worker.c bench/replay/replay_ops.h bench/replay/replay_ops.c bench/replay/replay_run.h bench/replay/replay_run.c \
		      bench/replay/replay_trace.h bench/replay/replay_trace.c bench/replay/replay_worker.c \
		      bench/commands/pagetable.h bench/commands/pagetable_pid.c bench/commands/pagetable_sums.c \
		      bench/commands/pagetable_tree.c \
		      bench/commands/tlb.h bench/commands/tlb_preset.c bench/commands/tlb_run.c bench/commands/tlb_report.c \
		      bench/probe/probe.h bench/probe/probe.c bench/probe/memory.c bench/probe/chain.c bench/probe/steps.c \
		      bench/probe/fit.h bench/probe/fit.c bench/probe/model.c bench/probe/check.c bench/probe/report.c
# libtool drops -lstdc++ from a C++ library's own list, and programs in C are not linked by the C++ compiler.
bench_ldadd = libbench.la libsuites.la libworkloads.la libkmmcore.la $(BENCHMARK_LIBS) -lstdc++ \
	      $(HWLOC_LIBS) -ldl -lm
nodist_libbench_la_SOURCES = bench/build.h

bin_PROGRAMS += kmm
kmm_SOURCES  = bench/main.c bench/commands/topo.c bench/commands/bench.c bench/commands/bench_linux.h bench/commands/bench_linux.c \
	       bench/commands/convert.c bench/commands/trace.c bench/commands/replay.c bench/commands/show.c \
	       bench/commands/pagetable.c bench/commands/tlb.c \
	       bench/commands/record.h bench/commands/record.c bench/commands/record_kernel.c bench/commands/record_run.c
kmm_CPPFLAGS = $(AM_CPPFLAGS) -DKMM_BINDIR='"$(bindir)"' -DKMM_PKGDATADIR='"$(pkgdatadir)"' -DKMM_PKGLIBDIR='"$(pkglibdir)"' \
	       -DKMM_SOURCE_SCRIPTS='"$(abs_top_srcdir)/scripts"'
kmm_CFLAGS   = $(AM_CFLAGS)
kmm_LDFLAGS  = $(AM_LDFLAGS) -static-libtool-libs
kmm_LDADD    = $(bench_ldadd)

# What was built, from what and how; rewritten only when that changes.
BUILT_SOURCES += bench/build.h
CLEANFILES    += bench/build.h
bench/results/machine_json.lo bench/kmm-main.$(OBJEXT): bench/build.h
bench/build.h: FORCE
	@$(MKDIR_P) bench; \
	revision=`cd $(srcdir) && git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown`; \
	printf '#define KMM_REVISION "%s"\n#define KMM_COMPILER "%s"\n#define KMM_CFLAGS "%s"\n' \
		"$$revision" "`$(CC) --version | head -n 1 | tr -d '\"'`" \
		"`echo '$(CFLAGS) $(SANITIZER_FLAGS) $(COVERAGE_FLAGS)' | tr -d '\"'`" >$@.new; \
	if cmp -s $@.new $@; then rm -f $@.new; else mv -f $@.new $@; fi
FORCE:
.PHONY: FORCE

# What scripts/linux builds into a kernel, and the headers that it shares with the command.
kmmbenchdir = $(pkgdatadir)
nobase_dist_kmmbench_DATA = bench/linux/Kbuild bench/linux/config bench/linux/README.md \
	bench/linux/kmm_linux.h bench/linux/trace_format.h bench/linux/main.c bench/linux/say.c \
	bench/linux/measure.c bench/linux/page.c bench/linux/object.c bench/linux/tree.c \
	bench/linux/ageing.c bench/linux/replay.c bench/linux/state.c \
	bench/suites/loops.h bench/suites/tree_loop.h

EXTRA_DIST    += bench/README.md
dist_man_MANS += bench/kmm.1
