/** HTTP/1.1 over TLS connections of our own: who is trusted, what is told of who is not, and that all else is as without TLS. */
import { afterAll, describe, expect, test } from "bun:test";
import type { UpstreamAnswer } from "../src/providers/provider.ts";
import { httpTransport } from "../src/proxy/net/transport.ts";
import { transportFailure } from "../src/proxy/net/transport-failure.ts";
import { certificate } from "./kit/certificate.ts";

const never = new AbortController().signal;
const pair = certificate("an authority of one's own");
const accepted = new Set<number>();
const stops: (() => unknown)[] = [];
afterAll(() => Promise.all(stops.map((stop) => stop())));

/** A server that tells what it was sent. */
function server(tls: { cert: string; key: string }, hostname = "127.0.0.1"): number {
	const running = Bun.serve({
		hostname,
		port: 0,
		tls,
		maxRequestBodySize: 2 ** 30,
		async fetch(request, server) {
			const { url, headers, method } = request;
			accepted.add(server.requestIP(request)?.port ?? 0);
			const path = new URL(url).pathname;
			if (path === "/large") return new Response("0123456789".repeat(300_000));
			if (path === "/stream") return new Response(slowly(), { headers: { "content-type": "text/event-stream" } });
			const size = (await request.arrayBuffer()).byteLength;
			return Response.json({ path, method, size, host: headers.get("host") });
		},
	});
	stops.push(() => running.stop(true));
	return running.port!;
}
async function* slowly() {
	for (let at = 0; at < 3; at++) {
		yield `data: ${at}\n\n`;
		await Bun.sleep(10);
	}
}
const port = server(pair);
const ask = (url: string, ca: string | undefined, body?: string, signal = never, connectMs = 5_000) =>
	httpTransport({ ca }).send({ url, headers: {}, ...(body === undefined ? {} : { body }) }, signal, connectMs);
const fate = (answer: Promise<UpstreamAnswer>) =>
	answer.then(
		({ status }) => status,
		(error) => transportFailure(error, false).message,
	);
async function text({ body }: UpstreamAnswer): Promise<string> {
	const pieces: Uint8Array[] = [];
	for (let piece = await body.read(); piece; piece = await body.read()) pieces.push(piece);
	return Buffer.concat(pieces).toString();
}

describe("refused is", () => {
	test("an authority that nobody knows, each time, and what to do is told", async () => {
		for (let round = 0; round < 2; round++) {
			for (const stranger of [undefined, certificate("another").cert]) {
				const message = await fate(ask(`https://localhost:${port}/`, stranger));
				expect(message).toMatch(/its certificate is not trusted \(\w+\): put its authority into ca_file/);
			}
		}
	});

	test.each([
		["another name", ["other.example"]],
		["a name above", ["*.localhost"]],
		["an address", ["127.0.0.1"]],
	])("a certificate for %s", async (_, hosts) => {
		const other = certificate("other", hosts);
		const url = `https://localhost:${server(other)}/`;
		expect(await fate(ask(url, other.cert))).toContain("its certificate is for another host");
	});

	test("a certificate for the name where an address is asked for", async () => {
		expect(await fate(ask(`https://127.0.0.1:${port}/`, pair.cert))).toContain("its certificate is for another host");
	});

	test("one that has expired", async () => {
		const old = certificate("old", ["localhost"], 2021);
		expect(await fate(ask(`https://localhost:${server(old)}/`, old.cert))).toContain("its certificate has expired");
	});

	test("what speaks no TLS; nothing of the request was sent to any of these", async () => {
		let received = "";
		const plain = Bun.listen({
			hostname: "127.0.0.1",
			port: 0,
			socket: {
				data(socket, bytes) {
					received += bytes.toString("latin1");
					socket.write("HTTP/1.1 400 Bad Request\r\n\r\n");
				},
			},
		});
		stops.push(() => plain.stop(true));
		expect(await fate(ask(`https://localhost:${plain.port}/secret`, pair.cert))).toContain("can't be reached");
		expect(received).not.toContain("secret");
		// The name that is asked for is in clear text, and what is spoken.
		expect(received).toContain("localhost");
		expect(received).toContain("\x08http/1.1");
		expect(accepted.size).toBe(0);
	});

	test("who takes the connection and never speaks, within the time that it may take", async () => {
		const silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
		stops.push(() => silent.stop(true));
		expect(await fate(ask(`https://localhost:${silent.port}/`, pair.cert, "{}", never, 200))).toContain(
			"no connection came about in time",
		);
	});

	test("who closes in the midst of it", async () => {
		const closing = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: (socket) => void socket.end() } });
		stops.push(() => closing.stop(true));
		expect(await fate(ask(`https://localhost:${closing.port}/`, pair.cert))).toContain("closed the connection");
	});

	test("a call that was given up meanwhile", async () => {
		const silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
		stops.push(() => silent.stop(true));
		const client = new AbortController();
		const answer = ask(`https://localhost:${silent.port}/`, pair.cert, "{}", client.signal).catch(String);
		await Bun.sleep(20);
		client.abort("left");
		expect(await answer).toBe("left");
	});
});

describe("trusted is", () => {
	test("a certificate for the name, of an authority in ca_file", async () => {
		const answer = await ask(`https://localhost:${port}/v1?x=y`, pair.cert, "{}");
		expect(JSON.parse((await answer.whole?.text()) ?? (await text(answer)))).toEqual({
			path: "/v1",
			method: "POST",
			size: 2,
			host: `localhost:${port}`,
		});
	});

	test("a certificate for the address that is asked for", async () => {
		const numbered = certificate("numbered", ["127.0.0.1"]);
		expect(await fate(ask(`https://127.0.0.1:${server(numbered)}/`, numbered.cert))).toBe(200);
	});
});

describe("over TLS, too,", () => {
	test("a connection is used again, once the answer on it has ended", async () => {
		accepted.clear();
		const transport = httpTransport({ ca: pair.cert });
		const send = () => transport.send({ url: `https://localhost:${port}/v1`, headers: {}, body: "{}" }, never, 5_000);
		for (let call = 0; call < 5; call++) await text(await send());
		expect(accepted.size).toBe(1);
		await Promise.all([send(), send()].map(async (answer) => text(await answer)));
		expect(accepted.size).toBe(2);
	});

	test.each(["word ", "grüße 🙂 "])("20 MB go, and 3 MB come, whole (%s)", async (word) => {
		const body = word.repeat(20_000_000 / word.length);
		const answer = await ask(`https://localhost:${port}/v1`, pair.cert, body);
		expect(JSON.parse(await text(answer)).size).toBe(Buffer.byteLength(body));
		const large = await ask(`https://localhost:${port}/large`, pair.cert);
		await Bun.sleep(50);
		expect((await text(large)) === "0123456789".repeat(300_000)).toBe(true);
	});

	test("a stream comes as it is sent", async () => {
		const answer = await ask(`https://localhost:${port}/stream`, pair.cert, "{}");
		expect(answer.headers.get("content-type")).toBe("text/event-stream");
		expect(await text(answer)).toBe("data: 0\n\ndata: 1\n\ndata: 2\n\n");
	});

	test("a connection that its upstream closes while idle costs the next call nothing", async () => {
		const brief = Bun.serve({
			hostname: "127.0.0.1",
			port: 0,
			tls: pair,
			fetch: () => new Response("fine", { headers: { connection: "keep-alive" } }),
			idleTimeout: 1,
		});
		stops.push(() => brief.stop(true));
		const transport = httpTransport({ ca: pair.cert });
		const request = { url: `https://localhost:${brief.port}/`, headers: {} };
		expect(await text(await transport.send(request, never, 5_000))).toBe("fine");
		await Bun.sleep(3_000);
		expect(await text(await transport.send(request, never, 5_000))).toBe("fine");
	});
});
