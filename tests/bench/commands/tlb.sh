#!/bin/sh
# SPDX-License-Identifier: MIT
# kmm tlb from outside: traces and patterns whose counts are worked out by hand, and one line for whatever is wrong.
. "${srcdir:-.}/tests/tap/tap.sh"
kmm=$(cd "${builddir:-.}" && pwd)/kmm
corpus=$(cd "${srcdir:-.}/tests/fuzz/corpus" && pwd)
cd "$work"

# refuses PATTERN ARGUMENT...: status 2, one line on stderr that matches, nothing on stdout.
refuses() {
	pattern=$1
	shift
	want_refusal "$pattern" "$kmm" tlb "$@"
}

shows() {
	want_status 0 "$kmm" tlb "$@"
	want_lines err 0
}

# has LABEL NUMBER...: the line of that label has these numbers, shares left out.
has() {
	label=$1
	shift
	want="$*"
	got=$(sed -n "s/^$label  *//p" out | sed 's/ *[0-9.]*%//g; s/  */ /g; s/ $//')
	[ "$got" = "$want" ] || { echo "$label: '$got', not '$want'"; cat out; return 1; }
}

bad_input() {
	refuses 'wants a TRACE or --pattern'
	refuses 'wants a TRACE or --pattern' --pattern random trace
	refuses 'wants a TRACE or --pattern' one two
	refuses '--preset: vax: no such preset' --preset vax --pattern random
	refuses '--pattern: lots: not sequential' --pattern lots
	refuses '--footprint: x: not a size' --pattern random --footprint x
	refuses '--footprint: less than a page' --pattern random --footprint 4095
	refuses '--footprint: 9223372036854775808 bytes: a program has 2.47' --pattern random --footprint 8388608T
	refuses '--footprint: .*: a program has 2.47' --preset zen4 --pattern random --footprint 129T
	refuses '--footprint: .*: a program has 2.56' --preset zen4 --levels 5 --pattern random --footprint 65537T
	refuses '--footprint: .*: a program has 2.32' --preset i486 --pattern random --footprint 5G
	# Behind 4 GiB, where they start.
	refuses '--footprint: .*: a program has 2.47, and patterns start at 0x100000000' --pattern random --footprint 128T
	refuses '--stride: 8192 bytes: more than the footprint' --pattern stride --stride 8K --footprint 4K
	refuses '--seconds is of --probe' --seconds 5 --pattern random
	refuses '--stride: 0: not a size' --pattern stride --stride 0
	refuses '--skew: 0: not a number above 0' --pattern zipf --skew 0
	refuses '--skew: nan: not a number above 0' --pattern zipf --skew nan
	refuses '--accesses: 0: not a number' --pattern random --accesses 0
	refuses '--pages: 3M: skylake has no such pages' --pattern random --pages 4K,3M
	refuses '--pages: 4M: i486 has no such pages' --preset i486 --pattern random --pages 4M
	refuses '--levels: 5: p6 has no such tables' --preset p6 --pattern random --levels 5
	refuses '--pages: an empty list' --pattern random --pages ''
	refuses '--levels: an empty list' --pattern random --levels ,
	refuses '--pti: maybe: not off, on or pcid' --pattern random --pti maybe
	refuses '--pti: pcid: there are no PCIDs' --pattern random --pti pcid --no-pcid
	refuses '--format: x: not lackey, champsim or kmt' --format x trace
	refuses '--sources takes no trace' --sources trace
	refuses 'nowhere: No such file' nowhere
}

bad_traces() {
	printf 'I  1000,4\nI  1000\n' >bad
	refuses 'bad:2: neither' bad
	head -c 100 "$corpus/champsim/three.bin" >cut
	refuses 'cut: truncated: the last record has 36 of 64 bytes' cut
	refuses 'three.bin:1: truncated' --format lackey "$corpus/champsim/three.bin"
	refuses 'no accesses are in it' "$corpus/kmt/pages.kmt"
	echo '==1== lackey says this before them' >none
	refuses 'none: no accesses are in it' none
	: >empty
	refuses 'empty.* the file is empty' empty
}

# A fetch that walks and one that hits; a load over the end of a page, which is two walks; a modify, two hits.
lackey_is_counted() {
	printf 'I  1000,4\nI  1004,4\n L 2ffc,8\n M 2000,4\n' >trace
	shows --preset i486 trace
	has lookups 6
	has 'found in L1' 3
	has walks 3
	has 'memory references' 6
	has 'references a walk' 2.000
	has 'cycles, modelled' 39
	want_line out '^trace \(lackey\): 5 accesses$'
}

# An address that no tables translate is counted all the same, and said; the first of the upper half is one.
addresses_outside_are_said() {
	printf ' L 800000000000,8\n L ffff800000000000,8\n L 7fffffffffff,2\n L 7fffffffffff,1\n' >trace
	shows --levels 4 trace
	want_line out '^trace \(lackey\): 4 accesses$'
	want_line out '^2 of them are at addresses that tables of 4 levels do not have'
	printf ' L 100000000,8\n' >trace
	shows --preset i486 trace
	want_line out '^1 of them are at addresses that tables of 2 levels do not have'
	shows --preset zen4 --levels 5 trace
	! grep -q 'do not have' out
}

champsim_is_counted() {
	for trace in three.bin three.bin.zst; do
		shows --preset goldencove "$corpus/champsim/$trace"
		want_line out '\(ChampSim\): 6 accesses$'
		has lookups 6 6 6 6
		has 'found in L1' 3 3 3 3
		has 'found in L2' 0 1 0 1
		has walks 3 2 3 2
		# 0x401000, 0x7000 and 0x8000: the first walk reads all levels, then the directory's entry differs, then
		# it does not. With 2 MiB the store, in a TLB of its own, finds in L2 what the load has put there.
		has 'memory references' 7 4 8 5
	done
}

isolation_costs_what_it_must() {
	common='--pattern sequential --footprint 4K --accesses 100 --kernel-every 10 --kernel-pages 1 --pages 4K'
	shows $common
	has lookups 118
	has walks 3
	has 'kernel entries' 9
	has 'loads of CR3' 1
	shows $common --pti on
	has walks 28
	has 'loads of CR3' 19
	shows $common --pti pcid
	has walks 3
	has 'loads of CR3' 19
}

switches_flush_without_pcids() {
	common='--pattern sequential --footprint 4K --accesses 100 --switch-every 10 --kernel-pages 1 --pages 4K'
	shows $common
	has walks 4
	has 'context switches' 9
	shows $common --no-pcid
	has walks 12
}

# Of three, the second reaches over the end of a page: with a system call, too, which makes them be fed one by one.
patterns_are_counted() {
	common='--pattern stride --stride 4092 --footprint 64K --accesses 3'
	shows $common
	has lookups 4 3
	has walks 2 1
	shows $common --kernel-every 100
	has lookups 4 3
	has walks 2 1
}

pages_and_levels_are_chosen() {
	shows --pattern stride --footprint 1G --accesses 1000 --pages 4K,2M,1G --levels 4,5
	has lookups 1000 1000 1000 1000 1000 1000
	shows --pattern random --accesses 10 --footprint 127T
	shows --preset i486 --pattern random --accesses 10 --footprint 4G
	shows --preset zen4 --pattern chase --accesses 1000
	want_line out '4K pages, 4 levels .*2M pages, 4 levels .*4K pages, 5 levels .*2M pages, 5 levels$'
	shows --preset haswell --pattern random --accesses 1000
	want_line out '4K pages, 4 levels .*2M pages, 4 levels$'
}

# A seed is a pattern: the same twice, another for another.
seeds_repeat() {
	shows --pattern zipf --accesses 20000 && cp out first
	shows --pattern zipf --accesses 20000 && cmp first out
	shows --pattern zipf --accesses 20000 --seed 2
	! cmp -s first out
}

sources_are_printed() {
	for preset in i486 p6 haswell skylake zen4 goldencove; do
		shows --sources --preset $preset
		want_line out "^$preset: "
		want_line out '^  sources$'
	done
}

if [ ! -x "$kmm" ]; then
	skip "kmm tlb" "kmm is not built"
	tap_done
fi
t "bad input is one line and status 2" bad_input
t "a bad trace is named with its place" bad_traces
t "lackey's text is counted as worked out by hand" lackey_is_counted
t "addresses that no tables have are said" addresses_outside_are_said
t "ChampSim's records are counted as worked out by hand" champsim_is_counted
t "isolation costs what it must" isolation_costs_what_it_must
t "switches flush without PCIDs" switches_flush_without_pcids
t "patterns are counted as worked out by hand" patterns_are_counted
t "pages and levels are chosen" pages_and_levels_are_chosen
t "a pattern repeats by its seed" seeds_repeat
t "every preset has its sources" sources_are_printed
tap_done
