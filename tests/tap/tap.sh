# SPDX-License-Identifier: MIT
# TAP for tests in sh; a test starts with
#
#	. "${srcdir:-.}/tests/tap/tap.sh"
#
# then says t "name as a sentence" COMMAND... for each test (a function, mostly), and ends with tap_done. A test
# fails when its command does; what it printed becomes comments. want_status, want_line and want_file check inside one.
# $work is a folder that goes away at the end, $top the source folder.

set -u
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
top=$(cd "${srcdir:-.}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/kmm-test.XXXXXX") || exit 99
trap 'rm -rf "$work"' EXIT
tap_run=0
tap_failed=0

t() {
	tap_run=$((tap_run + 1))
	tap_name=$1
	shift
	# Not in an if: that would switch set -e off.
	(set -e; "$@") >"$work/.tap" 2>&1
	if [ $? = 0 ]; then
		echo "ok $tap_run - $tap_name"
	else
		echo "not ok $tap_run - $tap_name"
		tap_failed=$((tap_failed + 1))
	fi
	head -n 30 "$work/.tap" | sed 's/^/# /'
}

# skip "name" "why"
skip() {
	tap_run=$((tap_run + 1))
	echo "ok $tap_run - $1 # SKIP $2"
}

tap_done() {
	echo "1..$tap_run"
	[ "$tap_failed" = 0 ]
	exit
}

# want_status STATUS COMMAND...: runs it, keeps $work/out and $work/err, complains about another status.
want_status() {
	want=$1
	shift
	got=0
	"$@" >"$work/out" 2>"$work/err" </dev/null || got=$?
	[ "$got" = "$want" ] && return 0
	echo "status $got, not $want: $*"
	head -n 12 "$work/out" "$work/err"
	return 1
}

# want_line FILE PATTERN: a line matches the extended regular expression.
want_line() {
	grep -Eq -e "$2" "$1" && return 0
	echo "no line like '$2' in:"
	cat "$1"
	return 1
}

# want_lines FILE COUNT: so many lines.
want_lines() {
	[ "$(wc -l <"$1")" -eq "$2" ] && return 0
	echo "$2 lines wanted:"
	cat "$1"
	return 1
}

# want_refusal PATTERN COMMAND...: bad input: status 2, one line on stderr that matches, nothing on stdout.
want_refusal() {
	refusal=$1
	shift
	want_status 2 "$@" && want_lines "$work/err" 1 && want_line "$work/err" "^kmm: .*$refusal" && want_lines "$work/out" 0
}

# want_file FILE: it is there and holds something.
want_file() {
	[ -s "$1" ] && return 0
	echo "$1: absent or empty"
	return 1
}

# Run COMMAND with a folder of stand-ins first in PATH: fake NAME 'body' makes one.
fake() {
	mkdir -p "$work/bin"
	printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
	chmod +x "$work/bin/$1"
}
