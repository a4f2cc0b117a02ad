/** Outgoing fetch: what Bun's client does unasked, seen from the upstream's socket. */

import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { gzipSync } from "bun";
import { clientError } from "./kit/contract.ts";
import { goodStream } from "./kit/events.ts";
import { eventData } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, staleKeepAlive, streams } from "./kit/faults.ts";
import { head } from "./kit/http-request.ts";
import { rawClient } from "./kit/raw-client.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const faults = startFaultUpstream();
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({ env: { LOCAL_AGENT_URL: faults.origin } });
});
afterAll(async () => {
	await router.stop();
	faults.stop();
});
afterEach(() => expect(faults.errors).toEqual([]));

const CHAT = "/v1/chat/completions";
const ANSWER =
	'{"id":"chatcmpl-kit","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"cost":0}}';
const call = { model: "local/m", messages: [{ role: "user", content: "hi" }] };
const ask = (more: object = {}) => post(router.url + CHAT, { ...call, ...more });

test.each([
	["whole", {}, answers("200 OK", ANSWER)],
	["streamed", { stream: true }, streams(goodStream())],
] as const)("trap: a POST on a keep-alive connection that went stale is sent again, %s", async (_, more, script) => {
	faults.run(staleKeepAlive(script));
	expect((await ask(more)).status).toBe(200);
	await router.idle();
	expect((await ask(more)).status).toBe(200);
});

test("trap: identity is asked for, and an upstream that compresses all the same is read", async () => {
	const zipped = gzipSync(ANSWER);
	faults.run(async (connection) => {
		const headers = {
			"content-type": "application/json",
			"content-encoding": "gzip",
			"content-length": String(zipped.length),
		};
		await connection.write(head("200 OK", headers));
		await connection.write(zipped);
	});
	const answer = await ask();
	expect(faults.received[0]?.headers.get("accept-encoding")).toBe("identity");
	expect(answer.text).toBe(ANSWER);
	expect(answer.headers.get("content-encoding")).toBeNull();
	expect(answer.headers.get("content-length")).toBe(String(ANSWER.length));
});

test("trap: an upstream that says gzip and sends none is a broken upstream, not an empty answer", async () => {
	faults.run(answers("200 OK", ANSWER, { "content-type": "application/json", "content-encoding": "gzip" }));
	const answer = await ask();
	expect(answer.status).toBe(502);
	expect(clientError(answer.text).type).toBe("upstream_error");
});

test("trap: hop-by-hop headers of the client end here, and its chunked body gets a length", async () => {
	faults.run(answers("200 OK", ANSWER));
	const body = JSON.stringify(call);
	const client = await rawClient(
		router.url,
		`POST ${CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n` +
			"connection: keep-alive, x-secret-hop\r\nx-secret-hop: 1\r\nte: trailers\r\nproxy-authorization: Basic eA==\r\n" +
			`cookie: a=b\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
	);
	await client.until(/"finish_reason":"stop"\}\],"usage"/);
	client.leave();
	const { headers, body: got } = faults.received[0]!;
	for (const name of ["transfer-encoding", "x-secret-hop", "te", "proxy-authorization", "cookie"]) {
		expect([name, headers.get(name)]).toEqual([name, null]);
	}
	expect(headers.get("content-length")).toBe(String(got.length));
	expect(JSON.parse(got)).toEqual({ ...call, model: "m" });
});

test("trap: hop-by-hop headers of the upstream end here", async () => {
	const hop = { "content-type": "application/json", "keep-alive": "timeout=1", trailer: "x", upgrade: "h2c" };
	faults.run(answers("200 OK", ANSWER, { ...hop, "x-of-the-vendor": "kept", "set-cookie": "a=b" }));
	const { headers } = await ask();
	for (const name of ["keep-alive", "trailer", "upgrade", "set-cookie"]) {
		expect([name, headers.get(name)]).toEqual([name, null]);
	}
	expect(headers.get("x-of-the-vendor")).toBe("kept");
});

test("a redirect is not followed: it would carry the provider's key elsewhere", async () => {
	const elsewhere = startFaultUpstream(answers("200 OK", ANSWER));
	try {
		faults.run(answers("307 Temporary Redirect", "", { location: `${elsewhere.origin}/v1/chat/completions` }));
		expect((await ask()).status).toBe(502);
		expect(elsewhere.received).toBeEmpty();
	} finally {
		elsewhere.stop();
	}
});

test("trap: HTTP_PROXY is for vendors, not for 127.0.0.1", async () => {
	const proxy = startFaultUpstream(answers("200 OK", ANSWER));
	const behind = await startRouter({
		env: {
			LOCAL_AGENT_URL: faults.origin,
			HTTP_PROXY: proxy.origin,
			OPENAI_BASE_URL: "http://vendor.invalid/v1",
			OPENAI_API_KEY: "sk-of-the-router",
		},
	});
	try {
		faults.run(answers("200 OK", ANSWER));
		expect((await post(behind.url + CHAT, call)).status).toBe(200);
		expect(proxy.received).toBeEmpty();
		expect((await post(behind.url + CHAT, { ...call, model: "openai/m" })).status).toBe(200);
		expect(proxy.received.map(({ path }) => path)).toEqual(["http://vendor.invalid/v1/chat/completions"]);
	} finally {
		await behind.stop();
		proxy.stop();
	}
});

test("streams that come in one write and in many read the same", async () => {
	const events = goodStream(20);
	faults.run(streams([events.join("")]));
	const one = await ask({ stream: true });
	faults.run(streams(events));
	const many = await ask({ stream: true });
	expect(eventData(one.text)).toEqual(eventData(many.text));
});
