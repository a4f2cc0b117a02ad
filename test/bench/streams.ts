/**
 * The load for streams whose events have pauses between them, which wrk cannot time, a process of its own:
 * `BENCH_BODY=FILE … bun streams.ts URL CONNECTIONS SECONDS`. Every event carries the time at which the upstream sent
 * it, so that what is measured is its way. Says `open` when all streams have begun; then it counts for SECONDS.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "bun";
import type { Load } from "./client.ts";
import { quantile } from "./measure.ts";
import { STAMP_DIGITS, TOKENS } from "./wire.ts";

const [, , address = "", connections = "", seconds = ""] = process.argv;
const url = new URL(address);
const body = readFileSync(process.env["BENCH_BODY"] ?? "");
const call = Buffer.concat([
	Buffer.from(
		`POST ${url.pathname} HTTP/1.1\r\nhost: ${url.host}\r\ncontent-type: application/json\r\n` +
			`authorization: Bearer ${process.env["BENCH_KEY"]}\r\ncontent-length: ${body.length}\r\n\r\n`,
	),
	body,
]);

interface Stream {
	/** Of the present answer: whether its first bytes are there, and how many tokens came. */
	begun: boolean;
	tokens: number;
	/** What may be the beginning of a mark, from the last read. */
	rest: string;
	/** Whether the last event has come, and only the end of the body is missing. */
	closing: boolean;
	/** Counted as failed already. */
	failed: boolean;
}

const MARK = '"content":" ';
const NEEDED = MARK.length + STAMP_DIGITS;
const DONE = "data: [DONE]";
const delays: number[] = [];
let isCounting = false;
let isOver = false;
let failed = 0;
let begun = 0;
let allBegun = () => {};

function ask(socket: Socket<Stream>): void {
	socket.data = { begun: false, tokens: 0, rest: "", closing: false, failed: false };
	// A megabyte may not fit in at once, but these requests are of a kilobyte.
	if (socket.write(call) < call.length) throw new Error("streams: the request did not fit into the socket");
}

function fail(socket: Socket<Stream>, why: string): void {
	if (isOver || socket.data.failed) return;
	socket.data.failed = true;
	if (failed++ === 0) console.error(`streams: ${why}`);
	if (failed + begun >= Number(connections)) allBegun();
	socket.terminate();
}

const now = () => performance.timeOrigin + performance.now();

function read(socket: Socket<Stream>, bytes: Buffer): void {
	const { data } = socket;
	const at = now();
	let text = data.rest + bytes.toString("latin1", 0, bytes.length);
	if (!data.begun) {
		if (!text.startsWith("HTTP/1.1 200")) {
			fail(socket, `an answer that is no 200: ${text.slice(0, 500)}`);
			return;
		}
		data.begun = true;
	}
	let from = 0;
	for (let mark = text.indexOf(MARK); mark >= 0; mark = text.indexOf(MARK, from)) {
		if (text.length < mark + NEEDED) break;
		from = mark + NEEDED;
		if (data.tokens++ === 0 && begun < Number(connections) && ++begun === Number(connections)) allBegun();
		if (isCounting) delays.push(at - Number(text.slice(mark + MARK.length, from)) / 1000);
	}
	text = text.slice(from);
	if (text.includes(DONE)) data.closing = true;
	if (data.closing && text.endsWith("\r\n0\r\n\r\n")) {
		if (data.tokens === TOKENS) ask(socket);
		else fail(socket, `a stream of ${data.tokens} tokens`);
		return;
	}
	data.rest = text.slice(-Math.max(NEEDED, DONE.length + 16));
}

/** Opened a hundred at a time: a listen backlog is finite. */
const BATCH = 100;
const opened = new Promise<void>((resolve) => {
	allBegun = resolve;
});
for (let left = Number(connections); left > 0; left -= BATCH) {
	await Promise.all(
		Array.from({ length: Math.min(left, BATCH) }, () =>
			Bun.connect<Stream>({
				hostname: url.hostname,
				port: Number(url.port),
				data: { begun: false, tokens: 0, rest: "", closing: false, failed: false },
				socket: {
					open: ask,
					data: read,
					close: (socket) => fail(socket, "a connection was closed"),
					error: (socket, error) => fail(socket, error.message),
				},
			}),
		),
	);
}
await Promise.race([opened, Bun.sleep(20_000)]);
console.log("open");
const began = performance.now();
isCounting = true;
await Bun.sleep(Number(seconds) * 1000);
isCounting = false;
isOver = true;
// Of no event there is no quantile, and JSON has no NaN.
const [p50 = 0, p99 = 0, p999 = 0] = [0.5, 0.99, 0.999].map((share) => quantile(delays, share) || 0);
const load: Load = {
	calls: delays.length,
	// Some never began without having failed: they hang.
	failed: Math.max(failed, Number(connections) - begun),
	seconds: (performance.now() - began) / 1000,
	p50,
	p99,
	p999,
};
console.log(JSON.stringify(load));
process.exit(0);
