/** Requests whose Host is none, as old health checks and scrapers send them: each is answered as one that names the router. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { urlOf } from "../src/http/request-url.ts";
import { rawClient } from "./kit/raw-client.ts";
import { startHere } from "./kit/worker-router.ts";

const KEY = "sk-the-key-of-an-app";
let router: Awaited<ReturnType<typeof startHere>>;
beforeAll(async () => {
	router = await startHere({ keys: [{ name: "app", key: KEY }], server: { drain: "0s" } });
});
afterAll(() => router.stop());

async function answerTo(method: string, path: string, host: string, body = ""): Promise<string> {
	const headers = `content-type: application/json\r\nauthorization: Bearer ${KEY}\r\nconnection: close\r\n`;
	const length = body === "" ? "" : `content-length: ${body.length}\r\n`;
	const client = await rawClient(router.url, `${method} ${path} ${host}${headers}${length}\r\n${body}`);
	const answer = await client.until(/\r\n\r\n[\s\S]/);
	client.leave();
	return answer.slice(0, answer.indexOf("\r\n"));
}

const NO_HOST = "HTTP/1.0\r\n";
describe.each([
	["none", NO_HOST],
	["half an address", "HTTP/1.1\r\nHost: [\r\n"],
	["two words", "HTTP/1.1\r\nHost: a b\r\n"],
])("a Host that is %s", (_, host) => {
	test.each([
		"/metrics",
		"/swagger/json",
		"/v1beta/models",
		"/v1/models?limit=2",
		"/v1/files?limit=2",
		"/health/ready",
	])("GET %s", async (path) => {
		expect(await answerTo("GET", path, host)).toBe("HTTP/1.1 200 OK");
	});
});

test("a call of Google's without a Host", async () => {
	const body = JSON.stringify({ contents: [{ role: "user", parts: [{ text: "hi" }] }] });
	expect(await answerTo("POST", "/v1beta/models/dummy:generateContent", NO_HOST, body)).toBe("HTTP/1.1 200 OK");
});

test.each([
	["/a?b=http://c/d", "/a?b=http://c/d"],
	["http://[/a?b", "/a?b"],
	["http://a b/c", "/c"],
	["http://a:99999", "/"],
	["http://a:1/c?d", "/c?d"],
])("of %s path and query stay", (url, stays) => {
	const { pathname, search } = urlOf({ url });
	expect(pathname + search).toBe(stays);
});
