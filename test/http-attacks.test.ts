/** What no client of good will sends: broken HTTP, and bodies that are none. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { postBytes, rawClient } from "./kit/raw-client.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({ config: { keys: [{ name: "a", key: "test-key-1" }] } });
});
afterAll(() => router.stop());

const PATH = "/v1/chat/completions";
const BODY = '{"model":"dummy","messages":[{"role":"user","content":"hi"}]}';
const head = (lines: string, start = `POST ${PATH} HTTP/1.1`) =>
	`${start}\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer test-key-1\r\n${lines}`;
const length = `content-length: ${BODY.length}\r\n`;
/** What an attacker hides behind a request that two servers end at different places. */
const SMUGGLED = `GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer test-key-1\r\n\r\n`;

describe("malformed HTTP ends in a 4xx or 505 and a closed connection, and reaches nothing", () => {
	test.each([
		["two lengths", head(`${length}content-length: 5\r\n\r\n${BODY}`)],
		["two lengths in one header", head(`content-length: ${BODY.length}, 5\r\n\r\n${BODY}`)],
		["a length and chunks", head(`${length}transfer-encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`)],
		["chunks and a length", head(`transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n${SMUGGLED}`)],
		["a transfer encoding with a space before its colon", head(`transfer-encoding : chunked\r\n${length}\r\n${BODY}`)],
		["a transfer encoding that nobody knows", head(`transfer-encoding: xchunked\r\n\r\n0\r\n\r\n${SMUGGLED}`)],
		["a transfer encoding twice", head("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n")],
		["a negative length", head(`content-length: -1\r\n\r\n${BODY}`)],
		["a length with a sign", head(`content-length: +${BODY.length}\r\n\r\n${BODY}`)],
		["a hexadecimal length", head(`content-length: 0x3d\r\n\r\n${BODY}`)],
		["a length beyond all numbers", head(`content-length: 99999999999999999999\r\n\r\n${BODY}`)],
		["a header folded over two lines", head(`x-a: b\r\n c: d\r\n${length}\r\n${BODY}`)],
		["a bare carriage return in a header", head(`x-a: b\rcontent-length: 0\r\n${length}\r\n${BODY}`)],
		["a NUL in a header", head(`x-a: b\0c\r\n${length}\r\n${BODY}`)],
		["bare line feeds", head(`${length}\r\n${BODY}`).replaceAll("\r\n", "\n")],
		["a header without a colon", head(`x-a\r\n${length}\r\n${BODY}`)],
		["a space in a header's name", head(`x a: b\r\n${length}\r\n${BODY}`)],
		["no host", `POST ${PATH} HTTP/1.1\r\ncontent-type: application/json\r\n${length}\r\n${BODY}`],
		["two hosts", head(`host: evil.example\r\n${length}\r\n${BODY}`)],
		["a version that is none", head(`${length}\r\n${BODY}`, `POST ${PATH} HTTP/9.9`)],
		["HTTP/0.9", "GET /v1/models\r\n\r\n"],
		["HTTP/2 without being asked", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
		["a TLS hello on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
		["a method that is none", head(`${length}\r\n${BODY}`, `P@ST ${PATH} HTTP/1.1`)],
		["a space in the path", head(`${length}\r\n${BODY}`, `POST ${PATH} x HTTP/1.1`)],
		["20 KB of one header", head(`x-a: ${"a".repeat(20_000)}\r\n${length}\r\n${BODY}`)],
		["a thousand headers", head(`${"x-a: b\r\n".repeat(1000)}${length}\r\n${BODY}`)],
		["a URL of 9 KB", head(`${length}\r\n${BODY}`, `POST ${PATH}?${"a".repeat(9_000)} HTTP/1.1`)],
		["a URL of 20 KB", head(`${length}\r\n${BODY}`, `POST ${PATH}?${"a".repeat(20_000)} HTTP/1.1`)],
		["a chunk size that is no number", head("transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")],
		[
			"a chunk size beyond all numbers",
			head("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
		],
		["a negative chunk size", head("transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n")],
		["a chunk that is longer than it says", head("transfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n")],
	])("%s", async (_, bytes) => {
		const client = await rawClient(router.url, bytes);
		const text = await client.closed;
		expect(text).toMatch(/^HTTP\/1\.1 (4\d\d|505) /);
		expect(text).not.toContain('"object"');
		expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
	});
});

test("what follows a body that was too short is no second request of another", async () => {
	const client = await rawClient(router.url, head(`content-length: 1\r\n\r\n${BODY}${SMUGGLED}`));
	const text = await client.closed;
	expect(text).toMatch(/^HTTP\/1\.1 400 /);
	expect(text).not.toContain('"object":"list"');
});

test("clients that send slowly are cut off: nothing, half a head, half a body, a byte a second", async () => {
	const half = postBytes(PATH, BODY, { authorization: "Bearer test-key-1" }).slice(0, -20);
	const clients = await Promise.all(
		["", "POST / HT", half, "POST / HTTP/1.1\r\nx: ", half].map((start) => rawClient(router.url, start)),
	);
	const drip = setInterval(() => {
		for (const client of clients.slice(3)) client.write("a");
	}, 1000);
	const texts = await Promise.all(clients.map(({ closed }) => closed));
	clearInterval(drip);
	for (const text of texts) expect(text).not.toContain("200 OK");
}, 120_000);

const deep = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
const chat = (rest: string) => `{"model":"dummy",${rest}}`;
const messages = '"messages":[{"role":"user","content":"hi"}]';

describe("a malformed body is answered with an error of OpenAI's shape", () => {
	test.each([
		["nothing", "", "invalid_json"],
		["a space", " ", "invalid_json"],
		["half of one", BODY.slice(0, -10), "invalid_json"],
		["two", BODY + BODY, "invalid_json"],
		["a comma too many", chat(`${messages},`), "invalid_json"],
		["single quotes", "{'model':'dummy'}", "invalid_json"],
		["a comment", `/* hi */${BODY}`, "invalid_json"],
		["NaN", chat(`${messages},"temperature":NaN`), "invalid_json"],
		["a byte order mark", `\uFEFF${BODY}\uFEFF`, "invalid_json"],
		["XML", "<model>dummy</model>", "invalid_json"],
		["a form", "model=dummy&messages=hi", "invalid_json"],
		["a control character in a string", chat('"messages":[{"role":"user","content":"a\u0001b"}]'), "invalid_json"],
		["a half escape", chat('"messages":[{"role":"user","content":"\\u12"}]'), "invalid_json"],
		["an array", "[]", "invalid_value"],
		["null", "null", "invalid_value"],
		["a number", "1e999", "invalid_value"],
		["a string", '"hi"', "invalid_value"],
		["no model", `{${messages}}`, "invalid_value"],
		["an empty model", `{"model":"",${messages}}`, "invalid_value"],
		["a model that is a list", `{"model":["dummy"],${messages}}`, "invalid_value"],
		["a model of 600 characters", `{"model":"${"m".repeat(600)}",${messages}}`, "invalid_value"],
		["no messages", '{"model":"dummy"}', "invalid_value"],
		["an empty list of messages", chat('"messages":[]'), "invalid_value"],
		["messages that are a text", chat('"messages":"hi"'), "invalid_value"],
		["messages that hold null", chat('"messages":[null]'), "invalid_value"],
		["a message without a role", chat('"messages":[{"content":"hi"}]'), "invalid_value"],
		["content that is a number", chat('"messages":[{"role":"user","content":1}]'), "invalid_value"],
		["messages 100,000 deep", chat(`"messages":${deep(100_000)}`), undefined],
		["stream that is a text", chat(`${messages},"stream":"yes"`), "invalid_value"],
		["max_tokens that is a fraction", chat(`${messages},"max_tokens":1.5`), "invalid_value"],
		["max_tokens of 1e400", chat(`${messages},"max_tokens":1e400`), "invalid_value"],
		["a field twice", chat(`${messages},"model":"other"`), "duplicate_key"],
		["a field twice, once escaped", chat(`${messages},"mod\\u0065l":"other"`), "duplicate_key"],
		["__proto__ twice", chat(`${messages},"__proto__":{},"__proto__":{}`), "duplicate_key"],
	])("%s", async (_, body, code) => {
		const answer = await post(body);
		const text = await answer.text();
		const error = clientError(text);
		if (code) expect(error.code).toBe(code);
		expect(answer.status).toBe(400);
		expect(text).not.toContain("test-key-1");
	});

	test.each([
		["invalid UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])],
		[
			"a lone surrogate's bytes",
			Buffer.concat([
				Buffer.from(chat('"messages":[{"role":"user","content":"').slice(0, -1)),
				Buffer.from([0xed, 0xa0, 0x80]),
			]),
		],
		["gzip", Bun.gzipSync(Buffer.from(BODY))],
	])("%s", async (_, body) => {
		const answer = await post(body);
		expect(clientError(await answer.text()).code).toBe("invalid_json");
		expect(answer.status).toBe(400);
	});

	test("and the router goes on", async () => {
		expect((await post(BODY)).status).toBe(200);
		expect(await router.metric("router_crashes_total")).toBe(0);
	});
});

function post(body: string | Uint8Array<ArrayBuffer>): Promise<Response> {
	return fetch(router.url + PATH, {
		method: "POST",
		headers: { "content-type": "application/json", authorization: "Bearer test-key-1" },
		body,
	});
}
