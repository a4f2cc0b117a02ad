/** The routes of calls, which Bun's router answers without Elysia: what Elysia's hooks do for all other routes holds for them, too. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { State } from "../src/http/lifecycle-state.ts";
import { guarded, requestGuard } from "../src/http/request-guard.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const PAGE = "https://chat.example.com";
const CHAT = "/v1/chat/completions";

let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({ env: { CORS_ORIGINS: PAGE } });
});
afterAll(() => router.stop());

const send = (path: string, headers: Record<string, string> = {}, method = "POST") =>
	fetch(`${router.url}${path}`, {
		method,
		headers: { "content-type": "application/json", ...headers },
		...(method === "POST"
			? { body: JSON.stringify({ model: "dummy", messages: [{ role: "user", content: "hi" }] }) }
			: {}),
	});

test("an address that is too long is refused", async () => {
	const answer = await send(`${CHAT}?${"x".repeat(9000)}`);
	expect([answer.status, ((await answer.json()) as { error: { code: string } }).error.code]).toEqual([
		414,
		"url_too_long",
	]);
});

test("another method is told which there is, and OPTIONS answered", async () => {
	const wrong = await send(CHAT, {}, "GET");
	expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST, OPTIONS"]);
	const options = await send(CHAT, {}, "OPTIONS");
	expect([options.status, options.headers.get("allow")]).toEqual([204, "POST, OPTIONS"]);
});

test("a page of another origin is refused and may not read why; one that is allowed reads answers and errors", async () => {
	const foreign = await send(CHAT, { origin: "https://evil.example" });
	expect([foreign.status, foreign.headers.get("access-control-allow-origin"), foreign.headers.get("vary")]).toEqual([
		403,
		null,
		"origin",
	]);
	const own = await send(CHAT, { origin: PAGE });
	expect([own.status, own.headers.get("access-control-allow-origin"), own.headers.get("vary")]).toEqual([
		200,
		PAGE,
		"origin",
	]);
	const error = await send(CHAT, { origin: PAGE, "content-type": "text/plain" });
	expect([error.status, error.headers.get("access-control-allow-origin")]).toEqual([415, PAGE]);
	const preflight = await send(CHAT, { origin: PAGE, "access-control-request-method": "POST" }, "OPTIONS");
	expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([204, PAGE]);
});

test.each([CHAT, `${CHAT}/`, `${CHAT}?api-version=2024-10-21`])(
	"%s is answered, by whichever of the two knows it",
	async (path) => {
		const answer = await send(path);
		expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "dummy"]);
	},
);

describe("while the process", () => {
	const handle = async () => new Response("answer");
	const ask = (state: State, headers: Record<string, string> = {}) =>
		guarded(requestGuard([PAGE], { state }), handle)(new Request("http://localhost/v1", { headers }), undefined);

	test("has stopped listening a call is told so, in words that a page can read", async () => {
		const answer = await ask("stopping", { origin: PAGE });
		expect(answer.status).toBe(503);
		expect(Object.fromEntries(answer.headers)).toMatchObject({
			connection: "close",
			"retry-after": "5",
			"access-control-allow-origin": PAGE,
		});
	});

	test("drains, its answers close their connections", async () => {
		expect((await ask("draining")).headers.get("connection")).toBe("close");
		expect((await ask("ready")).headers.get("connection")).toBeNull();
	});
});
