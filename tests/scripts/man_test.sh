#!/bin/sh
# SPDX-License-Identifier: MIT
# The man page and --help name the same commands and options.
. "${srcdir:-.}/tests/tap/tap.sh"

kmm=${builddir:-.}/kmm
page=$top/bench/kmm.1

# Names without their hyphens' escapes; "--benchmark_*" stands for a family.
man_options() {
	sed 's/\\-/-/g' "$page" | grep -v '^\.B perf \|^\.B kmm ' | grep -Eo -e '--[a-z][a-z_-]*' | grep -v -e '--benchmark' | sort -u
}

help_options() {
	for command in $commands; do
		"$kmm" "$command" --help
	done | grep -Eo -e '--[a-z][a-z_-]*' | grep -v -e '--benchmark' | sort -u
}

same_commands() {
	"$kmm" --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' | sort >"$work/help"
	sed -n 's/^\.SS kmm \([a-z]*\)$/\1/p' "$page" | sort >"$work/man"
	diff "$work/help" "$work/man"
	[ -s "$work/man" ]
}

same_options() {
	{ help_options; echo '--help'; echo '--version'; } | sort -u >"$work/help"
	{ man_options; } >"$work/man"
	diff "$work/help" "$work/man"
}

suites_named() {
	"$kmm" bench --help | sed -n '/^Suites:/,$s/^  \([a-z]*\) .*/\1/p' >"$work/suites"
	[ -s "$work/suites" ]
	while read -r suite; do
		grep -q "BR.* $suite\b" "$page" || { echo "no suite $suite"; return 1; }
	done <"$work/suites"
}

# Every show_x() of the library is a report of kmm show, and every report has its paragraph.
reports_named() {
	"$kmm" show --help | sed -n '/^Reports/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort >"$work/reports"
	[ -s "$work/reports" ]
	sed -n 's/^KMM_API int show_\([a-z]*\)(.*/\1/p' "$top/alloc/report/report.h" | sort | diff - "$work/reports"
	sed -n '/^\.SS kmm show/,/^\.BI/s/^\.B \([a-z]*\)$/\1/p' "$page" | sort | diff - "$work/reports"
}

if [ ! -x "$kmm" ]; then
	skip "the man page" "kmm is not built"
	tap_done
fi
commands=$("$kmm" --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p')
if ! command -v python3 >/dev/null; then
	commands=$(echo "$commands" | grep -v -e plot -e report -e compare)
fi
t "the man page has the commands of --help" same_commands
t "the man page has the options of --help" same_options
t "the man page names every suite" suites_named
t "kmm show, its man page and the library have the same reports" reports_named
tap_done
