/** A request's body that is read while it is sent: whole, framed, held back, and given up. */
import { afterAll, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import type { BodyStream } from "../src/openai/call.ts";
import { http1Transport } from "../src/proxy/net/http1.ts";
import { readText } from "../src/proxy/net/read-body.ts";
import { startPassingUpstream } from "./kit/passing-upstream.ts";
import { until } from "./kit/until.ts";

const upstream = startPassingUpstream();
afterAll(() => upstream.stop());
const http = http1Transport();
const url = `${upstream.origin}/v1/x`;

/** A body of these pieces, and how many were read. */
function bodyOf(pieces: Iterable<Uint8Array>, length?: number): BodyStream & { count: number } {
	const left = pieces[Symbol.iterator]();
	return {
		length,
		count: 0,
		async read() {
			const { value } = left.next();
			if (value) this.count++;
			return value;
		},
	};
}
const pieces = Array.from({ length: 200 }, (_, at) => Buffer.alloc(1 + ((at * 7919) % 20_000), at));
const whole = Buffer.concat(pieces);
const send = (body: BodyStream, signal = new AbortController().signal) => http.send({ url, headers: {}, body }, signal);

function* endless(): Generator<Uint8Array> {
	for (;;) yield Buffer.alloc(1024 * 1024);
}

/** Resolves once no more of it is read: whatever the kernel takes, it ends. */
async function settles(body: { readonly count: number }): Promise<void> {
	let before = -1;
	await until(() => {
		const isSame = body.count === before && before > 0;
		before = body.count;
		return isSame;
	});
}

test.each([
	["of a known length", whole.length],
	["of a length that nobody knows", undefined],
])("a body %s arrives byte for byte, and the connection goes on", async (_, length) => {
	upstream.answer(() => new Response("ok"));
	for (let run = 0; run < 3; run++) {
		const answer = await send(bodyOf(pieces, length));
		expect(await readText(answer)).toBe("ok");
	}
	expect(upstream.received.map(({ body }) => body.equals(whole))).toEqual([true, true, true]);
	const [{ headers }] = upstream.received as [(typeof upstream.received)[0]];
	expect(headers.get("content-length")).toBe(length === undefined ? null : String(length));
});

test("each piece that leaves begins the deadline anew", async () => {
	upstream.answer(() => new Response("ok"));
	const { signal } = new AbortController();
	let count = 0;
	const deadline = Object.assign(signal, { rearm: () => void count++ });
	await readText(await send(bodyOf(pieces, whole.length), deadline));
	expect(count).toBeGreaterThanOrEqual(pieces.length);
});

test("an upstream that reads nothing holds the body back", async () => {
	// Nobody reads this socket.
	const server = Bun.listen({
		hostname: "127.0.0.1",
		port: 0,
		socket: { open: (socket) => socket.pause(), data: () => {} },
	});
	const body = bodyOf(endless());
	const controller = new AbortController();
	const sending = http.send({ url: `http://127.0.0.1:${server.port}/`, headers: {}, body }, controller.signal);
	sending.catch(() => undefined);
	await settles(body);
	expect(body.count).toBeLessThan(64);
	controller.abort(new Error("given up"));
	await expect(sending).rejects.toThrow("given up");
	server.stop(true);
});

test("an answer that comes before the body has left counts, and no more is read", async () => {
	let hasAnswered = false;
	const server = Bun.listen({
		hostname: "127.0.0.1",
		port: 0,
		socket: {
			data(socket) {
				if (!hasAnswered) socket.write("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig");
				hasAnswered = true;
			},
		},
	});
	const body = bodyOf(endless());
	const sending = { url: `http://127.0.0.1:${server.port}/`, headers: {}, body };
	const answer = await http.send(sending, new AbortController().signal);
	expect([answer.status, await readText(answer)]).toEqual([413, "big"]);
	await settles(body);
	server.stop(true);
});

test("a body that can't be read on fails the request with what it says", async () => {
	upstream.answer(() => new Response("ok"));
	const broken: BodyStream = {
		length: undefined,
		read: () => Promise.reject(new RouterError("duplicate_key", "twice")),
	};
	await expect(send(broken)).rejects.toMatchObject({ errorCode: "duplicate_key" });
	expect(await readText(await send(bodyOf(pieces)))).toBe("ok");
});
