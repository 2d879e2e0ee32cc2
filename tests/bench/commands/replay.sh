#!/bin/sh
# SPDX-License-Identifier: MIT
# kmm convert, replay and show from the outside: counts against an independent count by awk, no leaks, bad input.
# KMM_TRACES=folder: replays every trace in it, too.
. "${srcdir:-.}/tests/tap/tap.sh"

kmm=${KMM:-$(pwd)/kmm}
text=$top/tests/fixtures/traces/kbuild-part.perf.txt
bad_peer=$(pwd)/.libs/bad_peer.so
[ -e "$bad_peer" ] || bad_peer=$(pwd)/tests/bench/peers/.libs/bad_peer.so
samples=$top/workloads/samples
# jemalloc is not there under a sanitizer.
some="--allocators kmm,glibc --repetitions 1 --memory 1G"

# Count what a trace lacks, as convert.h says, in twenty lines instead of twenty functions.
count_by_awk() {
	awk '
	{ kind = ""; for (i = 1; i <= NF; i++) {
		if ($i ~ /^kmem:/) kind = $i
		if ($i ~ /^(ptr|pfn)=/) at = substr($i, 5)
	} }
	{ lines++ }
	kind ~ /mm_page_free_batched/ { batched++; next }
	kind ~ /pcpu_drain/ { drained++; next }
	kind ~ /mm_page_alloc/ { page_alloc++; missed_page += at in page; page[at]; next }
	kind ~ /mm_page_free/ { if (at in page) { page_free++; delete page[at] } else unknown_page++; next }
	kind ~ /kmalloc|_alloc:/ { alloc++; missed += at in object; object[at]; next }
	at == "(nil)" { null++; next }
	{ if (at in object) { frees++; delete object[at] } else unknown++ }
	END {
		for (o in object) alive++
		for (p in page) alive_pages++
		print lines + 0, alloc + 0, frees + missed, null + 0, unknown + 0, missed + 0
		print page_alloc + 0, page_free + missed_page, unknown_page + 0, missed_page + 0, batched + 0, drained + 0
		print alive + 0, alive_pages + 0
	}' "$1"
}

# The same figures out of what kmm prints.
count_by_kmm() {
	awk '
	/ kmalloc$/ || / cache_alloc$/ { alloc += $1 }
	/ kfree$/ || / cache_free$/ { frees += $1 }
	/ page_alloc$/ { page_alloc = $1 }
	/ page_free$/ { page_free = $1 }
	/ lines or events read/ { lines = $1 }
	/ frees of no object/ { null = $1 }
	/ frees of objects never/ { unknown = $1 }
	/ frees of pages never/ { unknown_page = $1 }
	/ allocations of an object still live/ { missed = $1 }
	/ allocations of a page still live/ { missed_page = $1 }
	/ mm_page_free_batched/ { batched = $1 }
	/ mm_page_pcpu_drain/ { drained = $1 }
	/ [0-9]+  objects alive at the end/ { alive = $1 }
	/ blocks of pages alive at the end/ { alive_pages = $1 }
	END {
		print lines + 0, alloc + 0, frees + 0, null + 0, unknown + 0, missed + 0
		print page_alloc + 0, page_free + 0, unknown_page + 0, missed_page + 0, batched + 0, drained + 0
		print alive + 0, alive_pages + 0
	}' "$1"
}

counts_agree() {
	count_by_awk "$text" >"$work/awk"
	want_status 0 "$kmm" convert "$text" "$work/a.kmt"
	count_by_kmm "$work/out" >"$work/kmm"
	diff "$work/awk" "$work/kmm"
	want_status 0 "$kmm" replay $some --results "$work/results" "$text"
	count_by_kmm "$work/out" >"$work/kmm"
	diff "$work/awk" "$work/kmm"
	want_status 0 "$kmm" replay $some --results "$work/results" "$work/a.kmt"
	count_by_kmm "$work/out" >"$work/kmm"
	diff "$work/awk" "$work/kmm"
	# What is odd is there to be counted.
	! grep -q ' 0 0 0$' "$work/awk"
}

# No allocator that can say leaks, and kmm can.
no_leaks() {
	want_line "$work/out" '^  kmm .* 0$'
	awk '/^  (kmm|glibc|jemalloc|mimalloc|tcmalloc) / && $NF != 0 && $NF != "unknown" { print "leak: " $0; bad = 1 }
	     END { exit bad }' "$work/out"
}

samples_leak_nothing() {
	for trace in "$samples"/*.kmt; do
		want_status 0 "$kmm" replay $some --results "$work/results" "$trace"
		no_leaks
		want_line "$work/out" '^Object events of '
		want_line "$work/out" '^Page events of '
	done
}

rows_are_there() {
	want_status 0 "$kmm" replay $some --repetitions 3 --results "$work/rows" "$text"
	run=$work/rows/latest
	want_line "$run/throughput.csv" '^replay,kbuild-part-page,kmm,1,local,'
	want_line "$run/throughput.csv" '^replay,kbuild-part-object,glibc,1,local,'
	[ "$(grep -c '^replay,kbuild-part-object,kmm,' "$run/raw.csv")" = 3 ]
	# About 200 samples, one at the end and one after the drain, where nothing is requested any more.
	for allocator in kmm glibc; do
		awk -F, -v a=$allocator '$2 == a && $1 ~ /object/ { n++; last = $5; if ($6 < $5) bad = 1 }
			END { exit !(n > 150 && n < 220 && last == 0 && !bad) }' "$run/fragmentation.csv"
	done
	# The peak of what was requested is the trace's own.
	"$kmm" convert "$text" "$work/b.kmt" >"$work/counts"
	peak=$(awk '/ bytes of live pages, at most/ { print $1 }' "$work/counts")
	awk -F, -v peak="$peak" '$2 == "kmm" && $1 ~ /page/ && $5 > peak { exit 1 }' "$run/fragmentation.csv"
}

pieces_are_cut_where_told() {
	want_status 0 "$kmm" convert --from 100 --events 200 "$text" "$work/piece.kmt"
	want_line "$work/out" '^ +200  lines or events'
	want_status 0 "$kmm" convert --quiet "$work/piece.kmt" "$work/copy.kmt"
	cmp "$work/piece.kmt" "$work/copy.kmt"
	mkdir -p "$work/folder"
	want_status 0 "$kmm" convert --quiet "$work/piece.kmt" "$work/folder"
	cmp "$work/piece.kmt" "$work/folder/piece.kmt"
}

shows() {
	"$kmm" show --help | sed -n '/^Reports/,/^$/s/^  \([a-z]*\) .*/\1/p' >"$work/reports"
	[ "$(wc -l <"$work/reports")" -ge 6 ]
	while read -r report; do
		want_status 0 "$kmm" show --memory 256M "$report"
		want_status 0 "$kmm" show --memory 256M "$report" "$text"
		[ -s "$work/out" ] || [ "$report" = vmallocinfo ]
	done <"$work/reports"
	want_status 0 "$kmm" show --memory 256M slabinfo "$text"
	want_line "$work/out" '^(vm_area_struct|names_cache|filp) '
	want_status 0 "$kmm" show --memory 256M buddyinfo "$text"
	want_line "$work/out" '^Node 0, zone +DMA32 '
	# What a trace leaves alive is missing among what is free.
	"$kmm" show --memory 256M vmstat >"$work/fresh"
	"$kmm" show --memory 256M vmstat "$top/workloads/samples/nginx.kmt" >"$work/replayed"
	awk '$1 == "nr_free_pages" { free[NR != FNR] = $2 } END { exit !(free[1] < free[0]) }' "$work/fresh" "$work/replayed"
	want_status 2 "$kmm" show nonsense
	want_lines "$work/err" 1
}

# refused 'PATTERN' ARGUMENT...: one line that matches, status 2, nothing left behind.
refused() {
	pattern=$1
	shift
	want_status 2 "$kmm" "$@"
	want_lines "$work/err" 1
	want_line "$work/err" "^kmm: $pattern"
	[ ! -e "$work/bad-out.kmt" ]
	[ ! -e "$work/no-results" ]
}

bad_input() {
	"$kmm" convert --quiet "$text" "$work/good.kmt"
	: >"$work/empty"
	head -c 700 "$work/good.kmt" >"$work/cut.kmt"
	head -c 5000 "$text" >"$work/cut.txt"
	echo 'once upon a time' >"$work/garbage"
	sed '5s/ptr=/prt=/' "$text" >"$work/line5"
	(head -c 8 "$work/good.kmt"; printf '\007\000'; tail -c +11 "$work/good.kmt") >"$work/version.kmt"
	(head -c 600 "$work/good.kmt"; printf 'XX'; tail -c +603 "$work/good.kmt") >"$work/changed.kmt"
	mkdir -p "$work/dir"
	for command in "replay --results $work/no-results" "show buddyinfo" convert; do
		out=
		[ "$command" = convert ] && out=$work/bad-out.kmt
		refused '.*/none: No such file or directory$' $command "$work/none" $out
		refused '.*/dir: is a directory$' $command "$work/dir" $out
		refused '.*/empty.*: the file is empty$' $command "$work/empty" $out
		refused '.*/cut.kmt: block 0 at byte [0-9]+: truncated' $command "$work/cut.kmt" $out
		refused '.*/cut.txt:[0-9]+: truncated' $command "$work/cut.txt" $out
		refused '.*/garbage:1: not a line of perf script' $command "$work/garbage" $out
		refused '.*/line5:5: a field is missing$' $command "$work/line5" $out
		refused '.*/version.kmt: version 7 of the format; ' $command "$work/version.kmt" $out
		refused '.*/changed.kmt: block 0 at byte [0-9]+: checksum is wrong$' $command "$work/changed.kmt" $out
	done
	refused 'replay wants one TRACE' replay
	refused '--events: all: not page' replay --events all "$text"
	refused '--allocators: xmalloc: unknown' replay --allocators xmalloc "$text"
	refused '.*/nowhere/out.kmt: No such file' convert "$text" "$work/nowhere/out.kmt"
	refused '--events: x: not a number' convert --events x "$text" "$work/bad-out.kmt"
	[ -z "$(find "$work" -name '*.kmt.??????')" ]
}

# A size that fits 32 bits only by losing its head.
a_cache_that_cannot_be_is_bad_input() {
	sed 's/\(kmem_cache_alloc: .*\)bytes_req=[0-9]* bytes_alloc=[0-9]*/\1bytes_req=4294967304 bytes_alloc=4294967304/' \
		"$text" >"$work/large.txt"
	want_status 2 "$kmm" replay $some --events object --results "$work/no-results" "$work/large.txt"
	want_line "$work/err" '^kmm: large: object events onto kmm: event [0-9]+: kmm cannot make cache .* of 4294967304-byte objects'
	rmdir "$work/no-results"
}

a_block_handed_out_twice_is_found() {
	want_status 1 "$kmm" replay --peer bad=$bad_peer --allocators kmm --repetitions 1 --events object \
		--results "$work/no-results" "$text"
	want_line "$work/err" '^kmm: kbuild-part: object events onto bad: .*: bad changed the contents of a live block: '
	[ -z "$(ls -A "$work/no-results")" ]
	rmdir "$work/no-results"
	want_status 0 "$kmm" replay --peer bad=$bad_peer --allocators kmm --repetitions 1 --events object --no-verify \
		--results "$work/results" "$text"
}

no_permission() {
	cp "$text" "$work/secret"
	chmod 000 "$work/secret"
	refused '.*/secret: Permission denied$' replay "$work/secret"
}

too_little_memory() {
	want_status 2 "$kmm" replay --allocators kmm --memory 4M --results "$work/no-results" "$text"
	want_lines "$work/err" 1
	[ -z "$(ls -A "$work/no-results" 2>/dev/null)" ]
	rm -rf "$work/no-results"
}

full_traces() {
	for trace in "$KMM_TRACES"/*.zst "$KMM_TRACES"/*.kmt; do
		[ -e "$trace" ] || continue
		want_status 0 "$kmm" replay $some --results "$work/results" "$trace"
		no_leaks
	done
}

t "counts agree with an independent count" counts_agree
t "the samples leak nothing" samples_leak_nothing
t "rows are in the results" rows_are_there
t "pieces are cut where told" pieces_are_cut_where_told
t "show prints fresh machines and replayed ones" shows
t "bad input is one line and leaves nothing" bad_input
t "a cache that cannot be is bad input" a_cache_that_cannot_be_is_bad_input
if grep -q -e '-fsanitize' bench/build.h; then
	skip "a block handed out twice is found" "a sanitizer owns the process's malloc"
elif [ ! -e "$bad_peer" ]; then
	skip "a block handed out twice is found" "this build makes no shared objects"
else
	t "a block handed out twice is found" a_block_handed_out_twice_is_found
fi
if [ "$(id -u)" = 0 ]; then
	skip "a trace without permission is refused" "root may read everything"
else
	t "a trace without permission is refused" no_permission
fi
t "too little memory is refused" too_little_memory
if [ -n "${KMM_TRACES:-}" ]; then
	t "the full traces leak nothing" full_traces
else
	skip "the full traces leak nothing" "KMM_TRACES names no folder of them"
fi
tap_done
