#!/bin/sh
# SPDX-License-Identifier: MIT
# kmm bench --with-linux: with kernels that are scripts, and with the real one where it has been built.
. "${srcdir:-.}/tests/tap/tap.sh"

run="$work/results/latest"
kmm=$(cd "${builddir:-.}" && pwd)/kmm
real=$("$top/scripts/linux" --cached 2>/dev/null)
mkdir "$work/data"
printf '#!/bin/sh\necho "%s"\n' "$work/kernel" >"$work/data/linux"
chmod +x "$work/data/linux"

# kernel: what it says comes from stdin.
kernel() {
	{ echo '#!/bin/sh'; cat; } >"$work/kernel"
	chmod +x "$work/kernel"
}

bench() {
	rm -rf "$work/results"
	"$kmm" bench --with-linux --suite floor,slab --case list_pair,pair,bulk --threads 1 --allocators kmm --memory 64M \
		--benchmark_min_time=0.0001 --benchmark_repetitions=1 --results "$work/results" "$@"
}

# One line of complaint besides progress.
complains() {
	grep -v '% \|^$' "$work/err" >"$work/lines" || :
	want_lines "$work/lines" 1
	want_line "$work/lines" "^kmm: linux: $1"
}

whole() {
	want_line "$work/results/latest/throughput.csv" '^floor,list_pair,'
}

export KMM_DATADIR="$work/data"

rows_join_the_run() {
	kernel <<-'KERNEL'
		echo "kmm-linux 1 6.1.90"
		echo "sample page pair 0 1 1000 100000"
		echo "sample page pair 0 1 1000 120000"
		echo "sample page bulk 9 128 1000 100000"
		echo "sample page fill50/pair 0 1 1000 100000"
		echo "round ageing 0 0 0 4096 4096 1024 0 1 0 0 0 0 0 0 0 0 1 0"
		echo "round ageing 0 1 5000 4096 4096 1024 0 1 0 0 0 0 0 0 0 0 1 0"
		echo "sample page ageing 0 1 1000 100000"
		echo "sample replay t-page trace 1 1000 100000"
		echo "event t-page 1000 5000 4096 4096 1024 0 1 0 0 0 0 0 0 0 0 1 0"
		echo "state t-page buddyinfo Node 0, zone   Normal      1"
		echo "state t-page buddyinfo Node 0, zone  Movable      1"
		echo "pageblock t-page end 512 9 1"
		echo "free t-page end 512 9 1"
		echo end
	KERNEL
	want_status 0 bench --suite floor,page --case list_pair,pair,bulk,fill,ageing --benchmark_filter='list_pair|linux'
	want_line "$run/throughput.csv" '^page,pair,linux-6.1,1,local,0,2000,.*,uml; one CPU$'
	want_line "$run/throughput.csv" '^page,bulk,linux-6.1,1,local,9,1000,.*uml; one CPU; 128 objects$'
	want_line "$run/fragmentation.csv" '^ageing,linux-6.1,1,'
	want_lines "$run/buddyinfo.t-page.linux-6.1.txt" 2
	want_line "$run/buddyinfo.t-page.linux-6.1.txt" '^Node 0, zone   Normal      1$'
	want_line "$run/free.t-page.linux-6.1.csv" '^end,512,9,1$'
	want_line "$run/pageblocks.t-page.linux-6.1.csv" '^end,512,9,1$'
	want_line "$work/out" 'ageing of linux-6.1: of its free memory 99.8 %'
	want_line "$work/out" 'linux-6.1 is Linux 6.1.90'
	whole
}

# FILE PATTERN COUNT: so many rows.
want_rows() {
	[ "$(grep -c "^$2," "$run/$1.csv")" = "$3" ] && return 0
	echo "$3 rows of $2 wanted:"
	cat "$run/$1.csv"
	return 1
}

# As for the other allocators: no choice of cases is about a trace that was handed in.
what_is_chosen_is_kept_and_every_replay() {
	want_status 0 bench --case list_pair,bulk
	want_rows throughput 'page,[a-z0-9/]*,linux-6.1' 1
	want_rows throughput 'page,bulk,linux-6.1' 1
	want_rows throughput 'replay,t-page,linux-6.1,1,local,trace' 1
	want_rows fragmentation 'ageing,linux-6.1' 0
	want_rows fragmentation 't-page,linux-6.1' 1
}

a_family_of_cases_is_chosen() {
	want_status 0 bench --suite floor,page --case list_pair,fill --benchmark_filter='list_pair|linux'
	want_rows throughput 'page,[a-z0-9/]*,linux-6.1' 1
	want_rows throughput 'page,fill50/pair,linux-6.1' 1
}

the_filter_is_over_whole_names() {
	want_status 0 bench --suite floor,page --case list_pair,pair,fill,ageing \
		--benchmark_filter='list_pair|(fill50/pair|ageing)/0/linux'
	want_rows throughput 'page,[a-z0-9/]*,linux-6.1' 2
	want_rows throughput 'page,fill50/pair,linux-6.1' 1
	want_rows throughput 'page,ageing,linux-6.1' 1
	want_rows throughput 'replay,t-page,linux-6.1' 1
	want_rows fragmentation 'ageing,linux-6.1' 2
}

without_a_kernel() {
	printf '#!/bin/sh\necho "kmm: linux: not built yet" >&2\nexit 2\n' >"$work/data/linux"
	want_status 2 bench
	complains "not built yet"
	whole
	printf '#!/bin/sh\necho "%s"\n' "$work/kernel" >"$work/data/linux"
}

a_wrong_result_fails_the_run_and_keeps_it() {
	kernel <<-'KERNEL'
		echo "kmm-linux 1 6.1.90"
		echo "error page/pair/0: object 3 is not what was written to it"
		sleep 60
	KERNEL
	want_status 1 bench
	complains "page/pair/0: object 3 is not what was written to it"
	whole
}

a_trace_that_is_skipped_has_a_row_that_says_why() {
	kernel <<-'KERNEL'
		echo "kmm-linux 1 6.1.90"
		echo "sample replay t-page trace 1 1000 100000"
		echo "skipped t-page no memory for a block of bytes: 4096"
		echo "sample replay u-page trace 1 1000 100000"
		echo end
	KERNEL
	want_status 0 bench
	want_line "$run/throughput.csv" '^replay,t-page,linux-6.1,.*skipped: no memory for a block of bytes: 4096$'
	want_line "$run/throughput.csv" '^replay,u-page,linux-6.1,1,local,trace,1000,'
	whole
}

# Which can be read but once. And what the kernel leaves in /tmp is removed.
a_trace_may_be_a_pipe() {
	kernel <<-'KERNEL'
		for word; do case $word in umid=*) mkdir "/tmp/${word#umid=}" && echo "/tmp/${word#umid=}" >"${0%/*}/left" ;; esac; done
		echo "kmm-linux 1 6.1.90"
		echo end
	KERNEL
	rm -f "$work/pipe" "$work/left"
	mkfifo "$work/pipe"
	cat "$top/tests/fuzz/corpus/perf_script/pages.txt" >"$work/pipe" &
	want_status 0 bench "$work/pipe"
	[ ! -e "$(cat "$work/left")" ]
	[ -s "$run/buddyinfo.pipe-page.kmm.txt" ]
	whole
}

an_interrupt_leaves_nothing_in_tmp() {
	kernel <<-'KERNEL'
		for word; do case $word in umid=*) left=/tmp/${word#umid=} ;; esac; done
		mkdir "$left" && : >"$left/pid"
		echo "kmm-linux 1 6.1.90"
		echo "$left" >"${0%/*}/making" && mv "${0%/*}/making" "${0%/*}/left"
		exec sleep 60
	KERNEL
	rm -f "$work/left"
	rm -rf "$work/results"
	"$kmm" bench --with-linux --suite floor --case list_pair --threads 1 --allocators kmm --memory 64M \
		--benchmark_min_time=0.0001 --benchmark_repetitions=1 --results "$work/results" >"$work/out" 2>"$work/err" &
	pid=$!
	while [ ! -e "$work/left" ] && kill -0 $pid; do
		sleep 0.1
	done
	kill -TERM $pid
	wait $pid || :
	[ ! -e "$(cat "$work/left")" ]
}

an_early_end_says_the_last_words() {
	kernel <<-'KERNEL'
		echo "kmm-linux 1 6.1.90"
		echo "Kernel panic - not syncing" >&2
		exit 3
	KERNEL
	want_status 1 bench
	complains "ended early \(status 3\): Kernel panic - not syncing"
	whole
}

in_little_shared_memory() {
	unshare -m sh -c 'mount -t tmpfs -o size=1m none /dev/shm && "$@"' sh "$@" 2>/dev/null
}

shared_memory_that_is_small_is_said() {
	kernel <<-'KERNEL'
		echo "kmm-linux 1 6.1.90"
		kill -ABRT $$
	KERNEL
	cat >"$work/bench" <<-END
		#!/bin/sh
		exec "$kmm" bench --with-linux --suite floor --case list_pair --threads 1 --allocators kmm --memory 64M \
			--benchmark_min_time=0.0001 --benchmark_repetitions=1 --results "$work/results" 2>"$work/err2"
	END
	chmod +x "$work/bench"
	rm -rf "$work/results"
	want_status 2 in_little_shared_memory "$work/bench"
	mv "$work/err2" "$work/err"
	complains "needs 256 MB in /dev/shm"
	whole
}

one_that_cannot_start() {
	kernel <<-'KERNEL'
		echo "no ptrace here" >&2
		exit 1
	KERNEL
	want_status 2 bench
	complains "ended early \(status 1\): no ptrace here"
	whole
	rm "$work/kernel"
	want_status 2 bench
	complains "ended early"
}

lines_that_are_none() {
	kernel <<-'KERNEL'
		echo "Linux version 6.1"
	KERNEL
	want_status 1 bench
	complains '"Linux version 6.1": '
	kernel <<-'KERNEL'
		echo "kmm-linux 1 6.1.90"
		echo "sample page pair 0 1 0 0"
	KERNEL
	want_status 1 bench
	complains '"sample page pair 0 1 0 0": sample: '
	kernel <<-'KERNEL'
		head -c 5000 /dev/zero | tr '\0' x
	KERNEL
	want_status 1 bench
	complains "a line of more than"
	whole
}

the_real_one() {
	printf '#!/bin/sh\necho "%s"\n' "$real" >"$work/data/linux"
	rm -rf "$work/results"
	want_status 0 "$kmm" bench --with-linux --suite tree --threads 1 --memory 64M --benchmark_min_time=0.0001 \
		--benchmark_repetitions=1 --results "$work/results"
	want_line "$work/results/latest/throughput.csv" '^tree,rbtree,linux-[0-9.]+,1,local,1000,'
	want_line "$work/results/latest/throughput.csv" '^tree,maple,linux-[0-9.]+,1,local,1000,.*; kmm has no maple tree$'
}

t "rows join the run" rows_join_the_run
t "what is chosen is kept, and every replay" what_is_chosen_is_kept_and_every_replay
t "a family of cases is chosen" a_family_of_cases_is_chosen
t "the filter is over whole names" the_filter_is_over_whole_names
t "without a kernel one line says so, and the rest goes on" without_a_kernel
t "a wrong result fails the run, which is kept" a_wrong_result_fails_the_run_and_keeps_it
t "a trace that is skipped has a row that says why" a_trace_that_is_skipped_has_a_row_that_says_why
t "a trace may be a pipe" a_trace_may_be_a_pipe
t "an interrupt leaves nothing in /tmp" an_interrupt_leaves_nothing_in_tmp
t "a kernel that ends early: its last words are said" an_early_end_says_the_last_words
if in_little_shared_memory true; then
	t "shared memory that is small is said" shared_memory_that_is_small_is_said
else
	skip "shared memory that is small is said" "no right to mount"
fi
t "a kernel that cannot start" one_that_cannot_start
t "lines that are none of the benchmark's" lines_that_are_none
if [ -n "$real" ]; then
	t "the real one" the_real_one
else
	skip "the real one" "not built: make bench-linux builds it"
fi
tap_done
