#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs that nobody here wrote do the same on libkmm-malloc.so as without it; and what the library takes from the
# environment.
. "${srcdir:-.}/tests/tap/tap.sh"

library=${builddir:-.}/.libs/libkmm-malloc.so
if [ ! -e "$library" ]; then
	echo "1..0 # SKIP libkmm-malloc.so was not built: a sanitizer, or --disable-malloc or --disable-shared"
	exit 0
fi
library=$(cd "$(dirname "$library")" && pwd)/libkmm-malloc.so
unset KMM_OPTIONS KMM_STATS

# on COMMAND...: with the library.
on() {
	LD_PRELOAD=$library "$@"
}

# same COMMAND...: output, errors and status with and without the library.
same() {
	without=0
	with=0
	"$@" >"$work/out" 2>"$work/err" </dev/null || without=$?
	LD_PRELOAD=$library "$@" >"$work/out.kmm" 2>"$work/err.kmm" </dev/null || with=$?
	[ "$with" = "$without" ] || { echo "status $with, not $without"; head -n 5 "$work/err.kmm"; return 1; }
	cmp "$work/out" "$work/out.kmm"
	cmp "$work/err" "$work/err.kmm"
}

# program NAME COMMAND...: the same, of a program that may not be here.
program() {
	name=$1
	shift
	if command -v "$1" >/dev/null; then
		t "$name" same "$@"
	else
		skip "$name" "there is no $1"
	fi
}

awk 'BEGIN { for (i = 0; i < 200000; i++) print (i * 7919) % 200003, "line", i }' >"$work/lines"
cat >"$work/work.py" <<'END'
import json, re, threading
data = {str(i): [i, i * i, "x" * (i % 300)] for i in range(20000)}
text = json.dumps(data)
assert json.loads(text) == data
print(len(text), len(re.findall(r"x{250,}", text)))
def work(n):
    return sum(len(bytearray(i % 5000)) for i in range(n))
threads = [threading.Thread(target=work, args=(5000,)) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(work(10000))
END
cat >"$work/work.pl" <<'END'
my %h; $h{$_ % 997} .= "item $_ " for 1 .. 100000;
print join(",", map { length $h{$_} } sort { $a <=> $b } keys %h), "\n";
END
cat >"$work/work.awk" <<'END'
{ n[$1 % 1000] = n[$1 % 1000] " " $3; c++ } END { for (i = 0; i < 1000; i++) s += length(n[i]); print c, s }
END
cat >"$work/work.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
int main(void) { char *p = malloc(10); snprintf(p, 10, "%d", 42); puts(p); free(p); return 0; }
END

program "true" true
program "ls -R" ls -R "$top"
program "sh" sh -c 'for i in 1 2 3; do echo "$i" | cat; done; (exit 3)'
program "sort in threads" sort --parallel=4 -S 4M -k2 "$work/lines"
program "awk" awk -f "$work/work.awk" "$work/lines"
program "sed" sed -n 's/line 1\(.*\)9$/\1/p' "$work/lines"
program "grep" grep -E '(11|22|33).*(4|5)+$' "$work/lines"
program "find" find "$top/alloc" -name '*.c'
program "tar" tar -C "$top" -cf - --sort=name alloc
program "xz in threads" xz -T4 -1 -c "$work/lines"
program "python" python3 "$work/work.py"
program "perl" perl "$work/work.pl"
program "gcc" gcc -O2 -S -o - "$work/work.c"
program "git" git --no-pager log --oneline -n 20
program "make" make -f /dev/null -n

# A program's threads, children and large files: what a table of names does not tell.
compiled_program_runs() {
	on ${CC:-cc} -o "$work/a.out" "$work/work.c"
	on "$work/a.out" >"$work/out"
	want_line "$work/out" '^42$'
}
t "a program that a compiler on the library made runs on it" compiled_program_runs

options_are_taken() {
	for options in node_bytes=64M classes=kernel classes=fine slub_debug=FZP slub_debug=F+kmalloc-64 pcp_batch=16,pcp_high=64 thp=never \
		thp=always trim_ms=0 trim_ms=100,node_bytes=1G ,,; do
		KMM_OPTIONS=$options
		export KMM_OPTIONS
		want_status 0 on sort -n "$work/lines"
		want_lines "$work/out" 200000
		want_lines "$work/err" 0
	done
}
t "options are taken from the environment" options_are_taken

a_bad_option_is_one_line() {
	for options in classes=3 node_bytes=much node_bytes=1 bogus=1 thp=perhaps slub_debug=Q trim_ms= pcp_high=-1 nothing \
		pcp_batch=100,pcp_high=10; do
		KMM_OPTIONS=$options
		export KMM_OPTIONS
		want_status 0 on cat "$top/LICENSE"
		cmp "$work/out" "$top/LICENSE"
		want_lines "$work/err" 1
		want_line "$work/err" '^kmm: KMM_OPTIONS: '
	done
}
t "a bad option is one line, and the program runs without" a_bad_option_is_one_line

a_summary_is_printed_at_exit() {
	KMM_STATS=1
	export KMM_STATS
	want_status 0 on sort -n "$work/lines"
	want_line "$work/err" '^kmm: in use: '
	want_line "$work/err" '^kmm: calls: [1-9]'
	KMM_STATS=0
	want_status 0 on sort -n "$work/lines"
	want_lines "$work/err" 0
}
t "KMM_STATS prints a summary at exit" a_summary_is_printed_at_exit

# A second thread, so that the loader frees and the library asks whether it is the loader that does.
a_program_started_by_the_loader_runs() {
	loader=$(awk '$6 ~ /\/ld[^\/]*\.so/ { print $6; exit }' /proc/self/maps)
	python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
	want_status 0 "$loader" --preload "$library" "$python" -c 'import ctypes, threading
def work():
    for i in range(200):
        bytearray(100000 + i * 1000)
        try: ctypes.CDLL("/nowhere/lib.so")
        except OSError: pass
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print("done")'
	want_line "$work/out" '^done$'
	want_lines "$work/err" 0
}
if command -v python3 >/dev/null; then
	t "a program that the loader was told to start runs" a_program_started_by_the_loader_runs
else
	skip "a program that the loader was told to start runs" "there is no python3"
fi

a_small_address_space_is_enough() {
	for kib in 65536 262144 1048576; do
		(ulimit -v $kib && want_status 0 on awk -f "$work/work.awk" "$work/lines")
	done
}
t "a program of little address space runs" a_small_address_space_is_enough

cat >"$work/threads.py" <<'END'
import threading
threading.stack_size(65536)
barrier = threading.Barrier(41)
def work():
    data = [bytes(i) for i in range(2000)]
    barrier.wait()
    return len(data)
threads = [threading.Thread(target=work) for _ in range(40)]
[t.start() for t in threads]; barrier.wait(); [t.join() for t in threads]
print("done")
END
more_threads_than_slots_run() {
	(ulimit -v 700000 && want_status 0 on env PYTHONMALLOC=malloc python3 "$work/threads.py")
	want_line "$work/out" '^done$'
}
if command -v python3 >/dev/null; then
	t "more threads than a small address space has slots for run" more_threads_than_slots_run
else
	skip "more threads than a small address space has slots for run" "there is no python3"
fi

nothing_but_malloc_is_shown() {
	nm -D --defined-only "$library" | awk '{ print $NF }' |
		grep -Ev '^(malloc|free|calloc|realloc|reallocarray|memalign|aligned_alloc|posix_memalign|p?valloc)$' |
		grep -Ev '^(malloc_(usable_size|trim|stats)|mallopt|mallinfo2?|_Z(nw|na|dl|da).*)$' >"$work/others" || :
	want_lines "$work/others" 0
	nm -D --undefined-only "$library" | awk '{ print $NF }' >"$work/wanted"
	! grep -E 'hwloc|_ZSt.*exception|__gxx' "$work/wanted"
}
t "the library shows malloc's family and nothing else" nothing_but_malloc_is_shown

tap_done
