/** The console in a real browser when things are not as they should be: a router that hangs, a session that ends, thousands of keys, a reload in the midst of an answer, no mouse. */
import { expect } from "bun:test";
import { openPage } from "./kit/browser.ts";
import { type OpenConsole, openConsole, violations } from "./kit/console-page.ts";
import type { Loose } from "./kit/exchange.ts";
import { helloChunk } from "./kit/hello-answer.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, describe, test } = needing("chromium");
const ADMIN = "admin-key-of-the-test";
const MANY = 620;
const CONFIG = { admin: { keys: [{ name: "ops", key: ADMIN }] } };
const HI = [{ role: "user", content: "hi" }];

test("a router that hangs is said to on each page, with what was there last, and is back by itself", async () => {
	const router = await startRouter({ config: CONFIG });
	const shown = await openConsole(router.url, ADMIN);
	try {
		const { page } = shown;
		await page.waitForSelector(".figure");
		process.kill(router.pid, "SIGSTOP");
		await page.waitForSelector("text=The connection is lost");
		expect(await page.locator(".figure").count()).toBe(6);
		await shown.show("keys", "Keys and money");
		await page.waitForSelector("text=The router has not answered for 10 seconds");
		expect(await violations(shown)).toEqual([]);
		process.kill(router.pid, "SIGCONT");
		await page.waitForSelector("text=No keys are in use");
		await until(async () => (await page.locator("text=has not answered").count()) === 0, "the notice's end");
		await shown.show("", "Now");
		await page.waitForSelector(".figure");
		await until(async () => (await page.locator("text=The connection is lost").count()) === 0, "the figures");
	} finally {
		process.kill(router.pid, "SIGCONT");
		await shown.close();
		await router.stop();
	}
}, 120_000);

describe("with many keys", () => {
	let router: RunningRouter;
	let shown: OpenConsole;
	beforeAll(async () => {
		const keys = Array.from({ length: MANY }, (_, at) => ({ name: `team-${at}`, key: `key-of-team-${at}` }));
		router = await startRouter({ config: { ...CONFIG, keys } });
		shown = await openConsole(router.url, ADMIN);
	}, 60_000);
	afterAll(async () => {
		await shown.close();
		await router.stop();
	});

	test("a hundred are shown, it says of how many, and a word finds the others", async () => {
		const { page } = shown;
		const rows = page.locator("table.keys tbody tr");
		await shown.show("keys", "Keys and money");
		await page.waitForSelector(`text=100 of ${MANY} keys are shown`);
		expect(await rows.count()).toBe(100);
		await shown.check("keys-many");
		await page.fill("input[type=search]", "TEAM-61");
		await until(async () => (await rows.count()) === 11, "those with 61");
		await page.fill("input[type=search]", "nobody's");
		await page.waitForSelector("text=No key has “nobody's” in it");
		expect(await violations(shown)).toEqual([]);
	}, 60_000);

	test("a session that ends elsewhere while a page is looked at asks for the key again, and the page is the same then", async () => {
		const { page } = shown;
		await shown.show("models", "Models and fleet");
		await page.waitForSelector("text=No agent has registered yet");
		await page.context().clearCookies();
		await page.waitForSelector("#key");
		await page.fill("#key", ADMIN);
		await page.keyboard.press("Enter");
		await page.waitForSelector("h1:text('Models and fleet')");
		// The browser itself writes down that an answer was a 401.
		shown.said.length = 0;
	}, 60_000);
});

describe("calls", () => {
	let router: RunningRouter;
	let shown: OpenConsole;
	/** Begins to answer, and never ends. */
	const endless = Bun.serve({
		hostname: "127.0.0.1",
		port: 0,
		idleTimeout: 0,
		fetch() {
			const begun = new ReadableStream<string>({ start: (to) => to.enqueue(helloChunk({ content: "Hello" })) });
			return new Response(begun.pipeThrough(new TextEncoderStream()), {
				headers: { "content-type": "text/event-stream" },
			});
		},
	});
	beforeAll(async () => {
		const box = { type: "openai-compatible", base_url: `http://127.0.0.1:${endless.port}` };
		router = await startRouter({ config: { ...CONFIG, providers: { box } } });
		shown = await openConsole(router.url, ADMIN, undefined, { timezoneId: "Asia/Kolkata" });
	}, 60_000);
	afterAll(async () => {
		await shown.close();
		await router.stop();
		await endless.stop(true);
	});
	const call = (rest: object = {}) =>
		post(`${router.url}/v1/chat/completions`, { model: "dummy", messages: HI, ...rest });

	test("appear in their list while it is looked at", async () => {
		const { page } = shown;
		await shown.show("calls", "Calls");
		await page.waitForSelector("text=No such call");
		expect((await call()).status).toBe(200);
		await page.waitForSelector("tbody tr:only-child");
	}, 60_000);

	test("are searched by times of the reader's zone, which the fields name", async () => {
		const { page } = shown;
		await page.waitForSelector("label:has-text('From, Asia/')");
		const { data } = (await (
			await fetch(`${router.url}/admin/calls`, { headers: { authorization: `Bearer ${ADMIN}` } })
		).json()) as { data: Loose[] };
		const at = Date.parse(data[0]!["at"]);
		/** As a clock in Kolkata shows it. */
		const local = (ms: number) => new Date(ms + 5.5 * 3_600_000).toISOString().slice(0, 16);
		await page.fill("input[name=from]", local(at + 60_000));
		await page.keyboard.press("Enter");
		await page.waitForSelector("text=No such call");
		expect(await page.inputValue("input[name=from]")).toBe(local(at + 60_000));
		await page.fill("input[name=from]", local(at - 60_000));
		await page.fill("input[name=to]", local(at + 60_000));
		await page.keyboard.press("Enter");
		await page.waitForSelector("tbody tr:only-child");
		expect(page.url()).toContain(encodeURIComponent(`${new Date(at - 60_000).toISOString().slice(0, 16)}:00.000Z`));
		// A day of an address is UTC's.
		await shown.show("calls?from=2026-01-31&to=2026-01-31", "Calls");
		await page.waitForSelector("text=No such call");
		const shownTimes = await Promise.all(["from", "to"].map((name) => page.inputValue(`input[name=${name}]`)));
		expect(shownTimes).toEqual(["2026-01-31T05:30", "2026-02-01T05:29"]);
	}, 60_000);

	test("of the playground are given up at a reload in the midst of an answer, and the page is new", async () => {
		const { page } = shown;
		await shown.show("playground", "Playground");
		await page.fill("#model-left", "box/m");
		await page.fill("#draft-prompt", "a long answer");
		await page.keyboard.press("Control+Enter");
		await page.waitForSelector(".reply .said:has-text('Hello')");
		expect(await router.metric("router_in_flight_requests")).toBe(1);
		await page.reload();
		await page.waitForSelector("h1:text('Playground')");
		expect(await page.locator(".reply").count()).toBe(0);
		await router.idle();
	}, 60_000);
});

test("without a mouse: a key is made, and its form is left, by keys alone", async () => {
	const router = await startRouter({ config: CONFIG });
	const watched = await openPage();
	try {
		const { page } = watched;
		const press = (...keys: string[]) =>
			keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
		const focused = () =>
			page.evaluate(
				"document.activeElement.textContent.trim() || document.activeElement.name || document.activeElement.id",
			);
		const tabTo = async (what: string) => {
			for (let at = 0; at < 40 && (await focused()) !== what; at++) await press("Tab");
			expect(await focused()).toBe(what);
		};
		await page.goto(`${router.url}/`);
		await page.waitForSelector("#key:focus");
		await page.keyboard.type(ADMIN);
		await press("Enter");
		await page.waitForSelector("nav.pages");
		await tabTo("Keys and money");
		await press("Enter");
		await page.waitForSelector("h1:text('Keys and money')");
		await tabTo("Make a key");
		await press("Enter");
		await page.waitForSelector("dialog[open]");
		await page.keyboard.type("by keys");
		await press("Enter");
		await page.waitForSelector("#new-secret");
		await tabTo("Done");
		await press("Enter");
		await until(async () => (await page.locator("dialog").count()) === 0, "the dialog's end");
		await page.waitForSelector("th:has-text('by keys')");
		expect(await focused()).toBe("Make a key");
		expect(watched.said).toEqual([]);
	} finally {
		await watched.close();
		await router.stop();
	}
}, 60_000);
