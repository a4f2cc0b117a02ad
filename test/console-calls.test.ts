/** The page of past calls in a real browser: found, gone through, and one of them whole. */
import { expect } from "bun:test";
import { type OpenConsole, openConsole, VIEWS } from "./kit/console-page.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const { afterAll, beforeAll, describe, test } = needing("chromium");
const VIEWER = "viewer-key-of-the-test";
const CALLER = { authorization: "Bearer key-of-a-caller" };
const SECRET_WORDS = "what nobody else may read";

let router: RunningRouter;
let id: string;

beforeAll(async () => {
	router = await startRouter({
		config: {
			keys: [{ name: "team", key: "key-of-a-caller" }],
			admin: { keys: [{ name: "wall", key: VIEWER, role: "viewer" }] },
			models: [{ name: "quick", targets: ["dummy/dummy", "dummy/dummy-slow"] }],
		},
	});
	const messages = [{ role: "user", content: SECRET_WORDS }];
	for (let at = 0; at < 60; at++) {
		const model = at % 9 === 0 ? "nobody" : at % 2 === 0 ? "quick" : "dummy";
		await post(`${router.url}/v1/chat/completions`, { model, user: `user-${at % 3}`, messages }, CALLER);
	}
	const last = await post(`${router.url}/v1/chat/completions`, { model: "quick", user: "bob", messages }, CALLER);
	id = last.headers.get("x-request-id")!;
}, 60_000);
afterAll(() => router.stop());

describe.each(VIEWS)("Calls, $theme, $width wide", (view) => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await openConsole(router.url, VIEWER, view);
	}, 30_000);
	afterAll(() => shown.close());

	test("an id of no call is said to be none, and a filter that is none what is wrong with it", async () => {
		const { page, said } = shown;
		await shown.show("calls/req_unknown", "Calls");
		await page.waitForSelector("text=No such call");
		await shown.show("calls?status=red", "Calls");
		await page.waitForSelector("text=status must be a status such as 429");
		// The browser itself writes down that an answer was a 400 or 404.
		said.length = 0;
	}, 30_000);

	test("the newest are first, and older ones behind a link", async () => {
		const { page } = shown;
		await shown.show("calls", "Calls");
		await page.waitForSelector(`tbody tr:first-child a[href="#/calls/${id}"]`);
		expect(await page.locator("tbody tr").count()).toBe(50);
		await shown.check("calls");
		await page.click("text=Older calls");
		await page.waitForSelector("text=Newest");
		await page.waitForSelector("tbody tr:nth-child(11)");
		expect(await page.locator("tbody tr").count()).toBe(11);
	}, 30_000);

	test("a search by user finds one call, which tells all but what was said", async () => {
		const { page } = shown;
		await shown.show("calls", "Calls");
		await page.fill("input[name=user]", "bob");
		await page.keyboard.press("Enter");
		await page.waitForSelector("tbody tr:only-child");
		await page.click("tbody a");
		await page.waitForSelector("h2:text('Candidates')");
		const text = (await page.textContent("main")) ?? "";
		for (const part of [id, "quick", "team", "bob", "answered", "dummy/dummy", "are not kept"]) {
			expect(text).toContain(part);
		}
		expect(text).not.toContain(SECRET_WORDS);
		await shown.check("call");
		shown.askedNobodyElse();
	}, 30_000);

	test("those that failed are told apart, and where there are none that is said", async () => {
		const { page } = shown;
		await shown.show("calls?status=failed", "Calls");
		await page.waitForSelector("td:has-text('404')");
		await shown.show("calls?user=nobody", "Calls");
		await page.waitForSelector("text=No such call");
		await shown.check("calls-none");
	}, 30_000);
});

test("calls that end while the list is asked for are not said to be kept from it by the disk", async () => {
	const chat = { model: "dummy", messages: [{ role: "user", content: "hi" }] };
	let isOver = false;
	const callOn = async () => {
		while (!isOver) await post(`${router.url}/v1/chat/completions`, chat, CALLER);
	};
	const calling = Array.from({ length: 16 }, callOn);
	try {
		for (let at = 0; at < 40; at++) {
			const answer = await fetch(`${router.url}/admin/calls?user=bob`, {
				headers: { authorization: `Bearer ${VIEWER}` },
			});
			expect(await answer.json()).not.toHaveProperty("waiting");
		}
	} finally {
		isOver = true;
		await Promise.all(calling);
	}
}, 60_000);
