#!/bin/sh
# SPDX-License-Identifier: MIT
# scripts/plot and scripts/report on a made-up run.
. "${srcdir:-.}/tests/tap/tap.sh"

if ! command -v python3 >/dev/null; then
	skip "plot and report" "python3 is not installed"
	tap_done
fi
run="$work/run"
"$top/tests/scripts/make-run" "$run" || exit 99

png_size() {
	python3 -c 'import struct, sys
head = open(sys.argv[1], "rb").read(24)
assert head[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
print(*struct.unpack(">II", head[16:24]))' "$1"
}

plots() {
	want_status 0 "$top/scripts/plot" "$run"
	for name in throughput-page throughput-floor throughput-slab throughput-kmalloc throughput-vmalloc throughput-walk \
		scaling-page orders fill ageing latency-page latency-slab frag-kbuild frag-nginx; do
		want_file "$run/plots/$name.svg"
		want_file "$run/plots/$name.gp"
		size=$(png_size "$run/plots/$name.png")
		[ "${size%% *}" -ge 600 ]
		python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$run/plots/$name.svg"
	done
	[ -z "$(find "$run" -name '.plots-*')" ]
	# What ages memory is no replay, and a name may have a slash.
	[ ! -e "$run/plots/frag-ageing.svg" ]
	[ -z "$(ls "$run/plots" | grep frag-kmalloc)" ]
	grep -q 'fill95/bulk order 0' "$run/plots/latency-page.gp"
}

same_bytes() {
	cp -r "$run/plots" "$work/before"
	want_status 0 "$top/scripts/plot" "$run"
	diff -r "$work/before" "$run/plots"
}

# Odd names go into titles, not into commands.
odd_names() {
	cp -r "$run" "$work/odd"
	sed -i 's/nginx/a`b"c'"'"'_{^$x;\\/' "$work/odd/fragmentation.csv"
	want_status 0 "$top/scripts/plot" "$work/odd"
	want_file "$work/odd/plots/frag-a-b-c-_-x.png"
	want_status 0 "$top/scripts/report" "$work/odd"
}

report() {
	want_status 0 "$top/scripts/report" "$run"
	page="$run/report.html"
	want_file "$page"
	python3 - "$page" <<-'END'
		import re, sys, xml.dom.minidom
		text = open(sys.argv[1], encoding="utf-8").read()
		xml.dom.minidom.parseString(text.replace("<!DOCTYPE html>", "").encode())
		outside = re.findall(r'(?:src|href)=["\'](?!#|data:)([^"\']*)', text)
		assert not outside, outside
		assert not re.search(r"@import|url\((?!['\"]?#)|<script|<iframe|<object", text)
		ids = re.findall(r'\bid=["\']([^"\']+)', text)
		assert len(ids) == len(set(ids)), "an id twice"
		assert "noise floor" in text.lower() and "2.0 %" in text
		for part in ("summary", "throughput", "scaling", "latency", "fragmentation", "memory", "locks", "paths", "numa", "skipped", "machine"):
		    assert f'<section id="{part}">' in text, part
		assert 'class="faster"' in text and 'class="slower"' in text
		part = text[text.index('<section id="paths">'):text.index('<section id="numa">')]
		assert "<th>phys pcp refill</th>" in part and "<td>2.93</td>" in part and "never" not in part, part
		part = text[text.index('<section id="fragmentation">'):text.index('<section id="locks">')]
		assert "<th>round 100</th>" in part and "<td>0.959</td>" in part and 'id="plot-ageing"' in part, part[:2000]
		part = text[text.index('<section id="memory">'):text.index('<section id="locks">')]
		assert "kmalloc/fleet/server" in part and "<td>1.20</td>" in part and "<td>4.80</td>" in part, part
		assert "one NUMA node" in text and "zone &lt;0&gt; NORMAL" in text
	END
}

# The Linux kernel: its ratios stand beside those to jemalloc, and what /proc says beside kmm's.
beside_linux() {
	LINUX=1 "$top/tests/scripts/make-run" "$work/linux" kmalloc/mixed/kmm=9
	echo "Node 0, zone <Normal> 1" >"$work/linux/buddyinfo.kbuild-page.linux-6.1.txt"
	echo "Node 0, zone   Normal 2" >"$work/linux/buddyinfo.kbuild-page.kmm.txt"
	[ ! -e "$run/plots/ratios-page.svg" ]
	want_status 0 "$top/scripts/plot" "$work/linux"
	for suite in page slab kmalloc; do
		want_file "$work/linux/plots/ratios-$suite.png"
	done
	[ ! -e "$work/linux/plots/ratios-vmalloc.gp" ]
	want_line "$work/linux/plots/ratios-slab.gp" 'kmm / linux-6.1'
	want_line "$work/linux/plots/ratios-slab.gp" 'kmm / jemalloc'
	want_status 0 "$top/scripts/report" "$work/linux"
	python3 - "$work/linux/report.html" "$run/report.html" <<-'END'
		import re, sys, xml.dom.minidom
		text, other = (open(path, encoding="utf-8").read() for path in sys.argv[1:])
		xml.dom.minidom.parseString(text.replace("<!DOCTYPE html>", "").encode())
		assert '<section id="linux">' not in other
		part = text[text.index('<section id="linux">'):text.index('<section id="throughput">')]
		means = dict(re.findall(r'<td class="t">(page|slab|kmalloc)</td><td>(\S+)×', part))
		assert float(means["slab"]) < 0.2, means
		# kmm takes 3 ns where the kernel takes 21; nine times as long is slower.
		assert re.search(r'pair 64 B</td><td>[23]\.\d+</td><td>2\d\.\d</td>', part), part[:2000]
		assert re.search(r'mixed 8-2048</td>.*?<td class="slower"><span title="[^"]*">1\.\d\d×', part), part
		assert 'id="plot-ratios-page"' in part and "zone &lt;Normal&gt; 1" in part and "Normal 2" in part
	END
}

few_rows() {
	mkdir "$work/few"
	cp "$run/machine.json" "$run/throughput.csv" "$work/few/"
	head -n 1 "$run/latency.csv" >"$work/few/latency.csv"
	want_status 0 "$top/scripts/plot" "$work/few"
	want_status 0 "$top/scripts/report" "$work/few"
	want_line "$work/few/report.html" 'No trace was replayed'
}

# check-programs leaves no other table; beside others it is a section more.
real_programs() {
	mkdir "$work/real"
	cp "$run/machine.json" "$work/real/"
	cat >"$work/real/programs.csv" <<-'END'
		program,allocator,runs,seconds,seconds_low,seconds_high,cpu_seconds,peak_kib,peak_kib_low,peak_kib_high,vs_best_seconds,vs_median_peak,note
		perl,kmm,3,1.5,1.4,1.6,1.25,30720,30000,31000,0.75,1.5,
		perl,glibc,3,2,1.9,2.1,1.75,20480,20000,21000,1,1,
		git,kmm,3,8,5,9,6.5,40960,40000,41000,1.3333,1,
		git,glibc,1,,,,,,,,,,failed: <git> ended by SIGSEGV
		node,kmm,0,,,,,,,,,,skipped: node is not installed
		node,glibc,0,,,,,,,,,,skipped: node is not installed
	END
	want_status 0 "$top/scripts/report" "$work/real"
	cp -r "$run" "$work/both"
	cp "$work/real/programs.csv" "$work/both/"
	want_status 0 "$top/scripts/report" "$work/both"
	python3 - "$work/real/report.html" "$work/both/report.html" <<-'END'
		import sys, xml.dom.minidom
		alone, both = (open(path, encoding="utf-8").read() for path in sys.argv[1:])
		for text in alone, both:
		    xml.dom.minidom.parseString(text.replace("<!DOCTYPE html>", "").encode())
		assert '<section id="summary">' not in alone and '<section id="summary">' in both
		part = alone[alone.index('<section id="programs">'):alone.index('<section id="machine">')]
		assert part in both
		# Better in every run, worse in every run, and once on either side.
		assert '<td class="faster"><span title="1.40 to 1.60">1.50</span> <small>0.75×</small></td>' in part, part
		assert '<td class="slower"><span title="29.3 to 30.3">30.0</span> <small>1.50×</small></td>' in part, part
		assert '<td><span title="5.00 to 9.00">8.00</span> <small>1.33×</small></td>' in part, part
		assert "<td>1.25</td>" in part and '<td class="slower">failed</td>' in part
		assert "<td>1.00× <small>(2)</small></td>" in part and "<td>1.00× <small>(1)</small></td>" in part
		assert "failed: &lt;git&gt; ended by SIGSEGV" in part and "skipped: node is not installed" in part
	END
	sed -i 's/,1.5,1.4,/,-1.5,1.4,/' "$work/real/programs.csv"
	one_line report '.*programs.csv:2: seconds: .-1.5. cannot be' "$work/real"
}

# one_line TOOL PATTERN RUN
one_line() {
	want_status 2 "$top/scripts/$1" "$3"
	want_lines "$work/err" 1
	want_line "$work/err" "^kmm: $1: $2"
}

bad_runs() {
	for tool in $tools; do
		one_line $tool '/nonexistent: no such run' /nonexistent
		rm -rf "$work/bad"
		cp -r "$run" "$work/bad"
		cksum "$work/bad"/plots/* "$work/bad/report.html" >"$work/sums" 2>/dev/null || :
		echo 'slab,pair,kmm' >>"$work/bad/throughput.csv"
		one_line $tool '.*throughput.csv:[0-9]*: 13 columns expected' "$work/bad"
		cksum "$work/bad"/plots/* "$work/bad/report.html" 2>/dev/null | cmp - "$work/sums"
		rm "$work/bad/throughput.csv"
		one_line $tool '.*throughput.csv: No such file' "$work/bad"
	done
}

chromium_opens() {
	want_status 0 timeout 60 chromium --headless --no-sandbox --disable-gpu --enable-logging=stderr \
		--user-data-dir="$work/profile" --window-size=1280,2000 --screenshot="$work/page.png" "file://$run/report.html"
	want_file "$work/page.png"
	! grep CONSOLE "$work/err"
}

if command -v gnuplot >/dev/null; then
	t "plot draws every figure as SVG and PNG" plots
	t "plot gives the same bytes again" same_bytes
	t "odd names of traces do no harm" odd_names
	tools="plot report"
else
	skip "plot draws every figure as SVG and PNG" "gnuplot is not installed"
	tools=report
fi
t "report is well-formed and fetches nothing" report
if command -v gnuplot >/dev/null; then
	t "the Linux kernel's ratios stand beside those to jemalloc" beside_linux
	t "a run without latency and traces has plots and a report too" few_rows
fi
t "the report of real programs has a table a measure" real_programs
t "a run that cannot be read is one line and leaves what there was" bad_runs
if command -v chromium >/dev/null; then
	t "chromium opens the report without a word on its console" chromium_opens
else
	skip "chromium opens the report without a word on its console" "chromium is not installed"
fi
tap_done
