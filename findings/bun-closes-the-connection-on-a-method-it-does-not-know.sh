#!/bin/sh
# `Bun.serve` closes a connection without a word on a method that it does not know.
#
# Seen with bun 1.4.5 on Linux 6.18 on 2026-12-01.
# The guess: that a request with a made-up method reaches `fetch`, as PROPFIND and QUERY do, or gets 501 as RFC 9110 asks (9.1). What is so: of a
# method that is none of its list (lower-case ones are none, either) nothing is heard and nothing is answered; a name that can't be a method has
# 400. Nothing in `Bun.serve` is told of it.
# Output seen:
#   PROPFIND: 200
#   QUERY: 200
#   FOO: closed
#   get: closed
#   G@T: 400
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --no-audit --no-fund --silent bun@1.4.5
cat >seen.js <<'JS'
const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("here") });
for (const method of ["PROPFIND", "QUERY", "FOO", "get", "G@T"]) {
	const { promise, resolve } = Promise.withResolvers();
	const socket = { data: (_, bytes) => resolve(String(bytes).split(" ")[1]), close: () => resolve("closed"), error() {} };
	const client = await Bun.connect({ hostname: "127.0.0.1", port: server.port, socket });
	client.write(`${method} / HTTP/1.1\r\nhost: x\r\n\r\n`);
	console.log(`${method}: ${await promise}`);
}
process.exit();
JS
node_modules/.bin/bun seen.js | tee seen
printf '%s\n' 'PROPFIND: 200' 'QUERY: 200' 'FOO: closed' 'get: closed' 'G@T: 400' |
	cmp -s - seen || { echo "changed: see above" >&2; exit 1; }
