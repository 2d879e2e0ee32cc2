#!/bin/sh
# SPDX-License-Identifier: MIT
# scripts/check-programs with stand-ins for programs, and allocators that this test makes: one that works, one that
# crashes, one whose memory loses what it held.
. "${srcdir:-.}/tests/tap/tap.sh"

for tool in python3 setsid taskset "${CC:-cc}"; do
	if ! command -v "$tool" >/dev/null; then
		skip "check-programs" "$tool is not installed"
		tap_done
	fi
done
check="$top/scripts/check-programs"
unset LD_PRELOAD

# library NAME 'C code': $work/NAME.so. Without sanitizers, whose libraries have to come first.
library() {
	echo "$2" >"$work/$1.c"
	"${CC:-cc}" -shared -fPIC "$work/$1.c" -o "$work/$1.so" || exit 99
}
library good 'int works_well;'
library crashing '#include <stdlib.h>
__attribute__((constructor)) static void start(void) { if (getenv("WORK")) abort(); }'
library lying '#include <stdlib.h>
__attribute__((constructor)) static void start(void) { setenv("LYING", "1", 1); }'

# A program that puts out the same each time, unless an allocator has spoilt what it remembers.
fake perl 'echo line 1; echo "${LYING:-0}"; echo line 3'
fake gnuplot 'exit 3'
real_path=$PATH
PATH="$work/bin:$PATH"
temporary="$work/tmp"
mkdir "$temporary"

# checked STATUS ARGUMENT...: it leaves no temporary folder.
checked() {
	status=$1
	shift
	TMPDIR=$temporary want_status "$status" "$check" --results "$work/results" "$@" || return 1
	[ -z "$(ls -A "$temporary")" ]
}

# bad PATTERN ARGUMENT...: one line, status 2, no results
bad() {
	pattern=$1
	shift
	checked 2 "$@"
	want_lines "$work/err" 1
	want_line "$work/err" "^kmm: check-programs: $pattern"
	[ ! -e "$work/results" ]
}

options() {
	bad '.*--nonsense' --nonsense
	bad 'nonsense: no such program; there are gcc' --programs perl,nonsense
	bad 'nonsense: no such allocator' --allocators glibc,nonsense
	bad '.*--repeat' --repeat 0
	bad '.*--repeat' --repeat x
	bad '.*--timeout' --timeout -1
	bad '.*NAME=PATH' --library nonsense
	bad '.*no such file' --library mine=/nonexistent
	bad 'libkmm-malloc.so is not there'
	bad 'libkmm-malloc.so is not there' --quick
	echo garbage >"$work/garbage.so"
	bad '.*garbage.so: cannot be preloaded' --library mine="$work/garbage.so" --allocators mine
}

same() {
	checked 0 --quick --programs perl --library kmm="$work/good.so"
	want_line "$work/out" '^ok 1 - perl on kmm$'
	want_line "$work/out" '^1\.\.1$'
	want_line "$work/out" '^1 passed, 0 failed, 0 skipped$'
	[ ! -e "$work/results" ]
}

# Nothing but what the script itself needs is in PATH.
missing() {
	mkdir -p "$work/few"
	python=$(python3 -c 'import sys; print(sys.executable)')
	for tool in setsid taskset env cat sh; do
		ln -sf "$(PATH=$real_path command -v $tool)" "$work/few/"
	done
	PATH="$work/few"
	export PATH
	got=0
	TMPDIR=$temporary "$python" "$check" --quick --programs gnuplot --library kmm="$work/good.so" \
		>"$work/.out" 2>"$work/.err" || got=$?
	PATH=$real_path
	want_line "$work/.out" '^ok 1 - gnuplot # SKIP gnuplot is not installed$'
	want_line "$work/.out" '^0 passed, 0 failed, 1 skipped$'
	[ $got = 0 ]
}

crash() {
	fake perl 'WORK=1 /bin/echo line 1 || exit 7'
	checked 1 --quick --programs perl --library kmm="$work/crashing.so"
	want_line "$work/out" '^not ok 1 - perl on kmm: perl exit status 7'
	fake perl 'WORK=1; export WORK; exec echo_it'
	fake echo_it 'echo line 1'
	checked 1 --quick --programs perl --library kmm="$work/crashing.so"
	want_line "$work/out" '^not ok 1 - perl on kmm: perl ended by SIGABRT'
	want_line "$work/out" '^0 passed, 1 failed, 0 skipped$'
	fake perl 'echo line 1; echo "${LYING:-0}"; echo line 3'
}

other_output() {
	checked 1 --quick --programs perl --library kmm="$work/lying.so"
	want_line "$work/out" "^not ok 1 - perl on kmm: line 2 of the output is '1', not '0'$"
}

reference() {
	checked 1 --quick --programs gnuplot --library kmm="$work/good.so"
	want_line "$work/out" '^not ok 1 - gnuplot on glibc, .*: gnuplot exit status 3'
	fake perl 'exit 0'
	checked 1 --quick --programs perl --library kmm="$work/good.so"
	want_line "$work/out" 'no output to compare'
	fake perl 'echo line 1; echo "${LYING:-0}"; echo line 3'
}

# gone PATTERN: no process has it in its command line.
gone() {
	! grep -aqs -e "$1" $(ls -d /proc/[0-9]*/cmdline 2>/dev/null | grep -v "/$$/")
}

hang() {
	fake perl 'setsid sleep 98765 & setsid sleep 98765'
	checked 1 --quick --programs perl --timeout 0.5 --library kmm="$work/good.so"
	want_line "$work/out" 'perl did not end within 0.5 s'
	gone 'sleep.98765'
	fake perl 'echo line 1; echo "${LYING:-0}"; echo line 3'
}

# A run of two rounds on three allocators, one of which lies.
measured() {
	checked 1 --repeat 2 --programs perl,gnuplot --allocators glibc,kmm,liar --library kmm="$work/good.so" \
		--library liar="$work/lying.so"
	want_line "$work/out" '^Geometric mean of time, kmm / the fastest peer of each program: [0-9.]+ '
	run=$(readlink -f "$work/results/latest-programs")
	want_line "$run/programs.csv" '^perl,kmm,2,[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+,[0-9]+(\.[05])?,[0-9]+,[0-9]+,[0-9.]+,[0-9.]+,.?$'
	want_line "$run/programs.csv" '^perl,liar,0,.*failed: line 2'
	want_line "$run/programs.csv" '^gnuplot,kmm,0,.*'
	want_lines "$run/programs-raw.csv" 5
	python3 -m json.tool "$run/machine.json" >"$work/json"
	rm -rf "$work/results"
}

# Peak memory is the program's, not the one of what started it.
peak() {
	checked 0 --repeat 1 --programs perl --allocators glibc
	kib=$(sed -n 's/\r//; s/^perl,glibc,0,[^,]*,[^,]*,//p' "$work/results/latest-programs/programs-raw.csv")
	echo "$kib KiB"
	[ "$kib" -lt 6000 ]
	rm -rf "$work/results"
}

interrupted() {
	# The run after the third says that it is there, when the third is written down.
	fake perl '[ -e "$KMM_TEST_SECOND" ] && { touch "$KMM_TEST_SECOND.begun"; exec sleep 98765; }
echo line 1
echo run >>"$KMM_TEST_COUNT"; [ "$(wc -l <"$KMM_TEST_COUNT")" -lt 3 ] || touch "$KMM_TEST_SECOND"'
	KMM_TEST_SECOND="$work/second"
	KMM_TEST_COUNT="$work/count"
	export KMM_TEST_SECOND KMM_TEST_COUNT
	TMPDIR=$temporary python3 "$check" --results "$work/results" --repeat 5 --programs perl --allocators glibc,kmm \
		--library kmm="$work/good.so" >"$work/.out" 2>"$work/.err" &
	tries=0
	until [ -e "$work/second.begun" ] || [ $tries = 300 ]; do
		tries=$((tries + 1))
		sleep 0.2
	done
	kill -TERM $!
	got=0
	wait $! || got=$?
	echo "status $got"
	[ $got = 130 ]
	gone 'sleep.98765'
	[ -z "$(ls -A "$temporary")" ]
	want_lines "$work/results/latest-programs/programs-raw.csv" 3
	want_line "$work/results/latest-programs/programs.csv" '^perl,kmm,1,'
	rm -rf "$work/results"
	fake perl 'echo line 1; echo "${LYING:-0}"; echo line 3'
}

t "bad usage is one line and status 2" options
t "the same output on kmm passes" same
t "a program that is missing is skipped, and said why" missing
t "an allocator that crashes fails" crash
t "another output than on glibc fails, with the line" other_output
t "a program that fails on glibc, or says nothing, proves nothing and fails" reference
t "one that hangs fails, and leaves no process" hang
t "a measured run leaves its tables" measured
t "peak memory is the program's own" peak
t "an interrupted run leaves what it has, and no process" interrupted
tap_done
