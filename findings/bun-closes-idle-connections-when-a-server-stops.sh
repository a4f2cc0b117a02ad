#!/bin/sh
# `server.stop()` closes connections that are kept alive and idle, and resets what its listener has not accepted.
#
# Seen with bun 1.4.5 on Linux 6.18 on 2026-11-30.
# The guess: that `stop()`, which "stops listening" and "does not cancel in-flight requests", leaves a connection alone on which a client may be
# about to send its next request. What is so: it is closed at once; the client sees a reset for a request that nobody has read. With /dev/null
# in the place of the listener's descriptor nothing is accepted any more, and the connection answers on.
# Output seen:
#   stop(): the idle connection is closed
#   /dev/null in the listener's place: the idle connection answers, a new one is refused
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --no-audit --no-fund --silent bun@1.4.5
cat >seen.js <<'JS'
import { dlopen, ptr } from "bun:ffi";
import { closeSync, openSync, readdirSync } from "node:fs";
const { symbols } = dlopen("libc.so.6", {
	dup3: { args: ["i32", "i32", "i32"], returns: "i32" },
	getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
});
const ask = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
async function idle() {
	const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("here") });
	const answers = [];
	let isClosed = false;
	const socket = { data: (_, bytes) => answers.push(String(bytes)), close: () => (isClosed = true), error() {} };
	const client = await Bun.connect({ hostname: "127.0.0.1", port: server.port, socket });
	client.write(ask);
	while (answers.length === 0) await Bun.sleep(5);
	return { server, client, answers, closed: () => isClosed };
}
const stopped = await idle();
stopped.server.stop();
await Bun.sleep(300);
console.log(`stop(): the idle connection is ${stopped.closed() ? "closed" : "open"}`);
const kept = await idle();
const accepts = (descriptor) => {
	const [value, length] = [new Int32Array(1), new Uint32Array([4])];
	return symbols.getsockopt(descriptor, 1, 30, ptr(value), ptr(length)) === 0 && value[0] === 1;
};
const nothing = openSync("/dev/null", "r");
symbols.dup3(nothing, readdirSync("/proc/self/fd").map(Number).find(accepts), 0);
closeSync(nothing);
kept.client.write(ask);
await Bun.sleep(300);
const fresh = await Bun.connect({ hostname: "127.0.0.1", port: kept.server.port, socket: { data() {} } }).then(
	() => "accepted",
	() => "refused",
);
console.log(
	`/dev/null in the listener's place: the idle connection ${kept.answers.length === 2 ? "answers" : "is dead"}, a new one is ${fresh}`,
);
process.exit();
JS
node_modules/.bin/bun seen.js | tee seen
printf '%s\n' 'stop(): the idle connection is closed' "/dev/null in the listener's place: the idle connection answers, a new one is refused" |
	cmp -s - seen || { echo "changed: see above" >&2; exit 1; }
