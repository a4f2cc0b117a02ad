#!/bin/sh
# Bun's package for old x64 processors holds the same program as the one for new ones.
#
# Seen with @oven/bun-linux-x64 1.4.5 and @oven/bun-linux-x64-baseline 1.4.5 on 2026-11-29.
# The guess: the first needs AVX2 and is faster, the second is a build of its own that does without, so that a release has to offer
# both and an installer has to choose. What is so: both hold one file, byte for byte. Whoever compiles for both targets gets the same
# bytes twice, and whatever was measured of the one holds for the other.
# Output seen:
#   modern   f05d28a3862f4b84395c7fa32480b835dd47482e80b7e7a49a115227f0c06083
#   baseline f05d28a3862f4b84395c7fa32480b835dd47482e80b7e7a49a115227f0c06083
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true }' >package.json
# --force: either is refused by npm where the processor or the system is another one; neither is run here.
npm install --ignore-scripts --no-audit --no-fund --force --silent @oven/bun-linux-x64@1.4.5 @oven/bun-linux-x64-baseline@1.4.5
sum() { sha256sum "node_modules/@oven/$1/bin/bun" | cut -d ' ' -f 1; }
modern=$(sum bun-linux-x64)
baseline=$(sum bun-linux-x64-baseline)
echo "modern   $modern"
echo "baseline $baseline"
[ "$modern" = "$baseline" ] || { echo "changed: they are two programs now" >&2; exit 1; }
