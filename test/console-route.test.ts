/** The page of the dry run in a real browser: what can't be asked, and where a call would go. */
import { expect } from "bun:test";
import { type OpenConsole, openConsole, VIEWS } from "./kit/console-page.ts";
import { needing } from "./kit/needing.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const { afterAll, beforeAll, describe, test } = needing("chromium");
const ADMIN = "admin-key-of-the-test";
const CALLER = "key-of-a-caller";

let router: RunningRouter;

beforeAll(async () => {
	router = await startRouter({
		config: {
			keys: [{ name: "team", key: CALLER, models: ["quick"] }],
			admin: { keys: [{ name: "ops", key: ADMIN }] },
			models: [{ name: "quick", targets: ["dummy/dummy", "dummy/dummy-slow"] }],
		},
	});
}, 60_000);
afterAll(() => router.stop());

describe.each(VIEWS)("Route, $theme, $width wide", (view) => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await openConsole(router.url, ADMIN, view);
	}, 30_000);
	afterAll(() => shown.close());

	async function ask(model: string, key: string, body?: string): Promise<void> {
		const { page } = shown;
		await page.fill("input[name=model]", model);
		await page.fill("input[name=key]", key);
		if (body !== undefined) await page.fill("textarea", body);
		await page.click("button[type=submit]");
	}

	test("what can't be asked is said: no JSON, no object, no key, and a model that the key may not use", async () => {
		const { page, said } = shown;
		await shown.show("route", "Route");
		await ask("", CALLER, "{ model");
		await page.waitForSelector("[role=alert] p:has-text('The body is no JSON')");
		await ask("", CALLER, "[1]");
		await page.waitForSelector("[role=alert] p:has-text('must be a JSON object')");
		await ask("quick", "", "{}");
		await page.waitForSelector("[role=alert] p:has-text('key')");
		await page.waitForSelector("nav.pages");
		await ask("dummy", CALLER);
		await page.waitForSelector("[role=alert] p:has-text('dummy')");
		await shown.page.waitForSelector("text=It would go nowhere");
		// The browser itself writes down that an answer was a 401 or 403.
		said.length = 0;
		await shown.check("route-refused");
	}, 30_000);

	test("the candidates are shown in their order, and nobody is called", async () => {
		const { page } = shown;
		await shown.show("route", "Route");
		await ask("quick", CALLER, '{"messages":[{"role":"user","content":"hello"}],"stream":true}');
		await page.waitForSelector("tbody tr:nth-child(2)");
		const text = (await page.textContent("main")) ?? "";
		for (const part of ["models: quick", "balanced", "chat, streamed", "dummy/dummy-slow"])
			expect(text).toContain(part);
		await shown.check("route");
		shown.askedNobodyElse();
		const calls = await fetch(`${router.url}/admin/calls`, { headers: { authorization: `Bearer ${ADMIN}` } });
		expect(
			((await calls.json()) as { data: { model: string }[] }).data.filter(({ model }) => model === "quick"),
		).toEqual([]);
	}, 30_000);
});
