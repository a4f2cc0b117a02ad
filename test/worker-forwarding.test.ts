/** Requests that workers hand to the main thread: whatever is wrong with one, its client has an answer. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Elysia } from "elysia";
import { ForwardedRequests } from "../src/server/threads/forwarding.ts";
import { rawClient } from "./kit/raw-client.ts";
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
