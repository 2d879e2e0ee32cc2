#!/bin/sh
# SPDX-License-Identifier: MIT
# scripts/compare on made-up runs.
. "${srcdir:-.}/tests/tap/tap.sh"

if ! command -v python3 >/dev/null; then
	skip "compare" "python3 is not installed"
	tap_done
fi
compare="$top/scripts/compare"
FEW=1
export FEW
"$top/tests/scripts/make-run" "$work/base" || exit 99
"$top/tests/scripts/make-run" "$work/new" slab/pair/kmm=1.2 page/pair/kmm=0.8 kmalloc/xcpu/kmm=1.01 || exit 99

verdicts() {
	want_status 0 "$compare" "$work/base" "$work/new"
	want_line "$work/out" '^slab/pair 64 B +kmm +1 .* \+20\.0 % .* slower$'
	want_line "$work/out" '^page/pair order 3 +kmm +2 .* -20\.0 % .* faster$'
	want_line "$work/out" '^slab/pair 64 B +jemalloc +1 .* same$'
	want_line "$work/out" '22 faster, .* same, 6 slower$'
}

noise() {
	want_status 0 "$compare" "$work/base" "$work/new"
	want_line "$work/out" '^kmalloc/xcpu 64 B +kmm +1 .* \+1\.0 % .* same$'
}

repeatable() {
	want_status 0 "$compare" "$work/base" "$work/new"
	cp "$work/out" "$work/first"
	want_status 0 "$compare" "$work/base" "$work/new"
	cmp "$work/out" "$work/first"
}

fail_above() {
	want_status 1 "$compare" --fail-above 5 "$work/base" "$work/new"
	want_line "$work/out" '^slower by more than 5 %: slab/pair 64 B kmm x1, '
	want_status 0 "$compare" --fail-above 25 "$work/base" "$work/new"
	want_status 0 "$compare" --fail-above 5 "$work/base" "$work/base"
}

# A run that ended early says so, and cannot pass for one that shows that nothing is slower.
incomplete() {
	rm -rf "$work/early"
	cp -r "$work/base" "$work/early"
	python3 - "$work/early/machine.json" <<-'END'
		import json, sys
		facts = json.load(open(sys.argv[1]))
		facts["incomplete"] = "ended by a signal (Interrupt)"
		json.dump(facts, open(sys.argv[1], "w"))
	END
	want_status 0 "$compare" "$work/base" "$work/early"
	want_line "$work/out" '^new is incomplete: ended by a signal \(Interrupt\)$'
	want_status 1 "$compare" --fail-above 25 "$work/base" "$work/early"
	want_status 0 "$compare" --fail-above 25 "$work/early" "$work/base"
	want_line "$work/out" '^base is incomplete: ended by a signal \(Interrupt\)$'
	want_status 0 "$compare" "$work/base" "$work/base"
	! grep incomplete "$work/out"
}

# bad PATTERN ARGUMENT...: one line, status 2
bad() {
	pattern=$1
	shift
	want_status 2 "$compare" "$@"
	want_lines "$work/err" 1
	want_line "$work/err" "^kmm: compare: $pattern"
}

# spoil NAME COMMAND...: a run whose raw.csv went through a filter
spoil() {
	rm -rf "$work/$1"
	cp -r "$work/base" "$work/$1"
	name=$1
	shift
	"$@" <"$work/base/raw.csv" >"$work/$name/raw.csv"
	bad ".*raw.csv.*" "$work/base" "$work/$name"
}

missing() {
	bad '/nonexistent: no such run' /nonexistent "$work/new"
	bad '.no run given.: no such run' '' "$work/new"
	mkdir "$work/empty"
	bad '.*raw.csv: No such file' "$work/base" "$work/empty"
	bad '.*NEW' "$work/base"
	bad '.*--nonsense' --nonsense "$work/base" "$work/new"
	bad '.*fail-above' --fail-above x "$work/base" "$work/new"
	bad '.*fail-above' --fail-above -1 "$work/base" "$work/new"
}

garbage() {
	spoil nothing cat /dev/null
	spoil header_only head -n 1
	spoil cut head -c 20003
	spoil binary sh -c 'head -c 999 /dev/urandom'
	spoil column sed '1s/ns_per_op/other/'
	spoil word sed '7s/[0-9.]*$/fast/'
	spoil nan sed '7s/[0-9.]*$/nan/'
	spoil negative sed '7s/[0-9.]*$/-3/'
	rm "$work/word/raw.csv"
	cp "$work/base/raw.csv" "$work/word/"
	echo '{' >"$work/word/machine.json"
	bad '.*machine.json: not JSON' "$work/base" "$work/word"
}

t "says slower, faster and same" verdicts
t "a change inside the noise floor is the same" noise
t "the same runs give the same answer" repeatable
t "--fail-above fails for a case that is slower by more" fail_above
t "a run that ended early says so, and --fail-above does not let it pass" incomplete
t "a missing run or argument is one line and status 2" missing
t "garbage in a run is one line and status 2" garbage
tap_done
