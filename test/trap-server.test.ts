/** The server: what Bun and Elysia answer, cut or allow before any code of ours is asked. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import type { CallContext } from "../src/api/call-context.ts";
import { apiRoutes, ROUTES } from "../src/api/routes.ts";
import { clientError } from "./kit/contract.ts";
import { goodStream } from "./kit/events.ts";
import { eventData } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { begins, trickles } from "./kit/faults.ts";
import { needing } from "./kit/needing.ts";
import { postBytes, rawClient } from "./kit/raw-client.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const faults = startFaultUpstream();
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		env: { LOCAL_AGENT_URL: faults.origin },
		config: { server: { body_limit: "1MB" } },
	});
});
afterAll(async () => {
	await router.stop();
	faults.stop();
});

const CHAT = "/v1/chat/completions";
const LIMIT = 1_000_000;
const call = { model: "dummy", messages: [{ role: "user", content: "hi" }] };
/** A call of exactly this many bytes. */
const callOf = (bytes: number) => {
	const empty = JSON.stringify({ ...call, user: "" });
	return empty.replace('"user":""', `"user":"${"u".repeat(bytes - empty.length)}"`);
};
test("a body of exactly the limit is taken", async () => {
	expect((await post(router.url + CHAT, callOf(LIMIT))).status).toBe(200);
});

test.each([LIMIT + 1, 3 * LIMIT])(
	"trap: a body over the limit gets our 413, not an empty one (%p bytes)",
	async (bytes) => {
		const answer = await post(router.url + CHAT, callOf(bytes));
		expect(answer.status).toBe(413);
		expect(clientError(answer.text).code).toBe("body_too_large");
	},
);

test("trap: a body that says it is over the limit is refused before it is sent", async () => {
	const client = await rawClient(router.url, postBytes(CHAT, "", { "content-length": String(40 * LIMIT) }));
	client.write('{"model":');
	expect(await client.until(/body_too_large/)).toStartWith("HTTP/1.1 413");
	client.leave();
});

test("trap: a body without a length is counted as it comes", async () => {
	const answer = await fetch(router.url + CHAT, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: new Blob([callOf(3 * LIMIT)]).stream(),
	});
	expect(answer.status).toBe(413);
	expect(clientError(await answer.text()).code).toBe("body_too_large");
});

test("trap: a second instance on the same port fails, and says so", async () => {
	const { port } = new URL(router.url);
	const second = startRouter({ env: { PORT: port } });
	const outcome = await second.then(
		() => "it started",
		(error: Error) => error.message,
	);
	expect(outcome).toMatch(/ended with [1-9]/);
	expect(outcome).toContain(port);
	expect((await post(router.url + CHAT, call)).status).toBe(200);
});

test("malformed HTTP is refused and costs nobody else anything", async () => {
	const client = await rawClient(router.url, "POST / HTTP/9.9\r\nbroken\r\n\r\n");
	expect(await client.until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 (400|505)/);
	client.leave();
	expect((await post(router.url + CHAT, call)).status).toBe(200);
});

needing("waits").test(
	"trap: a stream that is quiet for longer than the server's idle timeout is not cut (70 s)",
	async () => {
		const events = goodStream(1);
		faults.run(trickles([events.slice(0, 2).join(""), events.slice(2).join("")], 35_000));
		const answer = await post(router.url + CHAT, { ...call, model: "local/m", stream: true });
		expect(eventData(answer.text).at(-1)).toBe("[DONE]");
	},
	200_000,
);

needing("waits").test(
	"trap: a half-sent body is cut off, also on a connection that streamed before (30 s)",
	async () => {
		const client = await rawClient(router.url, postBytes(CHAT, JSON.stringify({ ...call, stream: true })));
		await client.until(/\[DONE\]/);
		client.write(postBytes(CHAT, "", { "content-length": "5000" }));
		client.write('{"model":');
		await client.closed;
	},
	120_000,
);

test("a stream that is open holds nothing up", async () => {
	faults.run(begins(goodStream(1).slice(0, 2)));
	const client = await rawClient(
		router.url,
		postBytes(CHAT, JSON.stringify({ ...call, model: "local/m", stream: true })),
	);
	await client.until(/word0/);
	expect((await post(router.url + CHAT, call)).status).toBe(200);
	client.leave();
	await router.idle();
});

// Elysia reads a handler's text for what of a request it has to make: one that takes the whole context gets headers, query and cookies.
test.each(ROUTES.filter((route) => "operation" in route))(
	"trap: Elysia makes nothing of a call that its handler does not take: $path",
	(route) => {
		const app = apiRoutes({ isBehindRouter: false } as CallContext, [route]);
		const [{ compile }] = app.routes as unknown as [{ compile(): unknown }];
		const made = String(compile());
		expect(made).toContain("handler(c)");
		expect(made).not.toMatch(/c\.headers|c\.query|c\.cookie/);
	},
);
