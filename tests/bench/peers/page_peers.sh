#!/bin/sh
# SPDX-License-Identifier: MIT
# --page-peer from outside: the example's rows everywhere, both sides of the interface kept, each kind of broken peer
# caught, each kind of bad input refused in one line.
. "${srcdir:-.}/tests/tap/tap.sh"
build=$(cd "${builddir:-.}" && pwd)
kmm=$build/kmm
samples=$top/workloads/samples
module() {
	for folder in tests/bench/peers/.libs bench/peers/.libs .libs; do
		[ -e "$build/$folder/$1.so" ] && echo "$build/$folder/$1.so" && return
	done
}
example=$(module example_page_peer)
test=$(module test_page_peer)
quick='--memory 256M --suite page --benchmark_min_time=0.0005 --benchmark_repetitions=3 --results results'
cd "$work"
unset KMM_TEST_PAGE_PEER
log=$work/log
export KMM_TEST_PAGE_PEER_LOG=$log

if [ -z "$example" ]; then
	skip 'page peers' 'this build makes no shared objects'
	tap_done
fi

# refuses PATTERN ARGUMENT...: status 2, one line on stderr that matches, no results.
refuses() {
	pattern=$1
	shift
	want_status 2 "$kmm" "$@"
	want_lines err 1
	want_line err "^kmm: $pattern"
	[ ! -e results ] || [ -z "$(ls -A results)" ] || { ls -A results; return 1; }
}

bad_input() {
	page='bench --memory 64M --suite page --page-peer'
	echo 'once upon a time' >text.so
	mkdir folder
	refuses '--page-peer: needs an argument' bench --page-peer
	refuses '--page-peer: .*there/is.so: cannot open shared object file' $page there/is.so
	refuses '--page-peer: \./text.so: (file too short|invalid ELF header)' $page text.so
	refuses '--page-peer: \./folder: cannot read file data: Is a directory' $page folder
	refuses '--page-peer: libm.so.6: exports no kmm_page_peer' $page libm.so.6
	refuses '--page-peer: .*: made for version 99 of the interface; this kmm has 1' $page "$(module test_page_peer_abi)"
	refuses '--page-peer: .*: has no put' $page "$(module test_page_peer_put)"
	refuses '--page-peer: =x.so: not FILE or NAME=FILE' $page =x.so
	refuses '--page-peer: x=: no library given' $page x=
	refuses "--page-peer: .*: its name, 'a,b', cannot stand" $page "a,b=$example"
	long=a-name-much-too-long-for-a-column-of-the-results
	refuses "--page-peer: $long=.*: not FILE or NAME=FILE" $page "$long=$example"
	refuses '--page-peer: .*: more than 8' bench $(for i in 1 2 3 4 5 6 7 8 9; do echo "--page-peer x$i=x"; done)
}

names_taken() {
	for name in kmm kmm-aa mmap floor jemalloc glibc; do
		refuses "--page-peer: $name: the name is taken; give another" \
			bench --memory 64M --suite page --page-peer "$name=$example"
	done
	refuses '--page-peer: example: the name is taken' bench --memory 64M --page-peer "$example" --page-peer "example=$test"
	refuses '--page-peer: .*example_page_peer.so: is loaded as example already' \
		bench --memory 64M --page-peer "$example" --page-peer "second=$example"
}

init_fails() {
	export KMM_TEST_PAGE_PEER=init
	refuses '--page-peer: test: its init failed: Device or resource busy' $1 --memory 64M --page-peer "$test"
}

init_fails_in_a_replay() {
	export KMM_TEST_PAGE_PEER=init
	want_status 2 "$kmm" replay --allocators kmm --memory 1G --repetitions 1 --events page --page-peer "$test" \
		--results none "$samples/nginx.kmt"
	want_line err '^kmm: nginx: page events onto test: its init failed: Device or resource busy$'
	[ -z "$(ls -A none)" ]
}

example_has_rows() {
	want_status 0 "$kmm" bench $quick --case pair,bulk,shuffle --threads 2 --page-peer "$example" --allocators kmm,example
	want_line out '^ns per operation .* example +floor'
	run=results/latest
	for order in 0 1 2 3 4 5 6 7 8 9 10; do
		want_line $run/throughput.csv "^page,pair,example,1,local,$order,[1-9]"
	done
	for case in pair bulk shuffle; do
		want_line $run/throughput.csv "^page,$case,example,1,local,0,[1-9]"
		want_line $run/throughput.csv "^page,$case,example,2,local,0,[1-9]"
		want_line $run/latency.csv "^page,$case/0,example,2,local"
	done
	[ "$(grep -c '^page,pair,example,1,local,0,' $run/raw.csv)" = 3 ]
	want_line $run/machine.json '"name": "example", "version": "1", "path": ".*example_page_peer.so"'
	! grep skipped $run/throughput.csv | grep example
}

# On an emulated machine of two nodes, with more threads than CPUs; the peer itself looks whether that is what it is told.
contract_is_kept() {
	rm -f "$log"
	want_status 0 "$kmm" bench $quick --case pair,shuffle --threads 3 --synthetic 'pack:2 [numa(memory=256MB)] core:1 pu:1' \
		--page-peer "mine=$test" --allocators mine
	want_line "$log" '^2 nodes, 3 cpus, [1-9][0-9]* gets, 0 frames lost$'
	want_lines "$log" 1
	want_line results/latest/throughput.csv '^page,pair,mine,3,local,0,.*emulated'
	want_line results/latest/machine.json '"name": "mine", "version": "0.9"'
}

orders_not_served() {
	want_status 0 "$kmm" bench $quick --case pair --threads 1 --page-peer "$(module test_page_peer_orders)" --allocators test
	want_line results/latest/throughput.csv '^page,pair,test,1,local,0,[1-9]'
	want_line results/latest/throughput.csv '^page,pair,test,1,none,3,.*skipped: test does not serve order 3'
	"$kmm" bench --memory 256M --suite page --threads 2 --benchmark_list_tests --allocators test \
		--page-peer "$(module test_page_peer_orders)" >list
	want_line list '^page/stress/0-10/.*skipped: test does not serve all orders 0-10$'
	want_status 0 "$kmm" replay --allocators kmm --memory 1G --repetitions 1 --events page --results results \
		--page-peer "$(module test_page_peer_orders)" "$samples/kbuild.kmt"
	want_line out '^  test +skipped'
	want_line results/latest/throughput.csv '^replay,kbuild-page,test,.*skipped: does not serve order [1-9]'
}

# broken FAULT CASE PATTERN: the self-check of a case finds the fault, in one line, and keeps nothing.
broken() {
	KMM_TEST_PAGE_PEER=$1 want_status 1 "$kmm" bench $quick --results none --threads 1 --page-peer "$test" \
		--allocators test --benchmark_filter="^page/$2/test/"
	want_line err "^kmm: page/$2/test/local/threads:1: $3"
	[ "$(grep -c ^kmm: err)" = 1 ]
	[ -z "$(ls -A none)" ]
}

# replay_finds FAULT PATTERN
replay_finds() {
	KMM_TEST_PAGE_PEER=$1 want_status 1 "$kmm" replay --allocators kmm --memory 1G --repetitions 1 --events page \
		--page-peer "$test" --results none "$samples/nginx.kmt"
	want_line err "^kmm: nginx: page events onto test: $2"
	[ "$(grep -c ^kmm: err)" = 1 ]
	# What was measured before it was found is kept, and says that it is not all.
	! [ -e none/latest ]
	for machine in none/*/machine.json; do
		[ ! -e "$machine" ] || want_line "$machine" '"incomplete": "'
	done
	[ "$1" != leak ] || want_line none/*/throughput.csv '^replay,nginx-page,test,.*failed: leaked'
	rm -rf none
}

broken_peers() {
	broken twice pair/0 '0x[0-9a-f]+ was handed out twice$'
	broken outside pair/0 'object 9: frame 65536, 4096 bytes, is not in its 65536 frames$'
	broken outside shuffle/3 'object 9: frame 65536, 32768 bytes, is not in its 65536 frames$'
	broken misaligned bulk/3 'object 9: frame [0-9]+ is not aligned to a block of 32768 bytes$'
	broken misaligned stress/0-10 'a block of order 3: frame [0-9]+ is not aligned to a block of 32768 bytes$'
	broken misaligned ageing_mixed/0-4 'a block of order 3: frame [0-9]+ is not aligned'
	broken leak pair/0 '[1-9][0-9]* bytes leaked$'
}

# The other allocators' rows stay, and each case of the one that has no memory says so.
no_memory() {
	KMM_TEST_PAGE_PEER=none want_status 0 "$kmm" bench $quick --threads 2 --page-peer "$test" --allocators kmm,test
	want_line results/latest/throughput.csv '^page,pair,test,2,none,0,.*,skipped: no memory for object 0 of 64$'
	want_line results/latest/throughput.csv '^page,xcpu,test,2,none,0,.*,skipped: no memory'
	want_line results/latest/throughput.csv '^page,stress,test,2,none,0-10,.*,skipped: no memory'
	want_line results/latest/throughput.csv '^page,ageing,test,2,none,0,.*,skipped: no memory'
	! grep '^page,[^,]*,test,' results/latest/throughput.csv | grep -v skipped || return 1
	! grep '^page,[^,]*,kmm,' results/latest/throughput.csv | grep 'no memory' || return 1
	! grep '^page,[^,]*,test,' results/latest/latency.csv results/latest/raw.csv
}

# It joins no blocks, so that mixed orders use its memory up; what it was given comes back.
memory_used_up() {
	rm -f "$log"
	want_status 0 "$kmm" bench $quick --case ageing_mixed --threads 2 --page-peer "$test" --allocators test
	want_line results/latest/throughput.csv \
		'^page,ageing_mixed,test,2,none,0-4,.*,skipped: no memory for a block of order [0-4] after [0-9]+ pages'
	want_line "$log" ', 0 frames lost$'
}

broken_peers_in_a_replay() {
	replay_finds twice 'event [0-9]+: test changed the contents of a live block'
	replay_finds outside 'event [0-9]+: test: frame 262144, [0-9]+ bytes, is not in its 262144 frames$'
	replay_finds misaligned 'event [0-9]+: test: frame [0-9]+ is not aligned to a block of 32768 bytes$'
	replay_finds leak '[1-9][0-9]* bytes leaked after the final drain$'
	replay_finds none 'event 1: test has no memory'
}

# A crash between two timed repetitions: figures as far as they go, and
# of the trace behind it that it was not run.
a_replay_that_ends_early() {
	fswalk=$samples/fswalk.kmt
	rm -f "$log"
	want_status 0 "$kmm" replay --allocators kmm --memory 1G --repetitions 1 --events page --page-peer "$test" \
		--results results "$samples/nginx.kmt"
	gets=$(sed 's/.* cpus, \([0-9]*\) gets.*/\1/' "$log")
	(
		KMM_TEST_PAGE_PEER="dies $((gets + gets / 4))"
		export KMM_TEST_PAGE_PEER
		want_status 1 "$kmm" replay --allocators kmm --memory 1G --repetitions 3 --events page --page-peer "$test" \
			--results early "$samples/nginx.kmt"
	)
	want_line err '^kmm: nginx: page events onto test: the process ended: Segmentation fault'
	want_line early/*/machine.json '"incomplete": "replay/nginx-page/trace/test/local/threads:1: failed"'
	want_line early/*/throughput.csv '^replay,nginx-page,kmm,1,local,trace,[1-9][0-9]*,[0-9.]+,'
	want_line early/*/throughput.csv '^replay,nginx-page,test,1,local,trace,[1-9][0-9]*,[0-9.]+,.*,failed; one thread in'
	[ "$(grep -c '^replay,nginx-page,test,' early/*/raw.csv)" = 1 ]
	rm -rf early
	KMM_TEST_PAGE_PEER="dies $((gets + gets / 4))" want_status 1 "$kmm" bench $quick --results early --threads 1 \
		--allocators kmm,test --page-peer "$test" --benchmark_filter='^page/pair/0/kmm/' "$samples/nginx.kmt" "$fswalk"
	want_line early/*/throughput.csv '^replay,nginx-page,test,1,local,trace,[1-9][0-9]*,[0-9.]+,.*,failed; one thread in'
	for allocator in kmm test; do
		want_line early/*/throughput.csv "^replay,fswalk-page,$allocator,1,none,trace,0,.*,not run: the run ended early; one"
	done
	rm -rf early
}

without_stats_nothing_is_said() {
	KMM_TEST_PAGE_PEER=stats want_status 0 "$kmm" replay --allocators kmm --memory 1G --repetitions 1 --events page \
		--page-peer "$test" --results results "$samples/nginx.kmt"
	want_line out '^  test .* unknown$'
	awk -F, '$2 == "test" && ($7 != "" || $NF != "") { exit 1 }' results/latest/fragmentation.csv
}

replays() {
	rm -f "$log"
	want_status 0 "$kmm" replay --allocators kmm --memory 1G --repetitions 2 --results results --page-peer "$example" \
		--page-peer "$test" "$samples/nginx.kmt"
	run=results/latest
	want_line out '^  example .* 0$'
	want_line out '^  test .* 0$'
	want_line $run/throughput.csv '^replay,nginx-page,example,1,local,trace,[1-9]'
	! grep -E '^replay,nginx-object,(example|test)' $run/throughput.csv
	want_line $run/machine.json '"name": "example"'
	want_line "$log" '^1 nodes, 1 cpus, [1-9][0-9]* gets, 0 frames lost$'
	# What is not free is what was requested, for an allocator that keeps nothing back; huge blocks are known.
	awk -F, '$2 == "example" { n++; if ($5 != $6 || $5 != $7 || $NF < 0 || $NF > 1) bad = 1; if ($NF > 0 && $NF < 1) some = 1 }
		END { exit !(n > 100 && !bad && some) }' $run/fragmentation.csv
	# The other says nothing of huge blocks.
	awk -F, '$2 == "test" { n++; if ($5 != $7 || $NF != "") bad = 1 } END { exit !(n > 100 && !bad) }' $run/fragmentation.csv
}

bench_replays() {
	want_status 0 "$kmm" bench $quick --case pair --threads 1 --page-peer "$example" --allocators kmm,example \
		--benchmark_filter='/pair/0/' "$samples/nginx.kmt"
	want_line results/latest/throughput.csv '^page,pair,example,1,local,0,[1-9]'
	want_line results/latest/throughput.csv '^replay,nginx-page,example,1,local,trace,[1-9]'
}

t 'bad input is one line' bad_input
t 'a name or a library that is there already is refused' names_taken
t 'an init that fails is one line' init_fails bench
t 'an init that fails in a replay is one line' init_fails_in_a_replay
t 'the example peer has rows in every file and the table' example_has_rows
t 'memory, CPU numbers and the order of calls are as promised' contract_is_kept
t 'orders that a peer does not serve are skipped, and said so' orders_not_served
t 'a broken peer is caught by a case' broken_peers
t 'a peer without memory loses its rows, and no other does' no_memory
t 'a peer that uses its memory up in a course loses that row' memory_used_up
t 'a broken peer is caught by a replay' broken_peers_in_a_replay
t 'a replay that ends early keeps what it has, and says what it has not' a_replay_that_ends_early
t 'a peer without figures has none in the results' without_stats_nothing_is_said
t 'page events are replayed onto page peers' replays
t 'kmm bench replays onto them too' bench_replays
tap_done
