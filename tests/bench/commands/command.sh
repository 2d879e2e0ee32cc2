#!/bin/sh
# SPDX-License-Identifier: MIT
# The kmm command from outside: exit statuses, one line for whatever is wrong, and runs that are whole or not there.
. "${srcdir:-.}/tests/tap/tap.sh"
kmm=$(cd "${builddir:-.}" && pwd)/kmm
synthetic='pack:2 [numa(memory=256MB)] core:1 pu:1'
brief='--memory 64M --benchmark_min_time=0.0005 --benchmark_repetitions=3'
cd "$work"

# refuses PATTERN ARGUMENT...: status 2, one line on stderr that matches, nothing on stdout, no results.
refuses() {
	pattern=$1
	shift
	want_refusal "$pattern" "$kmm" "$@"
	[ ! -e results ] || [ -z "$(ls -A results)" ] || { ls -A results; return 1; }
}

help_and_version() {
	for command in '' topo bench replay convert show pagetable tlb; do
		want_status 0 "$kmm" $command --help
		want_line out '^Usage: kmm'
		want_lines err 0
	done
	want_status 0 "$kmm" --version
	want_line out '^kmm [0-9]'
	want_status 0 "$kmm" bench --version
	want_line out '^kmm [0-9]'
}

bad_commands() {
	refuses 'frobnicate: unknown command' frobnicate
	refuses 'unknown option' --frobnicate
	refuses 'which command' 
}

bad_options() {
	refuses '--frobnicate: unknown' bench --frobnicate
	refuses '--memory: needs an argument' bench --memory
	refuses '--memory: lots' bench --memory lots
	refuses '--zones: vax' bench --zones vax
	refuses '--lock: spin' topo --lock spin
	refuses '--memory: 17825792 is not' topo --memory 17M
	refuses '--classes: coarse: not kernel or fine' bench --classes coarse
	refuses 'slub_debug: FX: not letters' bench --memory 64M --slub-debug FX
	refuses '--threads: 0' bench --threads 0
	refuses '--profile-seconds: x' bench --profile-seconds x
	refuses '--benchmark_frobnicate' bench --benchmark_frobnicate
	refuses '--benchmark_filter=\(' bench '--benchmark_filter=('
	refuses '--benchmark_repetitions' bench --benchmark_repetitions=0
	refuses 'what: topo takes no argument' topo what
}

bad_names() {
	refuses '--suite: bogus: no such suite' bench --suite page,bogus
	refuses '--case: bogus: no such case' bench --memory 64M --suite slab --case bogus
	refuses '--case: fil: no such case' bench --memory 64M --suite page --case fil
	for case in fill fill95 fill95/pair; do
		want_status 0 "$kmm" bench --memory 64M --suite page --case $case --allocators kmm --benchmark_list_tests
		want_line out '^page/fill95/pair/0/kmm'
	done
	refuses '--allocators: bogus: no such allocator' bench --memory 64M --allocators kmm,bogus
	refuses 'no case is left' bench --memory 64M --benchmark_filter=bogus
	refuses '--peer: .*bogus' bench --peer bogus
	refuses '--peer: .*(there/is.so|sanitizer)' bench --peer x=/there/is.so
	refuses '--peer: glibc: the name is taken' bench --memory 64M --peer glibc --peer glibc
	refuses '--peer: peer freelist: the name is taken' bench --peer freelist=/there/is.so
}

bad_topologies() {
	refuses 'bogus' topo --synthetic bogus
	refuses 'bogus' bench --synthetic bogus
	refuses 'missing.xml' topo --xml missing.xml
	: >empty.xml
	refuses 'empty.xml' bench --xml empty.xml
	refuses '--synthetic and --xml' bench --synthetic pu:1 --xml empty.xml
}

too_much_memory() {
	refuses '.' bench --memory 1000T
	refuses '.' topo --memory 1000T
}

bad_traces() {
	refuses 'missing.kmt' bench --suite slab --case pair missing.kmt
	: >empty.kmt
	refuses 'empty.kmt' bench --suite slab --case pair --traces empty.kmt
	head -c 20000 "$top/workloads/samples/nginx.kmt" >cut.kmt
	refuses 'cut.kmt: .*truncated' bench --suite slab --case pair cut.kmt
}

bad_fleets() {
	refuses 'missing.csv: No such file' bench --fleet missing.csv
	printf '8,1,1\n8,1\n' >short.csv
	refuses 'short.csv:2: 2 fields' bench --fleet short.csv
	printf '8,1,1\n' >good.csv
	refuses 'good.csv: there is a table good already' bench --fleet good.csv --fleet good.csv
	refuses '--fleet-size: 5: not a size' bench --fleet-size 5
	refuses '--fleet-size: 8 : not a size' bench --fleet-size '8 '
	mkfifo pipe.csv
	refuses 'pipe.csv: not a file that can be read more than once' bench --fleet pipe.csv
}

# What cannot be printed is not said to be all right, and lands in no other file.
unprintable() {
	for arguments in --help topo 'show buddyinfo --memory 64M' "convert $top/workloads/samples/nginx.kmt out.kmt"; do
		! "$kmm" $arguments >/dev/full 2>err || return 1
		want_lines err 1
		! "$kmm" $arguments >&- 2>err || return 1
		want_lines err 1
	done
}

no_python() {
	mkdir -p nothing run
	for script in plot report compare; do
		got=0
		PATH=$PWD/nothing "$kmm" $script run >out 2>err || got=$?
		[ $got = 2 ] || return 1
		want_lines err 1
		want_line err "^kmm: $script: python3 is not installed"
	done
}

topologies_print() {
	want_status 0 "$kmm" topo
	want_line out '^nodes'
	want_status 0 "$kmm" topo --synthetic 'pack:2 [numa(memory=2GB)] core:4 pu:1'
	want_line out '^nodes +2'
	want_line out '^CPUs +8'
	want_status 0 "$kmm" topo --memory 1G --synthetic 'numa:1 pu:1'
	want_line out '^memory +1024 MiB simulated'
	want_line out '^  mem_map +[0-9]+ bytes .*struct page of 64 bytes'
	want_line out '^classic exercise: struct page of 40 bytes, 1 GiB in frames of 4096 bytes: 10 MiB, 0\.9766 %'
	awk '$1 == "at" && $5 <= 1.7 && $3 > 16777216 { ok = 1 } END { exit !ok }' out
	want_status 0 "$kmm" topo --synthetic "$synthetic" --export-xml
	cp out machine.xml
	want_status 0 "$kmm" topo --xml machine.xml
	want_line out '^CPUs +2'
	got=0
	"$kmm" topo >/dev/full 2>err || got=$?
	[ "$got" = 2 ]
	want_line err '^kmm: .*: No space left on device$'
}

unwritable() {
	: >file
	want_status 2 "$kmm" bench $brief --suite slab --results file/below
	want_lines err 1
	want_line err '^kmm: file/below: '
}

# The cases of one suite on a machine that is not this one.
tiny_run() {
	want_status 0 "$kmm" bench $brief --synthetic "$synthetic" --suite floor,slab,page --case list_pair,pair --threads 2
	want_line out '^ns per operation'
	want_line out '^results: results/.*Z-'
	want_line err '100 %'
	[ "$(readlink results/latest)" = "$(basename results/2*)" ]
	[ "$(ls -A results | wc -l)" = 2 ]
}

headers() {
	cd results/latest
	indices=
	for j in 0 1 2 3 4 5 6 7 8 9 10; do
		indices=$indices,unusable_free_index_$j,fragmentation_index_$j
	done
	header() { [ "$(head -n 1 "$1.csv")" = "$2" ] || { head -n 1 "$1.csv"; return 1; }; }
	header throughput suite,case,allocator,threads,placement,size,ops,ns_per_op,ci_low_ns,ci_high_ns,ops_per_s,vs_jemalloc,note
	header latency suite,case,allocator,threads,placement,p50_ns,p90_ns,p99_ns,p999_ns,p9999_ns,max_ns
	header fragmentation trace,allocator,event,time_ns,requested_bytes,allocated_bytes,backing_bytes,rss_bytes,internal_frag$indices,huge_free_ratio
	header numa suite,case,allocator,cpu_node,memory_node,ns_per_op,local_ratio
	header locks suite,case,threads,lock,acquired,contended,wait_cycles
	header paths suite,case,allocator,threads,placement,size,path,count,per_1000_ops
	header caches suite,case,allocator,size,event,cache,object_bytes,objects,requested_bytes,allocated_bytes,slabs,partial_slabs,slab_bytes,utilisation
	want_file raw.csv
	want_file machine.json
}

emulated_everywhere() {
	cd results/latest
	for file in throughput latency numa; do
		[ "$(wc -l <$file.csv)" -gt 5 ] || { echo "few rows in $file.csv"; return 1; }
		if sed 1d $file.csv | grep -v emulated; then
			return 1
		fi
	done
	want_line machine.json '"emulated": true'
	want_line machine.json '"noise_floor": [0-9]'
}

kmm_in_every_suite() {
	cd results/latest
	want_line throughput.csv '^slab,pair,kmm,1,local,64,[1-9][0-9]*,[0-9.]+,[0-9.]+,[0-9.]+,'
	want_line throughput.csv '^slab,pair,kmm,2,'
	want_line throughput.csv '^page,pair,kmm,1,local,0,'
	want_line throughput.csv '^slab,pair,kmm-aa,1,'
	want_line throughput.csv '^floor,list_pair,floor,1,'
	want_line latency.csv '^slab,pair/64,kmm,1,'
	want_line locks.csv '^slab,pair/64,1,'
	want_line raw.csv '^slab,pair,kmm,1,local,64,2,'
}

# A pair is one allocation and one free by the fast path, without a lock or an atomic; every path has a row.
paths_of_a_pair() {
	cd results/latest
	want_line paths.csv '^page,pair,kmm,1,local,0,phys/pcp_alloc,[1-9][0-9]*,1000$'
	want_line paths.csv '^page,pair,kmm,1,local,0,phys/pcp_free,[1-9][0-9]*,1000$'
	want_line paths.csv '^slab,pair,kmm,1,local,64,slab/alloc_fast,[1-9][0-9]*,1000$'
	for path in phys/pcp_refill phys/pcp_drain phys/split phys/merge lock_acquired lock_contended atomics; do
		want_line paths.csv "^page,pair,kmm,1,local,0,$path,0,0\$"
	done
	[ -z "$(cut -d, -f1-6 paths.csv | sed 1d | sort | uniq -c | awk '{ print $1 }' | sort -u | sed 1d)" ]
	if sed 1d paths.csv | cut -d, -f3 | grep -v '^kmm$'; then
		return 1
	fi
}

# A course is taken once: a sample and a row of fragmentation a round, from before the first to after the last.
course() {
	want_status 0 "$kmm" bench --memory 64M --results aged --suite page --case ageing,ageing_mixed --allocators kmm
	want_line out '^ageing of kmm: of its free memory [0-9.]+ % is in free blocks of 2 MiB, then [0-9.]+ % after 100 rounds'
	want_line out '^ageing_mixed of kmm: '
	want_line out '^page/ageing  '
	want_line aged/latest/throughput.csv '^page,ageing,kmm,[0-9]+,local,0,[1-9][0-9]*,[0-9.]+,[0-9.]+,[0-9.]+,.*contents checked'
	[ "$(grep -c '^page,ageing,kmm,' aged/latest/raw.csv)" = 100 ]
	[ "$(grep -c '^ageing_mixed,kmm,' aged/latest/fragmentation.csv)" = 101 ]
	awk -F, '$1 == "ageing" && ($3 != n++ || $NF < 0 || $NF > 1 || $NF == "" || $10 == "") { bad = 1 }
		END { exit bad || n != 101 }' aged/latest/fragmentation.csv
}

# Slabs become free in the end, a free list's pages never.
freelist() {
	want_status 0 "$kmm" bench --memory 64M --results lists --suite slab --case freelist,freelist_runs --allocators kmm,freelist
	want_line out '^freelist of kmm: [0-9.]+ MiB of live objects keep [0-9.]+ MiB of pages, then [0-9.]+ MiB after 50 rounds'
	want_line lists/latest/throughput.csv '^slab,freelist_runs,freelist,1,local,64,[1-9][0-9]*,'
	awk -F, '
		$1 ~ /^freelist/ { backing[$1 $2 $3] = $7; live[$1 $2] = $5; nr++ }
		END {
			kept = backing["freelistfreelist50"] == backing["freelistfreelist0"]
			packed = backing["freelistkmm50"] < 1.2 * live["freelistkmm"]
			scattered = backing["freelistkmm0"] > 1.9 * live["freelistkmm"]
			runs = backing["freelist_runskmm0"] < 1.2 * live["freelist_runskmm"]
			exit !(kept && packed && scattered && runs && nr == 4 * 51)
		}' lists/latest/fragmentation.csv || { cat lists/latest/fragmentation.csv; return 1; }
}

# Two tables: a row a table and allocator, memory at six points, with less of it in the end; kmm on both tables of sizes.
fleet() {
	printf 'size,alloc_rate,num_live\n24, 100, 1000\n100, 50.5, 2000\n5000,10,100\n' >one.csv
	printf '64,1,1' >two.csv
	want_status 0 "$kmm" bench --memory 64M --results fleets --suite kmalloc --case fleet,larson --allocators kmm,glibc \
		--fleet one.csv --fleet two.csv --fleet-size 2M --benchmark_min_time=0.0005 --benchmark_repetitions=3
	want_line out '^fleet/one, memory over what is requested .*: kmm [0-9.]+ [0-9.]+ [0-9.]+, kmm-fine .*, glibc '
	for allocator in kmm kmm-fine glibc; do
		for table in one two; do
			want_line fleets/latest/throughput.csv "^kmalloc,fleet,$allocator,1,local,$table,[1-9][0-9]*,[0-9.]+,"
			[ "$(grep -c "^kmalloc,fleet,$allocator,1,local,$table," fleets/latest/raw.csv)" = 20 ]
			# What is resident under a sanitizer is mostly its own.
			awk -F, -v trace="kmalloc/fleet/$table" -v allocator=$allocator \
				-v sanitized="$(grep -c -e -fsanitize "${kmm%kmm}bench/build.h")" '
				$1 == trace && $2 == allocator {
					if ($3 != n++ || $4 < time || $8 < $7) bad = 1
					if ($5 > 0 && ($6 < $5 || $6 > 2 * $5 || ($9 - 1 + $5 / $6) ^ 2 > 1e-9)) bad = 1
					time = $4; requested[$3] = $5; backing[$3] = $7
				}
				END {
					exit bad || n != 6 || requested[0] || requested[1] < 1500000 || requested[1] > 2500000 ||
						requested[2] > requested[1] * 0.3 || requested[2] < requested[1] * 0.2 ||
						requested[3] != requested[2] || requested[4] || requested[5] ||
						backing[1] < requested[1] ||
						(allocator ~ /kmm/ && !sanitized && backing[5] > backing[1] / 2)
				}' fleets/latest/fragmentation.csv || { cat fleets/latest/fragmentation.csv; return 1; }
		done
	done
	want_line fleets/latest/fragmentation.csv '^kmalloc/larson/8-1024,glibc,1,'
	# All of table two is in one cache: slabs of a page, full at first, then with holes in many.
	awk -F, '
		/^kmalloc,fleet,kmm,two,[12],kmalloc-64,64,/ {
			n++
			if ($9 != 64 * $8 || $10 != 64 * $8 || $13 != 4096 * $11 || ($14 - $10 / $13) ^ 2 > 1e-9) bad = 1
			objects[$5] = $8; slabs[$5] = $11; partial[$5] = $12
		}
		END {
			exit bad || n != 2 || objects[1] != 32768 || objects[2] < 7500 || objects[2] > 8900 ||
				slabs[1] < 512 || slabs[1] > 640 || slabs[2] > slabs[1] ||
				partial[1] > slabs[1] / 4 || partial[2] < slabs[2] / 4
		}' fleets/latest/caches.csv || { cat fleets/latest/caches.csv; return 1; }
	awk -F, 'NR > 1 && ($14 < 0 || $14 > 1 || $10 > $13 || $9 > $10) { bad = 1 } END { exit bad || NR < 20 }' \
		fleets/latest/caches.csv || { cat fleets/latest/caches.csv; return 1; }
}

# What is laid around objects to debug them is none of what they can hold.
fleet_debugged() {
	printf '60,1,1\n' >sixty.csv
	want_status 0 "$kmm" bench --memory 64M --results debugged --suite kmalloc --case fleet --allocators kmm \
		--fleet sixty.csv --fleet-size 1M --slub-debug 'Z;'
	awk -F, '
		/^kmalloc,fleet,kmm,sixty,1,kmalloc-64,64,/ {
			n++
			if ($9 != 60 * $8 || $10 != 64 * $8 || $14 > 0.7) bad = 1
		}
		END { exit bad || n != 1 }' debugged/latest/caches.csv || { cat debugged/latest/caches.csv; return 1; }
}

filtered() {
	want_status 0 "$kmm" bench --memory 64M --benchmark_list_tests --benchmark_filter='^slab/pair/64/kmm/local/threads:1$'
	want_lines out 1
	want_line out '^slab/pair/64/kmm/local/threads:1$'
	want_status 0 "$kmm" bench --memory 64M --suite slab --case pair --allocators kmm --benchmark_filter=64 --profile-seconds 1
	want_lines out 0
	[ "$(ls -A results | wc -l)" = 2 ]
}

# Ctrl-C when a run has measured something: 130, one line, and a run of what it had, which latest does not point at.
interrupted() {
	latest=$(readlink results/latest)
	ls -A results >before
	"$kmm" bench --memory 64M --suite slab --case pair,shuffle --allocators kmm,glibc --benchmark_min_time=0.05 >out 2>err &
	pid=$!
	tries=0
	# Calibration is the first tenth or so.
	until grep -Eq '^ *[3-9][0-9] %' err; do
		tries=$((tries + 1))
		[ $tries -lt 1200 ] || { kill -KILL $pid; cat err; return 1; }
		sleep 0.1
	done
	kill -INT $pid
	got=0
	wait $pid || got=$?
	[ "$got" = 130 ] || { echo "status $got"; cat err; return 1; }
	[ "$(grep -c '^kmm: ' err)" = 1 ] || { cat err; return 1; }
	want_line err 'ended by a signal \(Interrupt\); what it had measured is kept'
	want_line out '^incomplete: ended by a signal \(Interrupt\); [1-9][0-9]* of [1-9][0-9]* rows have figures'
	run=$(ls -A results | diff before - | sed -n 's/^> //p')
	want_line out "^results: results/$run\$"
	[ "$(readlink results/latest)" = "$latest" ]
	want_line "results/$run/throughput.csv" '^slab,(pair|shuffle),[a-z]*(-aa)?,[12],local,[0-9]+,[1-9][0-9]*,[0-9.]+,'
	want_line "results/$run/machine.json" '"incomplete": "ended by a signal \(Interrupt\)"'
	want_line results/latest/machine.json '"incomplete": null'
	[ ! -e "results/$run/journal" ]
}

t 'help and version go to stdout' help_and_version
t 'an unknown command or none is bad input' bad_commands
t 'a bad option is named' bad_options
t 'an unknown suite, case, allocator or peer is named' bad_names
t 'a topology that cannot be is named' bad_topologies
t 'more memory than there is is refused' too_much_memory
t 'a table that cannot be read is named' bad_fleets
t 'a missing, empty or truncated trace is named before anything runs' bad_traces
t 'a stdout that cannot be written to is said' unprintable
t 'without python3 the scripts are one line' no_python
t 'topo prints machines and their XML' topologies_print
t 'an unwritable results folder is bad input' unwritable
t 'a tiny run ends with a summary and moves latest' tiny_run
t 'every header is as designed' headers
t 'on an emulated machine every row of times says so' emulated_everywhere
t 'kmm and the floor have rows, and every repetition' kmm_in_every_suite
t 'paths are counted, and a pair takes the fast one' paths_of_a_pair
t 'a course has a row a round' course
t 'freelist: what a slab can give back, and a free list cannot' freelist
t 'fleet: a process an allocator, and what memory it holds' fleet
t 'fleet: red zones are no part of what objects hold' fleet_debugged
t 'filters choose cases; list and profile write nothing' filtered
t 'Ctrl-C keeps what was measured' interrupted
tap_done
