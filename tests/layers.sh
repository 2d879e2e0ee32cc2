#!/bin/sh
# SPDX-License-Identifier: MIT
# The house stands: a file of alloc/ includes its own layer and the ones before it, only arch talks to the host's
# memory calls and to hwloc, and the objects hold no state but what is listed here, with its reason.
. "${srcdir:-.}/tests/tap/tap.sh"

layers="base arch phys slab virt reclaim report"

# name, and why it may be: anything else in .data, .bss or thread-local sections is a hidden global.
allowed='this_cpu               the slot of this thread
detached               the slot of threads without one: zeros, write-protected
current                the machine that threads attach to by themselves
at_start               the CPUs the process was allowed when it started; constant once main runs
cycles_per_second      the rate of the clock, measured once
fail_countdown         for tests: the request to the host that is to fail
mcs_nodes              a thread'\''s places in the queues of mcs locks
held_locks             debug builds: the locks this thread holds
refusal                why this thread'\''s last boot failed'

# wrong_includes FOLDER: each include in FOLDER/LAYER/* that goes up, as "file: what".
wrong_includes() {
	seen=
	for layer in $layers; do
		seen="$seen $layer"
		for file in "$1/$layer"/*.[ch]; do
			[ -e "$file" ] || continue
			sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$file" |
				while read -r name; do
					case " $seen " in
					*" ${name%%/*} "*) [ "$name" != "${name#*/}" ] && continue ;;
					esac
					echo "${file#"$1"/}: \"$name\""
				done
		done
	done
}

# host_calls FOLDER: files outside of arch that include what only arch may use.
host_calls() {
	for layer in $layers; do
		[ "$layer" = arch ] && continue
		grep -lE '^[[:space:]]*#[[:space:]]*include[[:space:]]*<(sys/mman\.h|hwloc.*|numaif\.h|numa\.h)>' \
			"$1/$layer"/*.[ch] 2>/dev/null || : # none is well
	done
}

# other_folders FOLDER: includes of the harness or the tests, anywhere in the library.
other_folders() {
	grep -rnE --include='*.[ch]' '#[[:space:]]*include[[:space:]]*["<](\.\./|bench/|workloads/|tests/)' "$1" || :
}

# state OBJECT...: "object: symbol section" of everything writable.
state() {
	for object; do
		nm -f sysv "$object" | awk -F'|' -v object="$object" '
			NF >= 7 {
				gsub(/ /, "", $1); gsub(/ /, "", $7)
				if ($7 ~ /^(\.(data|bss|tdata|tbss)|\*COM\*)/ && $7 !~ /^\.data\.rel\.ro/ && $1 !~ /^\./)
					print object ": " $1 " " $7
			}'
	done
}

# not_allowed: of the lines of `state`, those whose symbol is not in the list. Static variables of a function carry
# a number, or the function's name.
not_allowed() {
	while read -r object symbol section; do
		echo "$allowed" | grep -q "^$symbol " || echo "$object $symbol $section"
	done
}

none() {
	found=$("$@")
	[ -z "$found" ] && return 0
	echo "$found"
	return 1
}

library_state() {
	# shellcheck disable=SC2086
	state $objects | not_allowed
}

planted_includes_are_found() {
	mkdir -p "$work/tree/phys" "$work/tree/slab"
	echo '#include "slab/slab.h"' >"$work/tree/phys/up.c"
	echo '#  include "bench/peer.h"' >"$work/tree/slab/out.c"
	echo '#include "slab.h"' >"$work/tree/slab/bare.c"
	printf '#include <hwloc.h>\n#include "phys/page.h"\n' >"$work/tree/slab/host.c"
	wrong_includes "$work/tree" >"$work/found"
	want_lines "$work/found" 3
	want_line "$work/found" '^phys/up.c: "slab/slab.h"$'
	want_line "$work/found" '^slab/out.c: "bench/peer.h"$'
	want_line "$work/found" '^slab/bare.c: "slab.h"$'
	host_calls "$work/tree" >"$work/found"
	want_lines "$work/found" 1
	want_line "$work/found" 'slab/host.c$'
	other_folders "$work/tree" >"$work/found"
	want_lines "$work/found" 1
}

planted_state_is_found() {
	cat >"$work/state.c" <<-'END'
		static int counter;
		int shared = 3;
		__thread int mine;
		static const char *const names[] = {"a", "b"};
		const char *name(int i) { counter++; return names[i + mine]; }
	END
	${CC:-cc} -fPIC -c -o "$work/state.o" "$work/state.c"
	state "$work/state.o" | not_allowed >"$work/found"
	want_lines "$work/found" 3
	want_line "$work/found" ': counter \.bss'
	want_line "$work/found" ': shared \.data'
	want_line "$work/found" ': mine \.tbss'
}

t "planted upward includes are found" planted_includes_are_found
t "every include stays in its layer or goes down" none wrong_includes "$top/alloc"
t "only arch talks to the host about memory and to hwloc" none host_calls "$top/alloc"
t "the library includes nothing of the harness or the tests" none other_folders "$top/alloc"

objects=$(find "${builddir:-.}/alloc" -name '*.o' ! -path '*/.libs/*' ! -name 'libkmm_malloc_la-*' ! -name 'tests_*' 2>/dev/null)
if [ -z "$objects" ]; then
	skip "the library keeps no state but what is listed" "nothing is built in ${builddir:-.}"
elif nm $objects | grep -Eq '__(asan|tsan|msan|ubsan|gcov|llvm_gcov|llvm_prf)'; then
	skip "the library keeps no state but what is listed" "instrumented objects have state of their own"
else
	t "planted state is found" planted_state_is_found
	t "the library keeps no state but what is listed" none library_state
fi
tap_done
