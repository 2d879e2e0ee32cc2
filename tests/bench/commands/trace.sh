#!/bin/sh
# SPDX-License-Identifier: MIT
# kmm trace from the outside: sums against an independent count by awk, parts and merges, damage.
. "${srcdir:-.}/tests/tap/tap.sh"

kmm=${KMM:-$(pwd)/kmm}
text=$top/tests/fixtures/traces/kbuild-part.perf.txt
samples=$top/workloads/samples
"$kmm" convert --quiet "$text" "$work/part.kmt" || exit 99

# What convert.h says of objects and pages, in few lines: events, bytes and the peaks of each population.
sums_by_awk() {
	awk '
	function live(p, by) { now[p] += by; if (now[p] > peak[p]) peak[p] = now[p] }
	function count(p, by) { nr[p] += by; if (nr[p] > most[p]) most[p] = nr[p] }
	function gone(kind, p, key) {
		events[kind]++; bytes[kind] += size[p, key]; live(p, -size[p, key]); count(p, -1); delete size[p, key]
	}
	function born(kind, p, key, by) {
		if ((p, key) in size) { implied++; gone(p == "pages" ? "page_free" : freed_by[key], p, key) }
		events[kind]++; bytes[kind] += by; size[p, key] = by; live(p, by); count(p, 1)
		freed_by[key] = kind == "kmalloc" ? "kfree" : "cache_free"
	}
	{
		kind = ""; req = order = 0
		for (i = 1; i <= NF; i++) {
			if ($i ~ /^kmem:/) kind = $i
			if ($i ~ /^(ptr|pfn)=/) at = substr($i, 5)
			if ($i ~ /^bytes_req=/) req = substr($i, 11) + 0
			if ($i ~ /^order=/) order = substr($i, 7) + 0
		}
		if (!NR_seen++) begin = clock()
		last = clock()
	}
	function clock(   j) { for (j = 1; j <= NF; j++) if ($j ~ /^[0-9]+\.[0-9]+:$/) return substr($j, 1, length($j) - 1) * 1000000; return 0 }
	kind ~ /batched|drain/ { next }
	kind ~ /mm_page_alloc/ { born("page_alloc", "pages", at, 4096 * 2 ^ order); next }
	kind ~ /mm_page_free/ { if (("pages", at) in size) gone("page_free", "pages", at); next }
	kind ~ /kmalloc/ { born("kmalloc", "objects", at, req); next }
	kind ~ /_alloc/ { born("cache_alloc", "objects", at, req); next }
	("objects", at) in size { gone(kind ~ /kfree/ ? "kfree" : "cache_free", "objects", at) }
	END {
		for (k in events) { print k, events[k]; print k "_bytes", bytes[k] + 0 }
		for (p in peak) { print p "_peak", most[p]; print p "_peak_bytes", peak[p]; print p "_alive", nr[p]; print p "_alive_bytes", now[p] }
		print "implied_frees", implied + 0
	}' "$1" | sort
}

sums_agree() {
	sums_by_awk "$text" >"$work/awk"
	want_status 0 "$kmm" trace info "$work/part.kmt"
	awk '/^(kmalloc|kfree|cache_alloc|cache_free|page_alloc|page_free)(_bytes)? / || /_(peak|peak_bytes|alive|alive_bytes) / ||
		/^implied_frees / { print $1, $2 }' "$work/out" | sort >"$work/kmm"
	diff "$work/awk" "$work/kmm"
	[ "$(wc -l <"$work/awk")" -ge 17 ]
	want_line "$work/out" '^cpus +2$'
	threads=$("$kmm" trace head --events 0 "$work/part.kmt" | awk -F, 'NR > 1 { print $4 }' | sort -u | wc -l)
	want_line "$work/out" "^threads +$threads\$"
}

# And the other way about: all of a trace's events as CSV, summed up by awk.
csv_agrees() {
	for trace in "$work/part.kmt" "$samples/nginx.kmt"; do
		want_status 0 "$kmm" trace head --events 0 "$trace"
		awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
			{ n++; events[$at["kind"]]++; bytes[$at["kind"]] += $at["bytes"]; if ($at["event"] != n - 1) exit 1 }
			END { print "events", n
			for (k in events) { print k, events[k]; if (k ~ /alloc/) print k "_bytes", bytes[k] } }' "$work/out" | sort >"$work/awk"
		"$kmm" trace info "$trace" | awk '/^events / || /^(kmalloc|kfree|cache_alloc|cache_free|page_alloc|page_free) / ||
			/alloc_bytes / { print $1, $2 }' | sort | diff "$work/awk" -
	done
	want_status 0 "$kmm" trace head "$work/part.kmt"
	want_lines "$work/out" 11
	want_status 0 "$kmm" trace head --from 100 --events 3 "$work/part.kmt"
	want_lines "$work/out" 4
	want_line "$work/out" '^102,'
	want_line "$work/out" '^event,time_ns,cpu,tid,kind,id,bytes,'
}

parts() {
	want_status 0 "$kmm" trace cut --from 50 --events 300 "$work/part.kmt" "$work/cut.kmt"
	"$kmm" convert --quiet --from 50 --events 300 "$work/part.kmt" "$work/converted.kmt"
	cmp "$work/cut.kmt" "$work/converted.kmt"
	# Two halves in time have all events; what was live between is unknown to the second.
	"$kmm" trace cut --quiet --end 100ms "$work/part.kmt" "$work/first.kmt"
	"$kmm" trace cut --quiet --begin 100ms "$work/part.kmt" "$work/second.kmt"
	"$kmm" trace info "$work/part.kmt" "$work/first.kmt" "$work/second.kmt" >"$work/infos"
	awk '/^events / { n[++nr] = $2 } /^unknown_.*_frees / { unknown[nr] += $2 }
		END { exit !(n[2] && n[3] && n[1] == n[2] + n[3] + unknown[3]) }' "$work/infos"
	want_status 0 "$kmm" trace check "$work/cut.kmt" "$work/first.kmt" "$work/second.kmt"
}

# What went apart by merging the same trace with its later self is that trace's events twice, in order of time.
merges() {
	want_status 0 "$kmm" trace merge "$work/merged.kmt" "$work/part.kmt" "$samples/kbuild.kmt" "$work/part.kmt"
	want_status 0 "$kmm" trace check "$work/merged.kmt"
	for trace in part.kmt kbuild.kmt merged.kmt; do
		file=$work/$trace
		[ $trace = kbuild.kmt ] && file=$samples/$trace
		"$kmm" trace info "$file" | awk '/^(events|kmalloc|kmalloc_bytes|page_free|cache_alloc_bytes|objects_alive|pages_alive_bytes) /'
	done | awk '{ n[$1, ++nr[$1]] = $2 } END { for (k in nr) if (2 * n[k, 1] + n[k, 2] != n[k, 3]) { print k; exit 1 } }'
	"$kmm" trace head --events 0 "$work/merged.kmt" | awk -F, 'NR > 2 && $2 < before { exit 1 } { before = $2 }'
	# One trace alone is itself.
	"$kmm" trace merge --quiet "$work/alone.kmt" "$work/part.kmt"
	"$kmm" trace head --events 0 "$work/part.kmt" >"$work/events"
	"$kmm" trace head --events 0 "$work/alone.kmt" | diff - "$work/events"
}

sound_traces() {
	want_status 0 "$kmm" trace check "$samples"/*.kmt
	want_lines "$work/out" "$(ls "$samples"/*.kmt | wc -l)"
	want_status 0 "$kmm" trace check --quiet "$samples"/*.kmt
	want_lines "$work/out" 0
}

damage() {
	trace=$samples/nginx.kmt
	head -c $(($(wc -c <"$trace") * 2 / 3)) "$trace" >"$work/short.kmt"
	for verb in info head check; do
		[ $verb = head ] && few=--events=0 || few=
		want_status 2 "$kmm" trace $verb $few "$work/short.kmt"
		want_lines "$work/err" 1
		want_line "$work/err" '^kmm: .*/short.kmt: block [0-9]+ at byte [0-9]+: truncated'
		want_status 0 "$kmm" trace $verb --lenient $few "$work/short.kmt"
		want_lines "$work/err" 1
		want_line "$work/err" '^kmm: .*truncated.*; skipped from there on$'
	done
	want_status 2 "$kmm" trace cut "$work/short.kmt" "$work/mended.kmt"
	[ ! -e "$work/mended.kmt" ]
	want_status 0 "$kmm" trace cut --lenient "$work/short.kmt" "$work/mended.kmt"
	want_line "$work/out" '^ +1  lines, or ends of damaged traces'
	want_status 0 "$kmm" trace check "$work/mended.kmt"
	"$kmm" trace head --events 0 --lenient "$work/short.kmt" 2>"$work/err" | wc -l >"$work/n1"
	"$kmm" trace head --events 0 "$work/mended.kmt" | wc -l | diff "$work/n1" -
	# Lines of text, too.
	sed '5s/.*/what is this/; 300s/\[00[01]\]/[x]/' "$text" >"$work/odd.txt"
	want_refusal '.*/odd.txt:5: ' "$kmm" convert "$work/odd.txt" "$work/odd.kmt"
	want_status 0 "$kmm" convert --lenient "$work/odd.txt" "$work/odd.kmt"
	want_line "$work/out" '^ +2  lines, or ends of damaged traces'
}

# A description is what a stranger wrote: its control bytes stay off the terminal.
foreign_words() {
	"$kmm" trace cut --quiet --description "$(printf 'a\033[2Jb')" "$work/part.kmt" "$work/words.kmt"
	want_status 0 "$kmm" trace info "$work/words.kmt"
	want_line "$work/out" '^description +a\?\[2Jb$'
}

bad_input() {
	want_refusal 'trace wants info' "$kmm" trace
	want_refusal 'trace: draw: not info' "$kmm" trace draw x
	want_refusal 'trace info wants' "$kmm" trace info
	want_refusal 'trace head wants' "$kmm" trace head a b
	want_refusal 'trace cut wants' "$kmm" trace cut a
	want_refusal 'trace merge wants' "$kmm" trace merge a
	want_refusal 'none: No such file' "$kmm" trace info "$work/none"
	want_refusal ': is a directory' "$kmm" trace check "$work"
	want_refusal 'not a \.kmt trace|the file is empty' "$kmm" trace cut "$text" "$work/x.kmt"
	want_refusal 'not a \.kmt trace' "$kmm" trace merge "$work/x.kmt" "$work/part.kmt" "$text"
	want_refusal '--begin: soon: not a time' "$kmm" trace cut --begin soon "$work/part.kmt" "$work/x.kmt"
	want_refusal '--end: 0: nothing is before it' "$kmm" trace cut --end 0 "$work/part.kmt" "$work/x.kmt"
	want_refusal 'trace merge has no --lenient' "$kmm" trace merge --lenient "$work/x.kmt" "$work/part.kmt"
	want_refusal 'trace merge has no --begin' "$kmm" trace merge --begin 1s "$work/x.kmt" "$work/part.kmt"
	want_refusal 'trace info has no --from' "$kmm" trace info --from 3 "$work/part.kmt"
	want_refusal 'trace head has no --end' "$kmm" trace head --end 1s "$work/part.kmt"
	want_refusal 'holds no events there' "$kmm" trace cut --from 100000 "$work/part.kmt" "$work/x.kmt"
	want_refusal 'No such file' "$kmm" trace merge "$work/none/x.kmt" "$work/part.kmt"
	[ ! -e "$work/x.kmt" ]
}

t "sums agree with an independent count" sums_agree
t "events as CSV add up to the sums" csv_agrees
t "parts are cut by number and by time" parts
t "merged traces have all events in order of time" merges
t "sound traces are sound" sound_traces
t "damage is found, or skipped and counted" damage
t "control bytes of a description are not printed" foreign_words
t "bad input is one line and leaves nothing" bad_input
tap_done
