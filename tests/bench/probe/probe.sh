#!/bin/sh
# SPDX-License-Identifier: MIT
# kmm tlb --probe from outside, in as little time as it takes: that it ends well and its preset is one, not what it finds.
. "${srcdir:-.}/tests/tap/tap.sh"
kmm=$(cd "${builddir:-.}" && pwd)/kmm
corpus=$(cd "${srcdir:-.}/tests/fuzz/corpus/tlb_file" && pwd)
cd "$work"

refuses() {
	pattern=$1
	shift
	want_refusal "$pattern" "$kmm" tlb "$@"
}

bad_input() {
	refuses '--probe takes no trace' --probe trace
	refuses '--probe takes no --pattern' --probe --pattern random
	refuses '--probe takes no --preset' --probe --preset zen4
	refuses '--probe takes no --accesses' --probe --accesses 5 --seconds 1
	refuses '--probe takes no --pages' --pages 4K --probe
	refuses '--probe takes no --sources' --sources --probe
	refuses '--seconds: 0: not a number' --probe --seconds 0
	refuses '--name: a b: not a word' --probe --name 'a b'
	refuses '--out is of --probe' --out x --pattern random
	refuses '--name is of --probe' --name x --pattern random
	refuses '--seconds is of --probe' --seconds 5 --pattern random
	refuses 'nowhere/x: No such file' --probe --out nowhere/x
	# Before it measures: stdout is empty then.
	mkdir folder
	refuses 'folder: Is a directory' --probe --out folder
	refuses 'folder/: Is a directory' --probe --out folder/
	[ -d folder ] && [ -z "$(ls folder)" ]
}

bad_presets() {
	refuses '--preset: nowhere: no such preset' --preset nowhere --pattern random
	refuses './nowhere: No such file' --preset ./nowhere --pattern random
	refuses 'bad.tlb:4: 64 entries are not so many ways' --preset "$corpus/bad.tlb" --pattern random
	: >empty.tlb
	refuses 'empty.tlb: the file is empty' --preset empty.tlb --pattern random
	head -c 70000 /dev/zero | tr '\0' '\n' >long.tlb
	refuses 'long.tlb: more than 65536 bytes' --preset long.tlb --pattern random
	refuses 'Is a directory|Input/output error' --preset . --pattern random
}

files_are_presets() {
	want_status 0 "$kmm" tlb --preset "$corpus/least.tlb" --pattern random --footprint 1M --accesses 1000
	want_line out '4K pages, 4 levels'
	want_status 0 "$kmm" tlb --preset "$corpus/probed.tlb" --sources
	want_line out '^probed: Some processor$'
	want_line out 'L1-4K +96 entries, 6 ways of 16 sets'
}

# Where nothing is to be seen (an emulator, a machine that is very busy) it says so, with status 1, and writes nothing.
probe_in_a_second() {
	"$kmm" tlb --probe --seconds 1 --out mine.tlb --name mine >out 2>err
	status=$?
	case $status in
	0)
		want_line out '^mean error [0-9.]+ %'
		want_line out '^mine.tlb: '
		want_status 0 "$kmm" tlb --preset mine.tlb --pattern zipf --footprint 64M --accesses 10000
		want_line out '^cycles a lookup'
		want_status 0 "$kmm" tlb --preset mine.tlb --sources
		want_line out '^mine: '
		;;
	1)
		want_line out 'nothing could be fitted'
		[ ! -e mine.tlb ]
		;;
	*)
		cat out err
		return 1
		;;
	esac
	[ "$(echo mine.tlb.*)" = 'mine.tlb.*' ]
}

# What is no file stays what it is, and is written to; a file that happens to be called FILE.part is nobody's part.
what_is_there_stays() {
	mkfifo pipe
	echo mine >piped.part
	echo mine >pipe.part
	timeout 900 cat pipe >piped &
	reader=$!
	got=0
	timeout 900 "$kmm" tlb --probe --seconds 1 --out pipe --name mine >out 2>err || got=$?
	# Where nothing was found nothing opens the pipe, and its reader waits.
	[ $got = 0 ] || kill $reader
	wait $reader || [ $got != 0 ]
	[ -p pipe ]
	[ "$(cat pipe.part)" = mine ]
	case $got in
	0) want_status 0 "$kmm" tlb --preset ./piped --sources && want_line out '^mine: ' ;;
	1) [ ! -s piped ] ;;
	*) cat out err && return 1 ;;
	esac
	# A link to a pipe is one, too.
	ln -s pipe link
	echo mine >stopped.tlb.part
	want_status 124 timeout -s TERM 0.3 "$kmm" tlb --probe --seconds 30 --out link
	want_status 124 timeout -s TERM 0.3 "$kmm" tlb --probe --seconds 30 --out stopped.tlb
	[ -h link ] && [ -p pipe ]
	[ "$(cat stopped.tlb.part)" = mine ]
	rm stopped.tlb.part
}

# What stops it finds no preset, and no part of one.
stopped_it_writes_nothing() {
	want_status 124 timeout -s TERM 0.3 "$kmm" tlb --probe --seconds 30 --out stopped.tlb
	[ "$(echo stopped.tlb*)" = 'stopped.tlb*' ]
}

# Not even the least memory is to be had. (A sanitizer's own needs are beyond every such limit: there it is not asked.)
without_memory_it_says_so() {
	(ulimit -v 40000 && exec "$kmm" tlb --help) >/dev/null 2>&1 || return 0
	want_status 2 sh -c 'ulimit -v 40000 && exec "$0" tlb --probe --seconds 1 --out none.tlb' "$kmm"
	want_lines err 1
	want_line err '^kmm: --probe: Cannot allocate memory'
	[ ! -e none.tlb ]
}

if [ ! -x "$kmm" ]; then
	skip "kmm tlb --probe" "kmm is not built"
	tap_done
fi
t "bad input is one line and status 2" bad_input
t "a bad preset is named with its place" bad_presets
t "files are presets" files_are_presets
t "a probe of a second ends well" probe_in_a_second
t "what is there stays what it is" what_is_there_stays
t "stopped, it writes nothing" stopped_it_writes_nothing
t "without memory it says so" without_memory_it_says_so
tap_done
