#!/bin/sh
# SPDX-License-Identifier: MIT
# The rules of the house that a compiler does not check: who may include whom, and what a source file carries.
. "${srcdir:-.}/tests/tap/tap.sh"

layers="base arch phys slab virt reclaim report"
cd "$top" || exit 99

# includes_upwards FOLDER: prints each #include of a later layer, or of the whole library, in alloc/LAYER
includes_upwards() {
	for layer in $layers; do
		find "$1/$layer" 2>/dev/null -name '*.[ch]' | sort | xargs -r awk -v layers="$layers" -v own="$layer" '
			BEGIN { n = split(layers, name, " "); for (i = 1; i <= n; i++) rank[name[i]] = i }
			/^[ \t]*#[ \t]*include[ \t]*"/ {
				split($0, part, "\"")
				split(part[2], path, "/")
				if (rank[path[1]] > rank[own] || path[1] == "kmm.h" ||
				    path[1] ~ /^(bench|workloads|tests)$/)
					print FILENAME ":" FNR ": alloc/" own " includes " part[2]
			}'
	done
}

layers_hold() {
	includes_upwards alloc | tee "$work/upwards"
	want_lines "$work/upwards" 0
}

check_finds() {
	mkdir -p "$work/alloc/phys" "$work/alloc/slab"
	printf '#include "base/list.h"\n#include "slab/slab.h"\n' >"$work/alloc/phys/a.c"
	printf '# include "phys/page.h"\n#include "kmm.h"\n' >"$work/alloc/slab/b.h"
	includes_upwards "$work/alloc" >"$work/upwards"
	want_lines "$work/upwards" 2
	want_line "$work/upwards" 'phys/a.c:2: alloc/phys includes slab/slab.h'
	want_line "$work/upwards" 'slab/b.h:2: alloc/slab includes kmm.h'
}

licences() {
	# bench/build.h is made by make.
	find alloc bench workloads tests scripts -name '*.[ch]' -o -name '*.cc' -o -name '*.mk' -o -name '*.sh' |
		grep -vx bench/build.h | while read -r file; do
			head -n 2 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file: no licence line"
		done >"$work/without"
	cat "$work/without"
	want_lines "$work/without" 0
}

t "no layer of alloc/ includes a later one" layers_hold
t "and the check would find one that does" check_finds
t "every source file names its licence" licences
tap_done
