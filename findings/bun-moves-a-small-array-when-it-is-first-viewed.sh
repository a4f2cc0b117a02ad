#!/bin/sh
# The first view of a small typed array moves its bytes out of JavaScriptCore's heap, and has an ArrayBuffer made.
#
# Seen with bun 1.4.5 on 2026-11-30.
# The guess: that `subarray` makes no copy, so that it costs less than to copy 200 bytes. What is so: up to 1,000 bytes a typed array's memory lies
# in the heap, beside the object, also that of the Buffers that sockets hand out. `subarray` (and whoever asks for `.buffer`) has an ArrayBuffer made, the
# bytes copied into it and the object given a butterfly that names it; all of that is collected later. A copy of 170 bytes with `allocUnsafe` and
# `copy` took 55 ns, `subarray` 200; of 200 events that came each in a read of its own, these views were two fifths of what they cost.
# Output seen:
#   a Buffer of 200 bytes: in the heap; once it was viewed: in an ArrayBuffer
#   a Buffer of a socket: in the heap
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --no-audit --no-fund --silent bun@1.4.5
cat >seen.js <<'JS'
import { jscDescribe } from "bun:jsc";
const place = (bytes) => (/butterfly \(nil\)/.test(jscDescribe(bytes)) ? "in the heap" : "in an ArrayBuffer");
const bytes = Buffer.alloc(200, "x");
const before = place(bytes);
bytes.subarray(10);
console.log(`a Buffer of 200 bytes: ${before}; once it was viewed: ${place(bytes)}`);
const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { open: (socket) => socket.write(bytes), data() {} } });
const data = (_, received) => {
	console.log(`a Buffer of a socket: ${place(received)}`);
	process.exit(0);
};
await Bun.connect({ hostname: "127.0.0.1", port: server.port, socket: { data } });
JS
node_modules/.bin/bun seen.js | tee seen
printf '%s\n' 'a Buffer of 200 bytes: in the heap; once it was viewed: in an ArrayBuffer' 'a Buffer of a socket: in the heap' |
	cmp -s - seen || { echo "changed: see above" >&2; exit 1; }
