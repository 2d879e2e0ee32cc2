#!/bin/sh
# SPDX-License-Identifier: MIT
# scripts/linux, with a kernel's source of four files and stand-ins for make and the tools it needs.
. "${srcdir:-.}/tests/tap/tap.sh"

linux="$top/scripts/linux"
unset LINUX_SOURCE CC
export XDG_CACHE_HOME="$work/cache" KMM_LINUX_PACKAGES="$work/packages" FAKE="$work/state"
mkdir -p "$FAKE" "$work/packages" "$work/tree/mm"
for file in Makefile mm/Makefile mm/slub.c mm/page_alloc.c; do
	echo "# $file" >"$work/tree/$file"
done
# Makes "a kernel" of what it was called with.
fake make 'echo "$*" >>"$FAKE/calls"
[ -e "$FAKE/fails" ] && { echo "  CC mm/slub.o"; echo "mm/slub.c:1: error: no such thing"; exit 2; }
for word; do case $word in O=*) out=${word#O=} ;; esac; done
case " $* " in *" linux "*) echo "#!/bin/sh" >"$out/linux"; chmod +x "$out/linux" ;; esac'
for tool in flex bison bc; do
	fake $tool :
done
# For setup: nothing is installed.
fake dpkg-query 'exit 1'
fake apt-get 'exit 1'
PATH="$work/bin:$PATH"

one_line() {
	want_lines "$work/out" 0
	want_lines "$work/err" 1
	want_line "$work/err" "^kmm: linux: $1"
}

reset() {
	rm -rf "$work/cache" "$FAKE"/* "$work/keep"
}

without_the_package() {
	reset
	want_status 2 "$linux"
	one_line "no kernel source"
}

# Where setup may install nothing, its line is the one.
with_install_and_no_rights() {
	reset
	KMM_NO_INSTALL=1 want_status 2 "$linux" --install
	want_lines "$work/out" 0
	want_lines "$work/err" 1
	want_line "$work/err" '^kmm: setup: missing packages: linux-source'
}

what_is_there_is_not_installed() {
	reset
	LINUX_SOURCE="$work/nowhere" KMM_NO_INSTALL=1 want_status 2 "$linux" --install
	one_line "LINUX_SOURCE: "
	: >"$work/packages/linux-source-6.2.tar.xz"
	KMM_NO_INSTALL=1 want_status 2 "$linux" --install --cached
	one_line "not built yet"
	rm "$work/packages"/*
}

without_a_tool() {
	reset
	mkdir -p "$work/few"
	for tool in sh sed cat ls sort tail head dirname basename sha256sum cut stat make flex bison tar; do
		ln -sf "$(command -v $tool)" "$work/few/$tool"
	done
	# The real one may be ccache, which looks for another in PATH.
	printf '#!/bin/sh\necho gcc\n' >"$work/few/gcc"
	chmod +x "$work/few/gcc"
	PATH="$work/few" LINUX_SOURCE="$work/tree" want_status 2 "$linux"
	one_line "cannot be built: bc is not installed"
}

with_a_source_that_is_none() {
	reset
	LINUX_SOURCE="$work/nowhere" want_status 2 "$linux"
	one_line "LINUX_SOURCE: .*no such folder or tarball"
	LINUX_SOURCE="$work/packages" want_status 2 "$linux"
	one_line "LINUX_SOURCE: .*not a kernel's source"
}

without_a_compiler() {
	reset
	CC=no-such-compiler LINUX_SOURCE="$work/tree" want_status 2 "$linux"
	one_line "no compiler: no-such-compiler"
}

a_compiler_of_two_words_is_one() {
	reset
	fake ccache '[ "$1" = gcc ] && shift && exec gcc "$@"'
	CC="ccache gcc" LINUX_SOURCE="$work/tree" want_status 0 "$linux" --keep "$work/keep"
	want_line "$FAKE/calls" "CC=ccache gcc "
}

without_memory_or_disk() {
	reset
	echo "MemAvailable:     900000 kB" >"$work/meminfo"
	LINUX_SOURCE="$work/tree" KMM_LINUX_MEMINFO="$work/meminfo" want_status 2 "$linux"
	one_line "cannot be built: less than 1 GB of memory is free"
	fake df 'echo "Filesystem 1024-blocks Used Available"; echo "/dev/x 9000000 8000000 1000000 90% /"'
	LINUX_SOURCE="$work/tree" want_status 2 "$linux"
	rm "$work/bin/df"
	one_line "cannot be built: less than 4 GB are free in "
	[ ! -e "$FAKE/calls" ]
}

with_wrong_arguments() {
	want_status 2 "$linux" --fast
	one_line "--fast: unknown argument"
	want_status 2 "$linux" --keep
	one_line "--keep wants a folder"
}

cached_never_builds() {
	reset
	LINUX_SOURCE="$work/tree" want_status 2 "$linux" --cached
	one_line "not built yet"
	[ ! -e "$FAKE/calls" ]
}

it_is_built_once() {
	reset
	export LINUX_SOURCE="$work/tree"
	want_status 0 "$linux" --keep "$work/keep"
	want_line "$work/out" "^$work/cache/kmm/tree-[0-9a-f]{12}/linux\$"
	[ -x "$(cat "$work/out")" ]
	want_line "$FAKE/calls" "ARCH=um .*allnoconfig"
	want_line "$FAKE/calls" "ARCH=um .* linux\$"
	rm "$FAKE/calls"
	want_status 0 "$linux" --cached
	want_line "$work/out" "^$work/cache/kmm/tree-[0-9a-f]{12}/linux\$"
	want_lines "$work/err" 0
	[ ! -e "$FAKE/calls" ]
	CC=cc want_status 0 "$linux" --keep "$work/keep"
	[ -e "$FAKE/calls" ] || [ "$(cc --version | head -n 1)" = "$(gcc --version | head -n 1)" ]
}

our_files_are_laid_over_a_source_that_stays() {
	reset
	export LINUX_SOURCE="$work/tree"
	want_status 0 "$linux" --keep "$work/keep"
	cmp "$top/bench/linux/main.c" "$work/keep/over/mm/kmm/main.c"
	cmp "$top/bench/suites/loops.h" "$work/keep/over/mm/kmm/loops.h"
	want_line "$work/keep/over/mm/Makefile" "^obj-y \\+= kmm/\$"
	want_line "$work/keep/over/mm/Makefile" "^# mm/Makefile\$"
	[ "$(cat "$work/tree/mm/Makefile")" = "# mm/Makefile" ]
	[ ! -e "$work/tree/mm/kmm" ]
}

a_cut_unpack_is_done_again() {
	reset
	export LINUX_SOURCE="$work/linux-source-6.3.tar"
	tar -C "$work" -cf "$LINUX_SOURCE" tree
	mkdir -p "$work/keep/source"
	: >"$work/keep/source/Makefile"
	want_status 0 "$linux" --keep "$work/keep"
	cmp "$work/tree/mm/slub.c" "$work/keep/source/mm/slub.c"
	want_line "$work/err" 'unpacking'
	rm -rf "$work/cache"
	want_status 0 "$linux" --keep "$work/keep"
	if grep unpacking "$work/err"; then return 1; fi
	rm -rf "$work/cache"
	touch -d '2001-01-01' "$LINUX_SOURCE"
	: >"$work/keep/source/old"
	want_status 0 "$linux" --keep "$work/keep"
	want_line "$work/err" 'unpacking'
	[ ! -e "$work/keep/source/old" ]
}

what_killed_builds_left_is_removed() {
	reset
	mkdir -p "$work/cache/kmm/.build-99999999/out" "$work/cache/kmm/.build-$$"
	touch -d '2001-01-01' "$work/cache/kmm"/.build-*
	LINUX_SOURCE="$work/tree" want_status 0 "$linux" --keep "$work/keep"
	[ ! -e "$work/cache/kmm/.build-99999999" ]
	[ -e "$work/cache/kmm/.build-$$" ]
}

a_path_may_hold_spaces() {
	reset
	mkdir -p "$work/a b/bench" "$work/a b/scripts"
	cp "$linux" "$work/a b/scripts/linux"
	cp -R "$top/bench/linux" "$top/bench/suites" "$work/a b/bench/"
	LINUX_SOURCE="$work/tree" want_status 0 "$work/a b/scripts/linux" --keep "$work/keep"
	cmp "$top/bench/suites/tree_loop.h" "$work/keep/over/mm/kmm/tree_loop.h"
}

a_failed_build_says_the_first_error() {
	reset
	: >"$FAKE/fails"
	LINUX_SOURCE="$work/tree" want_status 2 "$linux" --keep "$work/keep"
	one_line "tree cannot be built: .*no such thing.*$work/keep/log"
	rm "$FAKE/fails"
	LINUX_SOURCE="$work/tree" want_status 2 "$linux" --cached
}

t "without the package it says so" without_the_package
t "--install without rights says what is missing" with_install_and_no_rights
t "what is there is not installed" what_is_there_is_not_installed
t "without a tool it says so" without_a_tool
t "a source that is none is refused" with_a_source_that_is_none
t "without a compiler it says so" without_a_compiler
t "a compiler of two words is one" a_compiler_of_two_words_is_one
t "without memory or disk it says so" without_memory_or_disk
t "wrong arguments are refused" with_wrong_arguments
t "--cached never builds" cached_never_builds
t "it is built once" it_is_built_once
t "our files are laid over a source that stays as it is" our_files_are_laid_over_a_source_that_stays
t "a cut unpack is done again" a_cut_unpack_is_done_again
t "what killed builds left is removed" what_killed_builds_left_is_removed
t "a path may hold spaces" a_path_may_hold_spaces
t "a failed build says the first error" a_failed_build_says_the_first_error
tap_done
