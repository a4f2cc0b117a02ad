/** Requests that workers hand to the main thread: whatever is wrong with one, its client has an answer. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Elysia } from "elysia";
import { HourlyReads } from "../src/server/admin/hourly-read.ts";
import { ForwardedRequests } from "../src/server/threads/forwarding.ts";
import { rawClient } from "./kit/raw-client.ts";
import { until } from "./kit/until.ts";
import { startHere, twoWorkers } from "./kit/worker-router.ts";

const admin = { keys: [{ name: "root", key: "sk-the-key-of-an-admin" }] };
let router: Awaited<ReturnType<typeof startHere>>;
beforeAll(async () => {
	router = await startHere(twoWorkers({ admin }));
});
afterAll(() => router.stop());

describe("a request that the main thread answers has its answer", () => {
	test.each([
		["has a space in it", "Host: a b\r\n"],
		["is half an address", "Host: [\r\n"],
		["has a port that there is none of", "Host: a:99999\r\n"],
		["is empty", "Host:\r\n"],
		["is short", "Host: a\r\n"],
		["is a path", "Host: a/b\r\n"],
	])("where its Host %s", async (_, host) => {
		const head = `GET /admin/keys?a=http://b/c HTTP/1.1\r\n${host}connection: close\r\n`;
		const client = await rawClient(router.url, `${head}authorization: Bearer sk-the-key-of-an-admin\r\n\r\n`);
		expect(await client.closed).toMatch(/^HTTP\/1\.1 200 [\s\S]*"object":"list"/);
	});

	test("where it names none", async () => {
		const head = "GET /admin/keys HTTP/1.0\r\nauthorization: Bearer sk-the-key-of-an-admin\r\n\r\n";
		const client = await rawClient(router.url, head);
		expect(await client.until(/"object":"list"/)).toMatch(/^HTTP\/1\.1 200 /);
		client.leave();
	});

	test("where what is answered breaks off", async () => {
		const broken = new ReadableStream({
			pull() {
				throw new Error("a secret");
			},
		});
		const requests = new ForwardedRequests(new Elysia().get("/admin/x", () => new Response(broken)));
		const asked = { method: "GET", headers: [], body: undefined, peer: "127.0.0.1" };
		for (const url of ["http://localhost/admin/x", "http://[/admin/x"]) {
			const { status, body } = await requests.answer({ ...asked, url });
			expect(status).toBe(500);
			expect(Buffer.from(body).toString()).not.toContain("a secret");
		}
	});
});

describe("a method that Bun's router has no table for is answered as by one worker", () => {
	const answers = async (url: string, method: string, path: string) => {
		const head = `${method} ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`;
		const text = await (await rawClient(url, head)).closed;
		const body = JSON.parse(text.slice(text.indexOf("{"))) as { error: { code: string; message: string } };
		return [text.slice(0, "HTTP/1.1 405".length), /^allow: .*$/im.exec(text)?.[0], body.error.code, body.error.message];
	};
	let alone: Awaited<ReturnType<typeof startHere>>;
	beforeAll(async () => {
		alone = await startHere({ admin, server: { workers: 1, drain: "0s" } });
	});
	afterAll(() => alone.stop());

	test.each([
		"/admin/keys",
		"/admin/none",
		"/admin/keys/a/b/c",
		"/console/session",
		"/register",
		"/agents",
		"/metrics",
	])("%s", async (path) => {
		for (const method of ["PROPFIND", "TRACE", "MKCOL", "LOCK"]) {
			expect([path, ...(await answers(router.url, method, path))]).toEqual([
				path,
				...(await answers(alone.url, method, path)),
			]);
		}
	});

	test("also where the main thread passes connections on", async () => {
		const balanced = await startHere(twoWorkers({ admin }), 0, false);
		try {
			const answer = await answers(balanced.url, "PROPFIND", "/admin/keys");
			expect(answer).toEqual(await answers(alone.url, "PROPFIND", "/admin/keys"));
		} finally {
			await balanced.stop();
		}
	});

	test("with the methods that the path takes", async () => {
		const [status, allow, code] = await answers(router.url, "PROPFIND", "/admin/keys?a=/v1");
		expect([status, code]).toEqual(["HTTP/1.1 405", "method_not_allowed"]);
		expect(allow).toContain("GET");
		expect((await answers(router.url, "PROPFIND", "/v1/chat/completions"))[2]).toBe("method_not_allowed");
	});
});

test("the main thread knows that the client of a request has left, and works no longer for it", async () => {
	const asked = Promise.withResolvers<AbortSignal>();
	const { read } = HourlyReads.prototype;
	HourlyReads.prototype.read = async (_, __, signal) => {
		asked.resolve(signal!);
		await new Promise((left) => signal!.addEventListener("abort", left));
		return [];
	};
	try {
		const head = "GET /admin/usage?format=focus&granularity=hour HTTP/1.1\r\nhost: localhost\r\n";
		const client = await rawClient(router.url, `${head}authorization: Bearer sk-the-key-of-an-admin\r\n\r\n`);
		const signal = await asked.promise;
		expect(signal.aborted).toBe(false);
		client.leave();
		await until(() => signal.aborted, "the client has left");
	} finally {
		HourlyReads.prototype.read = read;
	}
});
