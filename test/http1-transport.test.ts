/** HTTP/1.1 over connections of our own: what is sent, which connections are used again, and every way one ends. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { UpstreamAnswer } from "../src/providers/provider.ts";
import { http1Transport } from "../src/proxy/net/http1.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, neverAnswers, resetsBeforeHeaders } from "./kit/faults.ts";
import { fullListener } from "./kit/full-listener.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());
let transport = http1Transport();
beforeEach(() => {
	transport = http1Transport();
});

const never = new AbortController().signal;
const send = (more: { body?: string; headers?: Record<string, string>; path?: string } = {}, signal = never) => {
	const { path = "/v1/x?y=z", headers = {}, body } = more;
	return transport.send({ url: upstream.origin + path, headers, ...(body === undefined ? {} : { body }) }, signal);
};
async function text({ body }: UpstreamAnswer): Promise<string> {
	const pieces: Uint8Array[] = [];
	for (let piece = await body.read(); piece; piece = await body.read()) pieces.push(piece);
	return Buffer.concat(pieces).toString();
}
const fate = (promise: Promise<unknown>) =>
	promise.then(
		() => "it went well",
		(error: Error & { code?: string }) => error.code ?? error.message,
	);
/** Lets what the sockets have to say be heard. */
const settled = () => Bun.sleep(100);
const raw =
	(wire: string, after: (connection: Parameters<Script>[0]) => void = () => {}): Script =>
	async (connection) => {
		await connection.write(wire);
		after(connection);
	};

describe("a request", () => {
	test("has its method, target, host, headers and length; the body arrives byte for byte", async () => {
		upstream.run(answers("200 OK", "fine"));
		const body = '{"text":"grüße 🙂"}';
		expect(await text(await send({ body, headers: { "x-one": "1", authorization: "Bearer k" } }))).toBe("fine");
		const [request] = upstream.received;
		expect([request?.method, request?.path, request?.body]).toEqual(["POST", "/v1/x?y=z", body]);
		expect(request?.headers.get("host")).toBe(new URL(upstream.origin).host);
		expect(request?.headers.get("x-one")).toBe("1");
		expect(request?.headers.get("content-length")).toBe(String(Buffer.byteLength(body)));
	});

	test("without a body is a GET", async () => {
		upstream.run(answers("200 OK", "fine"));
		await text(await send());
		expect(upstream.received[0]?.method).toBe("GET");
	});

	test("of many megabytes arrives whole, however slowly it is taken", async () => {
		upstream.run(answers("200 OK", "fine"));
		const body = "0123456789".repeat(3_000_000);
		expect(await text(await send({ body }))).toBe("fine");
		expect(Bun.hash(upstream.received[0]?.body ?? "")).toBe(Bun.hash(body));
	});

	test.each([
		["ASCII", "word "],
		["ISO 8859-1", "grüße "],
		["more", "模型 🙂 "],
	])("of 200 KB of %s has the length that it says", async (_, word) => {
		upstream.run(answers("200 OK", "fine"));
		const body = word.repeat(200_000 / word.length);
		expect(await text(await send({ body }))).toBe("fine");
		const [request] = upstream.received;
		expect(request?.body === body).toBe(true);
		expect(request?.headers.get("content-length")).toBe(String(Buffer.byteLength(body)));
	});

	test("has its own headers, whatever the ones before it to that address had", async () => {
		upstream.run(answers("200 OK", "fine"));
		const sets: Record<string, string>[] = [
			{ "x-same": "1", "x-id": "a", "x-once": "1" },
			{ "x-same": "1", "x-id": "b" },
			{ "x-id": "b", "x-new": "caf\xe9" },
			{},
			{ "x-same": "1", "x-id": "c", "x-once": "1" },
		];
		for (const headers of sets) await text(await send({ headers }));
		expect(await fate(send({ headers: { "x-same": "1", "x-id": "d\r\nx-evil: 1" } }))).toContain("x-id");
		await text(await send({ headers: sets[1]! }));
		const own = upstream.received.map(({ headers }) => [...headers].filter(([name]) => name.startsWith("x-")));
		const sorted = (headers: Record<string, string>) => Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
		expect(own.map((each) => sorted(Object.fromEntries(each)))).toEqual([...sets, sets[1]!].map(sorted));
	});

	test.each(["a\r\nx-evil: 1", "a\nb", "a\0b", "emoji 🙂"])("is not made of the header value %j", async (value) => {
		upstream.run(answers("200 OK", "fine"));
		expect(await fate(send({ headers: { "x-name": value } }))).toContain("x-name");
		expect(upstream.received).toHaveLength(0);
	});

	test("to an address with a user and a password carries them as Basic, unless there is a key", async () => {
		upstream.run(answers("200 OK", "fine"));
		const url = upstream.origin.replace("http://", "http://us%20er:p%3Ass@");
		await text(await transport.send({ url, headers: {} }, never));
		await text(await transport.send({ url, headers: { authorization: "Bearer k" } }, never));
		const sent = upstream.received.map(({ headers }) => headers.get("authorization"));
		expect(sent).toEqual([`Basic ${btoa("us er:p:ss")}`, "Bearer k"]);
	});
});

describe("an answer that comes at once", () => {
	const JSON_TEXT = '{"text":"grüße 🙂"}';
	const length = Buffer.byteLength(JSON_TEXT);
	test.each([
		["with a length", `content-length: ${length}\r\n\r\n${JSON_TEXT}`],
		["in chunks", `transfer-encoding: chunked\r\n\r\n${length.toString(16)}\r\n${JSON_TEXT}\r\n0\r\n\r\n`],
		["with a byte order mark", `content-length: ${length + 3}\r\n\r\n\ufeff${JSON_TEXT}`],
	])("%s is there as text, and as bytes for those who want these", async (_, wire) => {
		upstream.run(raw(`HTTP/1.1 200 OK\r\n${wire}`));
		const answers = await Promise.all([send(), send()]);
		expect(await answers[0].whole?.text()).toBe(JSON_TEXT);
		expect(new TextDecoder().decode(Buffer.from(await text(answers[1])))).toBe(JSON_TEXT);
	});

	test("of none is empty", async () => {
		upstream.run(raw("HTTP/1.1 204 No Content\r\n\r\n"));
		const answer = await send();
		expect([await answer.whole?.text(), await answer.body.read()]).toEqual(["", undefined]);
	});

	test("of bytes that are no UTF-8 reads as it does elsewhere", async () => {
		const bytes = Buffer.from([0x7b, 0xff, 0xe2, 0x82, 0x22, 0xed, 0xa0, 0x80, 0xf0, 0x9f, 0x99]);
		upstream.run(async (connection) => {
			await connection.write(Buffer.concat([Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n"), bytes]));
		});
		expect(await (await send()).whole?.text()).toBe(new TextDecoder().decode(bytes));
	});
});

describe("a connection", () => {
	test("is used again for the next call, and a second one is opened only while it is busy", async () => {
		upstream.run(answers("200 OK", "fine"));
		for (let call = 0; call < 3; call++) await text(await send());
		expect(upstream.accepted).toBe(1);
		await Promise.all([send(), send()].map(async (answer) => text(await answer)));
		expect(upstream.accepted).toBe(2);
	});

	test.each([
		["its upstream says close", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"],
		["bytes stand behind the answer", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!"],
		[
			"the answer has two kinds of length",
			"HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
		],
	])("is not used again where %s", async (_, wire) => {
		upstream.run(raw(wire));
		await text(await send());
		await text(await send());
		expect(upstream.accepted).toBe(2);
	});

	test("on which bytes come unasked, after its answer, is not used again", async () => {
		upstream.run(raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", (c) => void c.write("HTTP/1.1 200 OK\r\n")));
		await text(await send());
		await settled();
		await text(await send());
		expect(upstream.accepted).toBe(2);
	});

	test.each(["end", "destroy"] as const)(
		"that its upstream closes while idle (%s) costs the next call nothing",
		async (how) => {
			upstream.run(raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", (c) => c[how]()));
			await text(await send());
			await settled();
			expect(await text(await send())).toBe("hi");
			expect(upstream.accepted).toBe(2);
		},
	);

	describe("that is idle", () => {
		let time = 0;
		beforeEach(() => {
			upstream.run(answers("200 OK", "fine"));
			transport = http1Transport({ idleMs: 1000, now: () => time });
		});
		/** Bun looks at the timers of all sockets at once, every four seconds. */
		async function sweep() {
			const { promise, resolve } = Promise.withResolvers<void>();
			const { hostname, port } = new URL(upstream.origin);
			const socket = await Bun.connect({
				hostname,
				port: Number(port),
				socket: { data() {}, timeout: () => resolve() },
			});
			socket.timeout(1);
			await promise;
			socket.end();
			await settled();
		}

		test("for longer than it may be is not used again, and closed", async () => {
			const next = upstream.next();
			await text(await send());
			time += 1001;
			await text(await send());
			expect(upstream.accepted).toBe(2);
			await (await next).closed;
		});

		test("for longer than it may be is closed without a further call", async () => {
			const next = upstream.next();
			await text(await send());
			time += 1001;
			await (await next).closed;
		}, 20_000);

		test("for less stays, whenever the timers of all sockets are looked at", async () => {
			await text(await send());
			await sweep();
			time += 999;
			await sweep();
			await text(await send());
			time += 999;
			await text(await send());
			// Two are those of the sweeps.
			expect(upstream.accepted).toBe(3);
		}, 20_000);

		test("no more, but waits for an answer, stays however long that takes", async () => {
			await text(await send());
			upstream.run(async (connection) => {
				time += 1001;
				await sweep();
				await answers("200 OK", "late")(connection);
			});
			expect(await text(await send())).toBe("late");
			expect(await text(await send())).toBe("late");
		}, 20_000);
	});

	test("that was given up is closed, and the upstream hears of it", async () => {
		for (const script of [neverAnswers, raw("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhi")]) {
			upstream.run(script);
			const next = upstream.next();
			const client = new AbortController();
			const answer = send({}, client.signal).then(text);
			const connection = await next;
			await settled();
			client.abort(new Error("left"));
			expect(await fate(answer)).toBe("left");
			await connection.closed;
		}
	});

	test("is not even opened for a call that was given up", async () => {
		upstream.run(answers("200 OK", "fine"));
		expect(await fate(send({}, AbortSignal.abort(new Error("left"))))).toBe("left");
		await settled();
		expect(upstream.accepted).toBe(0);
	});
});

describe("an upstream that fails", () => {
	test("by not being there is ECONNREFUSED", async () => {
		const gone = startFaultUpstream();
		gone.stop();
		expect(await fate(transport.send({ url: gone.origin, headers: {} }, never))).toBe("ECONNREFUSED");
	});

	test("by an unknown name is ENOTFOUND", async () => {
		expect(await fate(transport.send({ url: "http://nowhere.invalid/", headers: {} }, never))).toBe("ENOTFOUND");
	});

	test("by resetting before it answers is ECONNRESET", async () => {
		upstream.run(resetsBeforeHeaders);
		expect(await fate(send())).toBe("ECONNRESET");
	});

	test.each([
		["in its head", "HTTP/1.1 200 OK\r\ncontent-le"],
		["in a body with a length", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi"],
		["in a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhi"],
	])("by ending cleanly %s is ECONNRESET", async (_, wire) => {
		upstream.run(raw(wire, (c) => c.end()));
		expect(await fate(send().then(text))).toBe("ECONNRESET");
	});

	test("by ending a body without a length is the end of it; by resetting there is none", async () => {
		const wire = "HTTP/1.1 200 OK\r\n\r\nhi";
		upstream.run(raw(wire, (c) => c.end()));
		expect(await text(await send())).toBe("hi");
		upstream.run(
			raw(wire, (c) => {
				setTimeout(() => c.destroy(), 20);
			}),
		);
		expect(await fate(send().then(text))).toBe("ECONNRESET");
	});

	test("by answering before it has the whole request is heard, and its connection left", async () => {
		const body = "x".repeat(40_000_000);
		const server = Bun.listen({
			hostname: "127.0.0.1",
			port: 0,
			socket: {
				open(socket) {
					socket.pause();
					socket.write("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig");
				},
				data() {},
			},
		});
		const answer = await transport.send({ url: `http://127.0.0.1:${server.port}/`, headers: {}, body }, never);
		expect([answer.status, await text(answer)]).toEqual([413, "big"]);
		server.stop(true);
	});
});

test("an upstream that sends faster than it is read is held back", async () => {
	const megabyte = "x".repeat(1_000_000);
	upstream.run(async (connection) => {
		await connection.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
		for (let sent = 0; sent < 60; sent++) {
			if (!(await connection.write(`${megabyte.length.toString(16)}\r\n${megabyte}\r\n`))) return;
		}
		await connection.write("0\r\n\r\n");
	});
	const answer = await send();
	await answer.body.read();
	let before = -1;
	for (let look = 0; look < 50 && upstream.sentBytes !== before; look++) {
		before = upstream.sentBytes;
		await Bun.sleep(50);
	}
	// What the kernel's buffers of both sides take: 4 to 10 MB on Linux by default.
	expect(upstream.sentBytes).toBeLessThan(30_000_000);
	expect(upstream.sentBytes).toBe(before);
	let size = 0;
	for (let piece = await answer.body.read(); piece; piece = await answer.body.read()) size += piece.length;
	expect(size).toBeGreaterThan(59_000_000);
});

test("of two thousand calls at once each gets its own answer, over connections that are then used again", async () => {
	// Bun counts idle seconds in steps of four that all sockets share: with the default the idle ones may end between the rounds.
	transport = http1Transport({ idleMs: 60_000 });
	const accepted = new Set<number>();
	const echo = Bun.serve({
		hostname: "127.0.0.1",
		port: 0,
		async fetch(request, server) {
			accepted.add(server.requestIP(request)!.port);
			await Bun.sleep(1);
			return new Response(`${new URL(request.url).pathname} ${await request.text()}`);
		},
	});
	for (let round = 0; round < 2; round++) {
		const calls = Array.from({ length: 2000 }, async (_, at) => {
			const id = `/${round}/${at}`;
			const url = `http://127.0.0.1:${echo.port}${id}`;
			const answer = await transport.send(
				{ url, headers: { "x-id": id }, body: id },
				AbortSignal.timeout(20_000),
				20_000,
			);
			return (await text(answer)) === `${id} ${id}`;
		});
		expect(new Set(await Promise.all(calls))).toEqual(new Set([true]));
	}
	// So many are kept while idle.
	expect(accepted.size).toBeLessThanOrEqual(2 * 2000 - 512);
	await echo.stop(true);
}, 30_000);

test("names with several addresses and literal ones of either family are reached", async () => {
	for (const [hostname, url] of [
		["127.0.0.1", "http://localhost"],
		["::1", "http://localhost"],
		["::1", "http://[::1]"],
	] as const) {
		const server = Bun.serve({ hostname, port: 0, fetch: () => new Response("here") });
		const answer = await transport.send({ url: `${url}:${server.port}/`, headers: {} }, never);
		expect(await text(answer)).toBe("here");
		await server.stop(true);
	}
});

test("a connection that does not come about in time is ETIMEDOUT", async () => {
	await using closed = await fullListener();
	expect(await fate(transport.send({ url: closed.url, headers: {} }, AbortSignal.timeout(10_000), 200))).toBe(
		"ETIMEDOUT",
	);
}, 60_000);
