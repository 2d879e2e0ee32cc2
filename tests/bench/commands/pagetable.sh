#!/bin/sh
# SPDX-License-Identifier: MIT
# kmm pagetable from outside: the classic exercises as it prints them, and one line for whatever is wrong.
. "${srcdir:-.}/tests/tap/tap.sh"
kmm=$(cd "${builddir:-.}" && pwd)/kmm
cd "$work"

# refuses PATTERN ARGUMENT...: status 2, one line on stderr that matches, nothing on stdout.
refuses() {
	pattern=$1
	shift
	want_refusal "$pattern" "$kmm" pagetable "$@"
}

shows() {
	want_status 0 "$kmm" pagetable "$@"
	want_lines err 0
}

bad_input() {
	refuses 'wants --map RANGE'
	refuses 'wants --map RANGE' 1000
	refuses 'wants --map RANGE' --address 1000 2000
	refuses '--address: 0x100000000: not an address of i386' --format i386 --address 100000000
	refuses '--format: vax: no such format' --format vax --map 1000
	refuses '--map: lots: not START-END.* START and END in hexadecimal, SIZE in decimal' --map lots
	refuses '--map: 1000.0x1000: not START-END.* SIZE in decimal' --map 1000+0x1000
	refuses '--map: 2000-1000: not START-END' --map 1000 2000-1000
	refuses '--map: 1800: not whole pages of 4 KiB' --map 1800
	refuses '--map: 1000: not whole pages of 8 KiB' --format three_level --map 1000
	refuses '--map: 800000000000: not addresses of x86_64' --map 800000000000
	refuses '--map: 7ffffffff000.8K: not addresses of x86_64' --map 7ffffffff000+8K
	refuses '--map: 100000000: not addresses of i386' --format i386 --map 100000000
	refuses '--map: 2000.8K: lies over 1000.8K' --map 2000+8K --map 1000+8K
	refuses '--pid: 0: not a process' --pid 0
	refuses '--pid: x: not a process' --pid x
	refuses '--pid: not with ranges' --pid 1 --map 1000
	refuses '--pid: not with ranges' --pid 1 1000
	refuses '--pid: not with addresses' --pid 1 --address 1000
	refuses '/proc/999999999/maps: No such file' --pid 999999999
	refuses '--pid: i386: only x86_64 and la57' --pid 1 --format i386
	refuses '--address: 0y: not an address' --map 1000 --address 0y
	refuses '--address: 0x800000000000: not an address of x86_64' --map 1000 --address 800000000000
	refuses '--memory: .*not a multiple of 4 MiB' --map 1000 --memory 1
	refuses '--memory: lots' --map 1000 --memory lots
	refuses '--frobnicate: unknown' --map 1000 --frobnicate
	refuses '--map: needs an argument' --map
	refuses '--format: : no such format' --format '' --map 1000
	refuses '--address: : not an address' --address ''
	refuses '--pid: -1: not a process' --pid -1
	refuses '--pid: 99999999999: not a process' --pid 99999999999
	refuses 'ffffffffffffffff.4K: not START-END' --map ffffffffffffffff+4K
	# shellcheck disable=SC2046
	refuses '--map: .*: more than 64 ranges' --map $(seq -f '%g000' 65)
	# shellcheck disable=SC2046
	refuses '--address: .*: more than 64 addresses' $(seq -f '--address %g000' 65)
	refuses 'topology' --map 1000 --synthetic nonsense
}

# What cannot be written is one line and status 2, too.
full_disk() {
	[ -w /dev/full ] || return 0
	got=0
	"$kmm" pagetable --map 1000 >/dev/full 2>err || got=$?
	[ $got = 2 ]
	want_lines err 1
	want_line err '^kmm: .*: No space left'
}

# By name and by cut; what is built takes what is summed, and the tree says where each range lies.
every_format() {
	"$kmm" pagetable --help | sed -n 's/^  \([a-z0-9_]*\)  *\([0-9]*+[0-9+]*\)$/\1 \2/p' >formats
	want_lines formats 9
	while read -r name cut; do
		shows --format "$name" --map 400000+64K 10000000+64K
		want_line out "^format $name: $(echo "$cut" | sed 's/+/[+]/g'), [1-5] level"
		built=$(sed -n 's/^  all  *\(.*\) in [0-9]* pages.*/\1/p' out)
		summed=$(awk '$1 == "*" { print $4, $5 }' out)
		[ -n "$built" ] && [ "$built" = "$summed" ] || { echo "$name: $built, not $summed"; return 1; }
		[ "$(grep -c '= 64 KiB, frames from' out)" = 2 ]
		shows --format "$cut" --map 400000+64K
		want_line out "^format [a-z0-9_]*: $(echo "$cut" | sed 's/+/[+]/g'),"
	done <formats
}

three_pages() {
	shows --format 10+10+12 --map 400000 10000000 bffff000
	want_line out '^  all      16 KiB in 4 pages'
	want_line out '^  VmPTE    12 kB'
	want_line out '^  flat         20.12 *4 MiB'
	want_line out '^\* i386  *10.10.12  *16 KiB  *12 KiB  *4 MiB'
	want_line out '\[767\] *0xbfc00000  table of level 1'
	want_line out '\[1023\] *0xbffff000  1 x 4 KiB'
}

cut() {
	shows --format i386 --map 400000 --address c0a81234
	want_line out 'level 2  bits 31..22  1100000010  770 \(0x302\)'
	want_line out 'level 1  bits 21..12  1010000001  641 \(0x281\)'
	want_line out 'offset   bits 11..0   001000110100  564 \(0x234\)'
	shows --format la57 --map 1000 --address ff11000000000000
	want_line out 'level 5  bits 56..48  100010001  273 '
	want_line out 'level 4  bits 47..39  000000000  0 '
	shows --format pae --address c0a81234
	want_line out 'level 3  bits 31..30  11  3 '
	want_lines out 7
}

flat_128_tib() {
	shows --map 0+128T
	want_line out 'summed here and not built'
	want_line out '^\* x86_64 .* 512 GiB  256 GiB$'
}

larger_pages() {
	shows --map 40000000+1G 80000000+2M 80200000 --huge
	want_line out '1 x 1 GiB = 1 GiB, frames from 0x40000: write user ps'
	want_line out '1 x 2 MiB = 2 MiB, frames from 0x80000: write user ps'
	want_line out '1 x 4 KiB = 4 KiB, frames from 0x80200: write user$'
	want_line out '^  all      16 KiB in 4 pages'
	shows --format i386 --map 400000+4M --huge
	want_line out '1024 x 4 KiB = 4 MiB'
	shows --format i386-pse --map 400000+4M --huge
	want_line out '1 x 4 MiB = 4 MiB'
}

# A page is as large as the format has it.
start_alone_is_a_page() {
	shows --format three_level --map 2000 6000
	want_line out '1 x 8 KiB = 8 KiB, frames from 0x1:'
	want_line out '1 x 8 KiB = 8 KiB, frames from 0x3:'
}

# 57 bits of addresses are more than 52 of frames.
more_pages_than_frames() {
	shows --format la57 --map ffffffffff000+8K
	want_line out '0xffffffffff000  1 x 4 KiB = 4 KiB, frames from 0xffffffffff:'
	want_line out '0x10000000000000  1 x 4 KiB = 4 KiB, frames from 0:'
}

# Where a format has no larger pages --huge builds no less.
too_large_to_build() {
	shows --format three_level --map 0+4T --huge
	want_line out 'summed here and not built'
	shows --map 0+4T --huge
	want_line out '512 x 1 GiB'
}

# A process that sleeps has the same pages from one look to the next.
live_process() {
	sleep 100 &
	process=$!
	tries=0
	until grep -q '(sleep) S' "/proc/$process/stat" || [ $tries -eq 600 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	got=0
	"$kmm" pagetable --pid $process --all >out 2>err || got=$?
	kill $process
	[ $got = 0 ] || { cat err out; return 1; }
	want_lines err 0
	want_line out "^process $process: [1-9][0-9]* mappings, [1-9][0-9]* pages present"
	want_line out '^0 translations are not as the kernel has them; 0 have changed since'
	ours=$(sed -n 's/^  VmPTE  *\([0-9]*\) kB, .*/\1/p' out)
	theirs=$(sed -n 's/^  the kernel.s VmPTE: \([0-9]*\) kB.*/\1/p' out)
	[ "$ours" -gt 0 ]
	# The kernel may keep tables that have become empty.
	[ "$ours" -le "$theirs" ] || { echo "VmPTE: $ours kB, the kernel says $theirs kB"; return 1; }
	[ "$ours" -ge $((theirs / 2)) ]
}

long_tree() {
	ranges=$(awk 'BEGIN { for (i = 0; i < 60; i++) printf "%d000 ", 100 + 2 * i }')
	shows --map $ranges
	want_line out '\.\.\. and 4 lines more; --all prints them'
	shows --all --map $ranges
	[ "$(grep -c '1 x 4 KiB' out)" = 60 ]
}

t "bad input is one line and status 2" bad_input
t "a full disk is said" full_disk
t "every format is built, and takes what the sums say" every_format
t "three pages take a directory and three tables" three_pages
t "an address is cut as the exercises say" cut
t "a flat table for 128 TiB takes 256 GiB" flat_128_tib
t "larger pages are used where they fit" larger_pages
t "START alone is a page of the format" start_alone_is_a_page
t "more pages than frames are mapped" more_pages_than_frames
t "what is too large to build is summed, with --huge too" too_large_to_build
t "a live process is mapped as the kernel has it" live_process
t "a long tree is cut short but for --all" long_tree
tap_done
