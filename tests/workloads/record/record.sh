#!/bin/sh
# SPDX-License-Identifier: MIT
# kmm record: what a program says that it did is what its trace holds, through threads, fork, exec and SIGKILL.
. "${srcdir:-.}/tests/tap/tap.sh"

build=$(cd "${builddir:-.}" && pwd)
kmm=$build/kmm
work_program=$build/tests/workloads/record/work
sums=$build/tests/workloads/record/sums
cd "$work" || exit 99
unset LD_PRELOAD KMM_RECORD KMM_RECORD_LIBRARY

record() {
	"$kmm" record --quiet "$@"
}

# holds TRACE FILE: the trace has each line of FILE.
holds() {
	want_file "$1"
	"$sums" "$1" >"$work/sums"
	while read -r line; do
		grep -qx "$line" "$work/sums" && continue
		echo "$1: not '$line':"
		cat "$work/sums"
		return 1
	done <"$2"
	want_line "$work/sums" '^missed 0$'
}

all_is_recorded() {
	want_status 0 record -o "$1.kmt" -- "$work_program" "$1"
	cp out said
	want_lines said 6
	holds "$1.kmt" said
	want_line sums '^unknown 0$'
}

threads_share_objects() {
	all_is_recorded threads
	want_line sums '^threads [2-5]$'
	want_line sums '^went [1-9]'
	"$kmm" convert --quiet threads.kmt again.kmt
	"$sums" again.kmt | diff - sums
}

# Whatever lies between two threads, a free comes behind its allocation.
objects_go_round() {
	all_is_recorded ring
	want_line sums '^went [1-9]'
}

late_threads() {
	all_is_recorded late
	want_line sums '^threads [1-9]'
}

# Files whose names lead nowhere by then, and little address space.
where_there_is_less() {
	all_is_recorded chroot
	(ulimit -v 400000 && all_is_recorded threads)
}

what_is_lost_is_counted() {
	want_status 2 record -o lost.kmt -- "$work_program" nowhere
	cp out said
	holds lost.kmt said
	want_lines err 1
	want_line err '^kmm: lost.kmt: 1 processes could not be recorded, [1-9][0-9]* calls:'
}

every_clock_will_do() {
	want_status 0 record --clock monotonic -o clock.kmt -- "$work_program" threads
	cp out said
	holds clock.kmt said
	want_line sums '^unknown 0$'
}

short_threads() {
	all_is_recorded short
	want_line sums '^threads (9[0-9][0-9]|1000)$'
}

odd_calls() {
	all_is_recorded odd
	want_line sums '^failed 3$'
	grep -qx 'null 0' sums && { cat sums; return 1; }
	:
}

both_sides_of_a_fork() {
	want_status 0 record -o fork.kmt -- "$work_program" fork
	sed -n 's/^child //p' out >child
	sed -n '1,6p' out >said
	# The child frees what it has from its parent, too.
	sed -n '/^free/d; 1,6p' said >child_said
	sed -n '7,12p' out >parent_said
	"$sums" "fork.$(cat child).kmt" >sums
	holds "fork.$(cat child).kmt" child_said
	holds fork.kmt parent_said
}

both_programs_of_an_exec() {
	want_status 0 record -o exec.kmt -- "$work_program" exec
	sed -n '1,6p' out >first
	sed -n '7,12p' out >second
	holds exec.kmt first
	holds exec.*.2.kmt second
}

recorded_until_killed() {
	want_status 137 sh -c '"$@"; exit $?' sh "$kmm" record --quiet -o killed.kmt -- "$work_program" killed
	cp out said
	holds killed.kmt said
}

left_running_is_waited_for() {
	want_status 0 record -o left.kmt -- sh -c '"$1" realloc >later & exit 0' sh "$work_program"
	want_lines later 6
	for trace in left.*.kmt; do
		"$sums" "$trace" >sums
		grep -qx "$(grep realloc later)" sums && return 0
	done
	echo "no trace of it"
	return 1
}

its_exit_status() {
	want_status 7 record -o a.kmt -- sh -c 'exit 7'
	want_status 143 sh -c '"$@"; exit $?' sh "$kmm" record --quiet -o a.kmt -- sh -c 'kill -TERM $$'
	want_status 0 record -o a.kmt -- sh -c 'exit 0'
	want_file a.kmt
	[ -z "$(find . -name 'a.kmt.raw*')" ]
}

a_trace_is_named() {
	mkdir -p named
	(cd named && want_status 0 "$kmm" record "$work_program" odd)
	want_file named/work.kmt
	want_status 0 "$kmm" record -o named/x.kmt "$work_program" odd
	want_line err '^named/x.kmt: [0-9]* events of process [0-9]*: .*work odd$'
	want_lines err 1
}

few_bytes_an_event() {
	want_status 0 record -o bytes.kmt -- "$work_program" threads
	bytes=$(wc -c <bytes.kmt)
	# 180,000 events.
	[ "$bytes" -lt $((6 * 180000)) ] || { echo "$bytes bytes"; return 1; }
}

it_replays() {
	want_status 0 "$kmm" replay --repetitions 1 --allocators kmm,glibc --memory 1G --results results short.kmt
	want_line out '^  kmm '
}

# refused PATTERN COMMAND...: one line like that, and status 2.
refused() {
	pattern=$1
	shift
	want_status 2 "$@"
	want_lines err 1
	want_line err "^kmm: .*$pattern"
}

# An empty folder of PATH is the one we are in.
path_of_nothing() {
	printf '#!/bin/sh\nexit 7\n' >here
	chmod +x here
	for folders in ":$PATH" "$PATH:" "/nowhere::/nowhere"; do
		status=0
		PATH=$folders "$kmm" record --quiet -o here.kmt -- here >out 2>err || status=$?
		[ "$status" = 7 ] || { echo "PATH=$folders: $status"; cat err; return 1; }
	done
}

bad_input() {
	refused 'record wants a command' "$kmm" record
	refused 'No such file' "$kmm" record -o b.kmt -- ./nowhere
	refused 'No such file' "$kmm" record -o b.kmt -- no-such-command-at-all
	refused 'Permission denied|Exec format' "$kmm" record -o b.kmt -- /etc/passwd
	refused 'No such file' "$kmm" record -o nowhere/b.kmt -- true
	refused 'is there and no file' "$kmm" record -o . -- true
	refused 'tsc or monotonic' "$kmm" record --clock sun -- true
	refused 'goes with --kernel' "$kmm" record -a -- true
	refused 'unknown option' "$kmm" record --frobnicate -- true
	refused 'nowhere.so' env KMM_RECORD_LIBRARY=nowhere.so "$kmm" record -o b.kmt -- sh -c :
	[ ! -e b.kmt ]
	[ -z "$(find . -name 'b.kmt*')" ]
}

static_program() {
	echo 'int main(void) { return 0; }' >static.c
	"${CC:-cc}" -static static.c -o static 2>/dev/null || { echo "no static C library"; return 0; }
	refused 'linked statically' "$kmm" record -o b.kmt -- ./static
}

# --- the kernel ---

tracefs() {
	rm -rf tracing
	for event in kmalloc kfree kmem_cache_alloc kmem_cache_free mm_page_alloc mm_page_free; do
		mkdir -p "tracing/events/kmem/$event"
		echo 1 >"tracing/events/kmem/$event/id"
	done
}

kernel_events() {
	tracefs
	fake perf 'case $1 in
	script) [ "$3" = "$(cat "$WORK/data")" ] && cat "$TEXT"; exit ;;
	record) echo "$*" >"$WORK/perf" ;;
	esac
	while [ "$1" != -- ]; do
		[ "$1" = -o ] && { echo something >"$2"; echo "$2" >"$WORK/data"; }
		shift
	done
	shift
	"$@"'
	want_status 3 env PATH="$work/bin:$PATH" WORK="$work" KMM_TRACEFS="$work/tracing" \
		TEXT="$top/tests/fixtures/traces/kbuild-part.perf.txt" \
		"$kmm" record --kernel -a --quiet -o kernel.kmt -- sh -c 'exit 3'
	want_line perf ' -a -e kmem:kmalloc,kmem:kfree,kmem:kmem_cache_alloc,.* -- sh -c'
	"$kmm" convert --quiet "$top/tests/fixtures/traces/kbuild-part.perf.txt" direct.kmt
	"$kmm" convert --description same direct.kmt a.kmt | grep -v '^a.kmt' >direct
	"$kmm" convert --description same kernel.kmt a.kmt | grep -v '^a.kmt' >recorded
	diff direct recorded
}

kernel_refuses() {
	mkdir -p empty
	refused 'perf is not installed' env PATH="$work/empty" KMM_TRACEFS="$work/tracing" "$kmm" record --kernel -o k.kmt -- true
	fake perf 'exit 1'
	refused 'tracefs is not mounted' env PATH="$work/bin:$PATH" KMM_TRACEFS="$work/empty" "$kmm" record --kernel -o k.kmt -- true
	mkdir -p empty/events
	refused 'no kmem tracepoints' env PATH="$work/bin:$PATH" KMM_TRACEFS="$work/empty" "$kmm" record --kernel -o k.kmt -- true
	tracefs
	refused 'perf has recorded nothing' env PATH="$work/bin:$PATH" KMM_TRACEFS="$work/tracing" \
		"$kmm" record --kernel -o k.kmt -- true
	[ ! -e k.kmt ]
	[ -z "$(find . -name 'k.kmt*')" ]
}

if [ -e "$build/.libs/libkmm-record.so" ]; then
	t "a program with threads: all of its calls" threads_share_objects
	t "objects that go from thread to thread" objects_go_round
	t "by the other clock" every_clock_will_do
	t "threads that allocate when they end" late_threads
	t "more events than a chunk holds" all_is_recorded many
	t "large objects" all_is_recorded large
	t "in a chroot, and with little address space" where_there_is_less
	t "what is lost is counted" what_is_lost_is_counted
	t "a thousand short threads, and their last words" short_threads
	t "realloc and reallocarray, over and over" all_is_recorded realloc
	t "odd calls" odd_calls
	t "a signal's handler that allocates" all_is_recorded signals
	t "parent and child of a fork, a trace each" both_sides_of_a_fork
	t "one program and the next by exec, a trace each" both_programs_of_an_exec
	t "what was recorded before SIGKILL" recorded_until_killed
	t "what the command leaves running" left_running_is_waited_for
	t "the command's exit status, or its signal" its_exit_status
	t "traces are named after the command, or as told" a_trace_is_named
	t "a trace takes less than 6 bytes an event" few_bytes_an_event
	t "a recorded trace replays" it_replays
	t "an empty folder of PATH" path_of_nothing
	t "bad input is one line" bad_input
	t "a static program is refused" static_program
else
	skip "kmm record" "libkmm-record.so is not built: no shared libraries, or a sanitizer"
fi
t "--kernel: perf's events, converted" kernel_events
t "--kernel: what is missing is one line" kernel_refuses
tap_done
