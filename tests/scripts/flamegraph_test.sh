#!/bin/sh
# SPDX-License-Identifier: MIT
# scripts/flamegraph on folded stacks and on text of perf script; scripts/perf on bad input.
. "${srcdir:-.}/tests/tap/tap.sh"

if ! command -v python3 >/dev/null; then
	skip "flamegraph" "python3 is not installed"
	tap_done
fi
flamegraph="$top/scripts/flamegraph"

cat >"$work/folded" <<'END'
kmm;main;run;alloc_pages 60
kmm;main;run;alloc_pages;rmqueue<slow>&co 20
kmm;main;run;asm_exc_page_fault_[k] 20
END

# Text as perf script prints it: a command with spaces, a frame without a name, one in the kernel.
cat >"$work/script" <<'END'
kmm bench  4711  12.000001: cpu-clock:
	            1a2b alloc_pages (/usr/bin/kmm)
	            1a00 main (/usr/bin/kmm)

kmm bench  4711  12.000002: cpu-clock:
	            1a2b alloc_pages (/usr/bin/kmm)
	            1a00 main (/usr/bin/kmm)

kmm bench  4711/4712  12.000003: cpu-clock:
	ffffffff81360012 handle_softirqs ([kernel.kallsyms])
	          153e0 [unknown] (/usr/lib/libc.so.6)

END

draws() {
	want_status 0 "$flamegraph" --title 'a <title>' "$work/folded"
	python3 - "$work/out" <<-'END'
		import sys, xml.dom.minidom
		svg = xml.dom.minidom.parse(sys.argv[1])
		frames = [g for g in svg.getElementsByTagName("g") if g.getAttribute("class") == "f"]
		width = {g.getAttribute("data-n"): float(g.getAttribute("data-w")) for g in frames}
		assert set(width) == {"all", "kmm", "main", "run", "alloc_pages", "rmqueue<slow>&co", "asm_exc_page_fault"}, width
		assert width["all"] == width["run"] == 1200 and width["alloc_pages"] == 960, width
		titles = [g.getElementsByTagName("title")[0].firstChild.data for g in frames]
		assert "alloc_pages: 80 samples, 80.00 %" in titles, titles
	END
}

folds() {
	want_status 0 "$flamegraph" --fold "$work/script"
	printf '%s\n' 'kmm_bench;[libc.so.6];handle_softirqs_[k] 1' 'kmm_bench;main;alloc_pages 2' | cmp - "$work/out"
}

bad_input() {
	echo 'kmm;main' >"$work/bad"
	want_status 2 "$flamegraph" "$work/bad"
	want_line "$work/err" '^kmm: flamegraph: .*bad:1: not a folded stack'
	: >"$work/bad"
	want_status 2 "$flamegraph" "$work/bad"
	want_line "$work/err" 'no samples'
	want_status 2 "$flamegraph" /nonexistent
	want_lines "$work/err" 1
}

no_perf() {
	mkdir "$work/none"
	for tool in sh sed dirname; do
		ln -s "$(command -v $tool)" "$work/none/"
	done
	want_status 2 env PATH="$work/none" sh "$top/scripts/perf" page
	want_lines "$work/err" 1
	want_line "$work/err" '^kmm: perf: perf is not installed'
}

no_permission() {
	fake perf 'echo "Error: Access to performance monitoring is limited: no permission" >&2; exit 255'
	fake kmm 'exit 0'
	want_status 2 env PATH="$work/bin:$PATH" "$top/scripts/perf" --kmm "$work/bin/kmm" --results "$work/results" page
	want_lines "$work/err" 1
	want_line "$work/err" '^kmm: perf: no permission'
	[ -z "$(ls -A "$work/results")" ]
}

bad_arguments() {
	for arguments in '' '--nonsense' 'page slab' 'a/b' '--case'; do
		# shellcheck disable=SC2086
		want_status 2 "$top/scripts/perf" $arguments
		want_lines "$work/err" 1
	done
}

t "widths and titles are the shares of the samples" draws
t "perf script's text is folded from root to leaf" folds
t "what is not a folded stack is one line and status 2" bad_input
t "perf says in one line that perf is missing" no_perf
t "perf says in one line that it has no permission, and leaves nothing" no_permission
t "perf says in one line which argument is wrong" bad_arguments
tap_done
