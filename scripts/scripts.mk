# SPDX-License-Identifier: MIT
# Set-up, plots, reports and the targets of the user's make. Results are written below the build folder.

# What `kmm plot`, `kmm report` and `kmm compare` run is installed with it.
dist_pkgdata_SCRIPTS += scripts/plot scripts/report scripts/compare scripts/linux
dist_pkgdata_DATA += scripts/runfolder.py
EXTRA_DIST += scripts/setup scripts/bootstrap scripts/packages.debian scripts/packages.ci scripts/perf \
	scripts/flamegraph scripts/lint scripts/check-programs scripts/check-numa \
	scripts/preloaded.py scripts/programs.py \
	$(program_scripts) results/README.md results/example.svg

# What check-programs has its programs do.
program_scripts = scripts/programs/gnuplot.gp scripts/programs/node.js scripts/programs/perl.pl \
	scripts/programs/postgres.sql scripts/programs/sqlite.sql

# The user's variables.
#	RUN             the run that plot and report work on
#	BASE, NEW       the runs to compare, as folders or as names below results/
#	FAIL_ABOVE      compare fails when a case is slower by more than so many percent
#	SUITE, CASE     what perf profiles
#	KMM_BENCH_ARGS  more arguments for kmm bench
#	PROGRAMS_ARGS   more arguments for check-programs
#	NUMA_ARGS       more arguments for check-numa
RUN = results/latest
BASE =
NEW = results/latest
FAIL_ABOVE =
SUITE = page
CASE =
KMM_BENCH_ARGS =
PROGRAMS_ARGS =
NUMA_ARGS =

kmm_samples = $(wildcard $(srcdir)/workloads/samples/*.kmt)
kmm_after_run = $(MAKE) $(AM_MAKEFLAGS) plot report RUN=results/latest

bench: bench-quick

bench-quick: all
	./kmm bench --quick $(KMM_BENCH_ARGS) $(kmm_samples)
	@$(kmm_after_run)

bench-full: all
	./kmm bench --full $(KMM_BENCH_ARGS) $(kmm_samples)
	@$(kmm_after_run)

# The same with the Linux kernel beside it, built where it is not yet. Where it cannot be, one line says why, the
# others are measured without it, and the status is 2 at the end. A run that wrote nothing is not reported.
bench-linux: all
	@before=$$(readlink results/latest); with=--with-linux; $(srcdir)/scripts/linux --install >/dev/null || with=; \
		echo "./kmm bench --quick $$with $(KMM_BENCH_ARGS)"; \
		./kmm bench --quick $$with $(KMM_BENCH_ARGS) $(kmm_samples); status=$$?; \
		test "$$(readlink results/latest)" = "$$before" || $(kmm_after_run) || exit; \
		test "$$with" || exit 2; exit $$status

plot:
	@$(srcdir)/scripts/plot $(RUN)

# The report takes in whatever plots are there.
report:
	@$(srcdir)/scripts/report $(RUN)

compare:
	@$(srcdir)/scripts/compare $(if $(FAIL_ABOVE),--fail-above $(FAIL_ABOVE)) "$(BASE)" "$(NEW)"

perf:
	@$(srcdir)/scripts/perf $(if $(CASE),--case $(CASE)) $(SUITE)

# Real programs with malloc from here, and from others.
check-programs: libkmm-malloc.la
	@$(srcdir)/scripts/check-programs --install --library kmm=.libs/libkmm-malloc.so $(PROGRAMS_ARGS)

# Own sources, as seen from the build folder.
kmm_sources = find $(srcdir)/alloc $(srcdir)/bench $(srcdir)/workloads $(srcdir)/tests \
	-name '*.[ch]' -o -name '*.cc'

format:
	$(kmm_sources) | xargs clang-format -i

lint: bench/build.h
	@$(srcdir)/scripts/lint $(srcdir) $(builddir)

# In a copy of the sources, so that it works whether this build is in the source folder or not. lcov is pointed at the
# copy instead of being told what to leave out: a checkout below /usr or /tmp counts.
coverage:
	@command -v lcov >/dev/null || { echo "kmm: coverage: lcov is not installed" >&2; exit 2; }
	rm -rf coverage
	$(MAKE) $(AM_MAKEFLAGS) distdir distdir=coverage
	cd coverage && ./configure --quiet --enable-coverage --disable-static && $(MAKE) $(AM_MAKEFLAGS) check
	lcov --quiet --capture --no-external --base-directory coverage --directory coverage --output-file coverage/lcov.info
	genhtml --quiet coverage/lcov.info --output-directory coverage/html
	@lcov --summary coverage/lcov.info
	@echo "coverage: coverage/html/index.html"

clean-local:
	-rm -rf coverage
