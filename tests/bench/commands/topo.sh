#!/bin/sh
# SPDX-License-Identifier: MIT
#
# kmm topo on recorded machines. Each tests/fixtures/NAME.topo is what it has to print of NAME.xml:
#
#	two-sockets       2 packages of 12 cores of 2 CPUs; the second CPUs of all cores come last in the OS's order
#	eight-nodes       2 packages of 4 nodes; distances 12 in a package, 32 between them
#	linked-memory     2 packages, and memory without CPUs that hangs on the first: the OS's node 2, and node 1 here
#	asymmetric-cores  8 cores of 2 CPUs and 8 of 1, in one package
. "${srcdir:-.}/tests/tap/tap.sh"

kmm=$(cd "${builddir:-.}" && pwd)/kmm
fixtures=$top/tests/fixtures
cd "$fixtures" || exit 99

# What follows the topology depends on the host's memory.
prints_as_expected() {
	want_status 0 "$kmm" topo --memory 64M --xml "$1.xml"
	sed '/^memory /,$d' "$work/out" >"$work/topology"
	diff -u "$1.topo" "$work/topology"
	want_line "$work/out" '^memory +[0-9]+ MiB simulated'
}

# The description differs, no more: hwloc writes what it read.
exports_the_same() {
	want_status 0 "$kmm" topo --xml "$1.xml" --export-xml
	cp "$work/out" "$work/again.xml"
	want_status 0 "$kmm" topo --memory 64M --xml "$work/again.xml"
	sed '1d; /^memory /,$d' "$work/out" >"$work/topology"
	sed 1d "$1.topo" | diff -u - "$work/topology"
}

# A machine boots on it, with the counters of each of its nodes.
boots() {
	nodes=$(sed -n 's/^nodes  *//p' "$1.topo")
	want_status 0 "$kmm" show numastat --memory 64M --xml "$1.xml"
	for node in $(seq 0 $((nodes - 1))); do
		want_line "$work/out" "node ?$node"
	done
}

for name in two-sockets eight-nodes linked-memory asymmetric-cores; do
	t "$name prints as expected" prints_as_expected "$name"
	t "$name exports to the same" exports_the_same "$name"
	t "$name boots" boots "$name"
done
tap_done
