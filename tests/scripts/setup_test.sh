#!/bin/sh
# SPDX-License-Identifier: MIT
# scripts/setup, with stand-ins for dpkg-query, apt-get, id and sudo that note how they were called.
. "${srcdir:-.}/tests/tap/tap.sh"

setup="$top/scripts/setup"
export FAKE="$work/state"
mkdir "$FAKE"

# The packages there are, as dpkg-query would say; apt-get install adds to them.
fake dpkg-query 'shift 3; for p; do grep -qx "$p" "$FAKE/installed" && echo "installed $p"; done; exit 1'
fake apt-get 'echo "apt-get $*" >>"$FAKE/calls"; [ -e "$FAKE/apt-fails" ] && exit 100
case " $* " in *" install "*) for p; do echo "$p"; done >>"$FAKE/installed" ;; esac; exit 0'
fake id 'cat "$FAKE/uid"'
fake sudo 'echo "sudo $*" >>"$FAKE/calls"; [ -e "$FAKE/sudo-fails" ] && exit 1; [ "$1" = -n ] && shift; exec "$@"'
real_path=$PATH
PATH="$work/bin:$PATH"

# reset UID PACKAGE...: a machine with just these packages
reset() {
	rm -f "$FAKE"/*
	echo "$1" >"$FAKE/uid"
	shift
	: >"$FAKE/calls"
	: >"$FAKE/installed"
	for package; do
		echo "$package" >>"$FAKE/installed"
	done
}

all_packages() {
	sed -n 's/#.*//; s/^\([a-z0-9][^ ]*\).*/\1/p' "$top/scripts/packages.debian"
}

nothing_missing() {
	reset 1000 $(all_packages)
	want_status 0 "$setup"
	want_lines "$FAKE/calls" 0
	want_lines "$work/err" 0
}

alternatives() {
	reset 1000 $(all_packages | sed 's/^gnuplot-nox$/gnuplot-qt/; s/^libmimalloc-dev$/libmimalloc2.0/')
	want_status 0 "$setup"
	want_lines "$work/err" 0
}

root_installs() {
	reset 0 $(all_packages | grep -v -e '^autoconf$' -e '^libhwloc-dev$')
	want_status 0 "$setup"
	want_line "$FAKE/calls" '^apt-get .*install -y --no-install-recommends autoconf libhwloc-dev$'
}

sudo_installs() {
	reset 1000 $(all_packages | grep -v '^automake$')
	want_status 0 "$setup"
	want_line "$FAKE/calls" '^sudo -n env DEBIAN_FRONTEND=noninteractive .*apt-get .*install .* automake$'
}

no_rights() {
	reset 1000 $(all_packages | grep -v -e '^automake$' -e '^libzstd-dev$')
	touch "$FAKE/sudo-fails"
	want_status 1 "$setup"
	want_lines "$work/err" 1
	want_line "$work/err" 'missing packages: automake libzstd-dev \(no rights'
	want_line "$FAKE/calls" '^sudo -n true$'
	want_lines "$FAKE/calls" 1
}

install_fails() {
	reset 0 $(all_packages | grep -v '^make$')
	touch "$FAKE/apt-fails"
	want_status 1 "$setup"
	want_line "$work/err" 'missing packages: make \('
}

optional_only() {
	reset 1000 $(all_packages | grep -v '^linux-perf$')
	touch "$FAKE/sudo-fails"
	want_status 0 "$setup"
	want_line "$work/err" 'not installed, so left out: linux-perf$'
}

check_never_installs() {
	reset 0
	want_status 1 "$setup" --check
	want_lines "$FAKE/calls" 0
	for package in $(sed '/^\[optional\]/,$d' "$top/scripts/packages.debian" | sed -n 's/^\([a-z][^ ]*\).*/\1/p'); do
		grep -Fq " $package " "$work/err"
	done
}

sections() {
	reset 0 $(all_packages | grep -v -e '^autoconf$')
	want_status 0 "$setup" build results
	want_lines "$FAKE/calls" 0
	want_status 2 "$setup" nonsense
	want_lines "$work/err" 1
}

# No dpkg-query, no apt-get: only what sh itself and the script need is in PATH.
elsewhere() {
	mkdir "$work/elsewhere"
	for tool in sh sed awk grep cut tr dirname cat id; do
		ln -s "$(PATH=$real_path command -v $tool)" "$work/elsewhere/"
	done
	PATH="$work/elsewhere"
	export PATH
	got=0
	sh "$setup" autotools >"$work/.out" 2>"$work/.err" </dev/null || got=$?
	PATH=$real_path
	want_line "$work/.err" '^kmm: setup: missing packages: autoconf automake libtool \(.*no apt-get'
	want_lines "$work/.err" 1
	[ $got = 1 ]
}

readme() {
	for package in $(all_packages); do
		grep -Eq "^    (.* )?$(echo "$package" | sed 's/+/[+]/g')( |$)" "$top/README.md" || {
			echo "README.md does not name $package"
			return 1
		}
	done
}

t "with nothing missing nothing is called" nothing_missing
t "an alternative package is good enough" alternatives
t "root installs what is missing and only that" root_installs
t "a user with sudo installs through it" sudo_installs
t "without rights it names what is missing in one line and stops" no_rights
t "when apt-get fails it names what is missing" install_fails
t "optional packages do not stop it" optional_only
t "--check never installs, and names every package" check_never_installs
t "only the sections asked for are looked at" sections
t "without apt-get it names what is missing and stops" elsewhere
t "the README names every package" readme
tap_done
