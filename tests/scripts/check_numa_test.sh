#!/bin/sh
# SPDX-License-Identifier: MIT
# scripts/check-numa with a stand-in for QEMU, which writes what a machine would.
. "${srcdir:-.}/tests/tap/tap.sh"

for tool in python3 ldd; do
	if ! command -v "$tool" >/dev/null; then
		skip "check-numa" "$tool is not installed"
		tap_done
	fi
done
check=$top/scripts/check-numa

# A build folder: any programs will do, as nothing runs them.
mkdir -p "$work/build" "$work/tmp" "$work/cache"
for name in init kmm one_test two_test; do
	cp "$(command -v cat)" "$work/build/$name"
done
echo kernel >"$work/kernel"

# The machine's end is what $work/output and $work/console say; its serial ports are files, the console's first.
fake qemu-system-x86_64 "
n=0
for word; do
	case \$word in
	file:*) n=\$((n + 1)); [ \$n = 1 ] && cp '$work/console' \"\${word#file:}\" || cp '$work/output' \"\${word#file:}\" ;;
	esac
	[ \"\$last\" = -initrd ] && cp \"\$word\" '$work/initramfs'
	last=\$word
done
[ ! -e '$work/hangs' ] || exec sleep 600"
PATH="$work/bin:$PATH"

# checked STATUS ARGUMENT...: it leaves no temporary folder.
checked() {
	status=$1
	shift
	TMPDIR=$work/tmp want_status "$status" "$check" --top "$work/build" --cache "$work/cache" "$@" \
		"$work/build" one_test two_test || return 1
	[ -z "$(ls -A "$work/tmp")" ]
}

all_pass() {
	printf '[    0.000000] Linux\n' >"$work/console"
	printf '%s\r\n' 'ok 1 - works' '1..1' '@end one_test 0' '# why' 'ok 1 - a' 'ok 2 - b # SKIP none' '1..2' \
		'@end two_test 0' '@off' >"$work/output"
	checked 0 --kernel "$work/kernel"
	want_line "$work/out" '^ok 1 - one_test: works$'
	want_line "$work/out" '^ok 3 - two_test: b # SKIP none$'
	want_line "$work/out" '^1\.\.3$'
	want_line "$work/out" '^2 passed, 0 failed, 1 skipped$'
}

# The format is what the kernel unpacks, so another reader of it has to find the same.
archive_holds_programs() {
	command -v cpio >/dev/null || return 0
	cpio -it <"$work/initramfs" >"$work/names" 2>/dev/null
	for name in init bin/kmm bin/one_test bin/two_test lib/libc.so.6 proc; do
		want_line "$work/names" "^$name\$"
	done
	mkdir -p "$work/unpacked"
	(cd "$work/unpacked" && cpio -id <"$work/initramfs" 2>/dev/null)
	cmp "$work/unpacked/bin/kmm" "$work/build/kmm"
}

a_program_may_skip_all() {
	printf '%s\n' '1..0 # SKIP not built' '@end one_test 0' 'ok 1 - a' '1..1' '@end two_test 0' '@off' >"$work/output"
	checked 0 --kernel "$work/kernel"
	want_line "$work/out" '^ok 1 - one_test # SKIP not built$'
	want_line "$work/out" '^1 passed, 0 failed, 1 skipped$'
}

a_failure_fails() {
	printf '%s\n' '# test.c:1: x is 2' 'not ok 1 - works' '1..1' '@end one_test 1' 'ok 1 - a' '1..1' '@end two_test 0' \
		'@off' >"$work/output"
	checked 1 --kernel "$work/kernel"
	want_line "$work/out" '^# test.c:1: x is 2$'
	want_line "$work/out" '^not ok 1 - one_test: works$'
	want_line "$work/out" '^1 passed, 1 failed, 0 skipped$'
}

a_program_that_ends_early_fails() {
	printf '%s\n' 'ok 1 - works' '@end one_test signal 11' 'ok 1 - a' '1..3' '@end two_test 0' '@off' >"$work/output"
	checked 1 --kernel "$work/kernel"
	want_line "$work/out" '^not ok 2 - one_test: does all its tests .status signal 11, 1 of None done.$'
	want_line "$work/out" '^not ok 4 - two_test: does all its tests .status 0, 1 of 3 done.$'
}

a_panic_shows_the_console() {
	printf '%s\n' 'ok 1 - works' >"$work/output"
	printf '[    1.000000] Kernel panic - not syncing\n' >"$work/console"
	checked 1 --kernel "$work/kernel"
	want_line "$work/out" '^not ok 2 - one_test: comes to an end$'
	want_line "$work/out" '^# the machine ended before its time'
	want_line "$work/out" '^#   .*Kernel panic'
}

a_machine_that_hangs_is_ended() {
	: >"$work/hangs"
	: >"$work/output"
	printf '[    1.000000] the last line\n' >"$work/console"
	checked 1 --kernel "$work/kernel" --timeout 1
	rm "$work/hangs"
	want_line "$work/out" '^not ok 1 - one_test: comes to an end$'
	want_line "$work/out" '^# no end within 1 s'
	want_line "$work/out" 'the last line'
}

# A terminal that goes away, and a kill: the machine is ended, and the temporary folder goes.
a_signal_ends_the_machine() {
	for signal in HUP TERM INT; do
		: >"$work/hangs"
		rm -f "$work/initramfs"
		# A shell's background job has SIGINT ignored, and python then, too.
		TMPDIR=$work/tmp python3 -c '
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$check" --top "$work/build" --cache "$work/cache" --kernel "$work/kernel" \
			"$work/build" one_test two_test >"$work/out" 2>"$work/err" </dev/null &
		pid=$!
		tries=0
		until [ -e "$work/initramfs" ]; do
			tries=$((tries + 1))
			[ $tries -lt 600 ] || { kill -KILL $pid; return 1; }
			sleep 0.1
		done
		kill -$signal $pid
		got=0
		wait $pid || got=$?
		rm "$work/hangs"
		[ $got = 130 ] || { echo "$signal: status $got"; cat "$work/err"; return 1; }
		[ -z "$(ls -A "$work/tmp")" ] || { echo "$signal: left"; ls -A "$work/tmp"; return 1; }
	done
}

# As on a machine that cannot fetch: apt knows the package, and nothing answers.
without_a_kernel_it_skips() {
	fake apt-cache 'echo "  Depends: linux-image-9.9.9-cloud-amd64"'
	fake apt-get 'echo "E: Could not resolve host" >&2; exit 100'
	fake dpkg-deb 'exit 1'
	[ -z "$(ls /boot/vmlinuz-*-cloud-amd64 2>/dev/null)" ] || return 0
	checked 0
	want_line "$work/out" '^1\.\.0 # SKIP no kernel: linux-image-9.9.9-cloud-amd64 cannot be fetched: E: Could not resolve host$'
	[ -z "$(ls -A "$work/cache")" ]
	fake apt-cache ''
	checked 0
	want_line "$work/out" '^1\.\.0 # SKIP no kernel: .*apt does not know linux-image-cloud-amd64'
}

bad_usage_is_one_line() {
	checked 2 --kernel "$work/missing"
	want_lines "$work/err" 1
	want_line "$work/err" '^kmm: check-numa: --kernel .*missing: cannot be read$'
	want_status 2 "$check" --top "$work/build" --kernel "$work/kernel" "$work/build" no_test
	want_line "$work/err" '^kmm: check-numa: .*no_test: no such program$'
}

t "programs' results are one, with one numbering" all_pass
t "the archive holds programs and libraries" archive_holds_programs
t "a program may skip all of its tests" a_program_may_skip_all
t "a test that fails fails it" a_failure_fails
t "a program that ends early fails it" a_program_that_ends_early_fails
t "a panic shows the console" a_panic_shows_the_console
t "a machine that hangs is ended" a_machine_that_hangs_is_ended
t "a signal ends the machine, and leaves no folder" a_signal_ends_the_machine
t "without a kernel it skips, and says why" without_a_kernel_it_skips
t "bad usage is one line" bad_usage_is_one_line
tap_done
