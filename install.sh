#!/bin/sh
# Puts the router for this machine into ~/.local/bin, and what shells complete and its manual page into ~/.local/share. Needs no root, and
# replaces no program but an older router.
#
#   ROUTER_RELEASES=<URL or folder of a release> sh install.sh
#
# ROUTER_RELEASES     where the files of a release (`make release`) are, SHA256SUMS among them
# ROUTER_INSTALL_DIR  where the router goes; default ~/.local/bin
# ROUTER_VERSION      which one, where there are several
# ROUTER_TARGET       another build than the one that suits this machine, such as linux-x64-baseline
set -eu

say() { printf 'install: %s\n' "$*"; }
fail() {
	printf 'install: %s\n' "$*" >&2
	exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# The end of the name of the build for this machine.
target() {
	case $(uname -s) in
	Linux) os=linux ;;
	Darwin) os=darwin ;;
	MINGW* | MSYS* | CYGWIN*) fail "on Windows download the file that ends with windows-x64.exe, and check its sum" ;;
	*) fail "there is no build for $(uname -s); set ROUTER_TARGET if one of another system runs here" ;;
	esac
	case $(uname -m) in
	x86_64 | amd64) arch=x64 ;;
	aarch64 | arm64) arch=arm64 ;;
	*) fail "there is no build for $(uname -m); there are x86_64 and arm64" ;;
	esac
	# A shell that macOS translates for Intel is told that the machine is one.
	if [ "$os" = darwin ] && [ "$(sysctl -n sysctl.proc_translated 2>/dev/null || echo 0)" = 1 ]; then arch=arm64; fi
	found=$os-$arch
	if [ "$os" = linux ]; then
		if is_musl; then found=$found-musl; fi
		if [ "$arch" = x64 ] && ! grep -q -w avx2 /proc/cpuinfo 2>/dev/null; then found=$found-baseline; fi
	fi
	printf '%s\n' "$found"
}

# Loaders of both may be there (Debian has a package of musl, Alpine one of glibc's): ldd is the system's own.
is_musl() {
	if has ldd; then
		case $(ldd --version 2>&1 || true) in
		*musl*) return 0 ;;
		*GLIBC* | *GNU* | *glibc*) return 1 ;;
		esac
	fi
	for loader in /lib/ld-musl-*.so.1; do
		[ -e "$loader" ] && return 0
	done
	return 1
}

# fetch NAME FILE: a file of the release.
fetch() {
	case $releases in
	http://* | https://*)
		if has curl; then
			curl -fsSL -o "$2" "$releases/$1" || fail "$releases/$1 can't be fetched (curl ended with $?)"
		elif has wget; then
			wget -q -O "$2" "$releases/$1" || fail "$releases/$1 can't be fetched (wget ended with $?)"
		else
			fail "neither curl nor wget is on PATH; install one, or download the release and set ROUTER_RELEASES to its folder"
		fi
		;;
	*)
		[ -f "$releases/$1" ] || fail "there is no $1 in $releases, where ROUTER_RELEASES points"
		cp "$releases/$1" "$2"
		;;
	esac
}

# The SHA-256 sum of a file, in hexadecimal.
digest_of() {
	if has sha256sum; then
		sha256sum "$1" | cut -d ' ' -f 1
	else
		shasum -a 256 "$1" | cut -d ' ' -f 1
	fi
}

# A router of any version holds the name of a header that it answers with.
is_ours() { [ -f "$1" ] && LC_ALL=C grep -q x-router-overhead-ms "$1"; }

# Whether a name in SHA256SUMS is the artifact to install.
is_wanted() {
	if [ -n "${ROUTER_VERSION:-}" ]; then
		[ "$1" = "router-$ROUTER_VERSION-$wanted" ]
	else
		case $1 in
		*/*) return 1 ;;
		router-*-"$wanted") return 0 ;;
		*) return 1 ;;
		esac
	fi
}

releases=${ROUTER_RELEASES:-}
[ -n "$releases" ] || fail "set ROUTER_RELEASES to the URL or the folder of a release: the one that holds SHA256SUMS"
releases=${releases#file://}
releases=${releases%/}
has sha256sum || has shasum || fail "neither sha256sum nor shasum is on PATH, and nothing is installed unchecked"
if [ -n "${ROUTER_INSTALL_DIR:-}" ]; then
	directory=$ROUTER_INSTALL_DIR
else
	directory=${HOME:?install: HOME is not set; set ROUTER_INSTALL_DIR}/.local/bin
fi
wanted=${ROUTER_TARGET:-}
[ -n "$wanted" ] || wanted=$(target)

mkdir -p "$directory" 2>/dev/null || fail "$directory can't be made; set ROUTER_INSTALL_DIR to a folder of yours"
[ -w "$directory" ] || fail "$directory can't be written; set ROUTER_INSTALL_DIR to a folder of yours"
directory=$(cd "$directory" && pwd)
place=$directory/router
if [ -e "$place" ] || [ -L "$place" ]; then
	is_ours "$place" || fail "$place is another program and stays; set ROUTER_INSTALL_DIR to another folder, or remove it"
fi

# Beside its place, so that the last step is one rename.
scratch=$(mktemp -d "$directory/.router-install.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fetch SHA256SUMS "$scratch/sums"
file=
expected=
others=
while read -r digest name; do
	# sha256sum marks binary files with a star.
	name=${name#\*}
	if is_wanted "$name"; then
		[ -z "$file" ] || fail "there are several: $file and $name; set ROUTER_VERSION"
		file=$name
		expected=$digest
	else
		case $name in router-*-*) others="$others $name" ;; esac
	fi
done <"$scratch/sums"
[ -n "$file" ] || fail "there is no router ${ROUTER_VERSION:+$ROUTER_VERSION }for $wanted in $releases; there are:${others:- none}"

if [ -f "$place" ] && [ "$(digest_of "$place")" = "$expected" ]; then
	say "$place is $file already"
else
	say "fetching $file"
	fetch "$file" "$scratch/router"
	actual=$(digest_of "$scratch/router")
	[ "$actual" = "$expected" ] ||
		fail "$file has the wrong sum: $actual, and SHA256SUMS says $expected. Nothing was installed; try again, or ask whoever made the release"
	chmod 755 "$scratch/router"
	"$scratch/router" --version >/dev/null 2>"$scratch/words" || {
		code=$?
		hint=
		case $wanted in *musl*) hint="; it needs musl 1.2.4 and libstdc++ (Alpine 3.18: apk add libstdc++)" ;; esac
		fail "$file does not start here (it ended with $code: $(head -n 1 "$scratch/words"))$hint. Nothing was installed"
	}
	mv -f "$scratch/router" "$place"
	say "$place is $file"
fi

is_written_by_ours() { grep -q 'ritten by .router ' "$1" 2>/dev/null; }

# own FILE WORD...: has the router write what it says of itself there. What another program has put there stays, and an older router has none.
own() {
	if [ -e "$1" ] && ! is_written_by_ours "$1"; then return 0; fi
	written=$1
	shift
	"$place" "$@" >"$scratch/written" 2>/dev/null || return 0
	is_written_by_ours "$scratch/written" && mkdir -p "${written%/*}" 2>/dev/null && mv -f "$scratch/written" "$written" 2>/dev/null || return 0
}

# Where shells and man look beside a folder of programs.
case $directory in
*/bin)
	share=${directory%/bin}/share
	own "$share/bash-completion/completions/router" completions bash
	own "$share/zsh/site-functions/_router" completions zsh
	own "$share/fish/vendor_completions.d/router.fish" completions fish
	own "$share/man/man1/router.1" man
	;;
esac

case :$PATH: in
*:"$directory":*)
	first=$(command -v router || true)
	[ "$first" = "$place" ] || say "on your PATH another router comes first: $first"
	;;
*) say "$directory is not on your PATH; add it, or call $place" ;;
esac
