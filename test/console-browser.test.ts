/** The console in a real browser: signing in, figures that move, what is lost and found again; by eye, by keyboard and by axe. */
import { expect } from "bun:test";
import { openPage, type WatchedPage } from "./kit/browser.ts";
import { type OpenConsole, openConsole, signIn, VIEWS, violations } from "./kit/console-page.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, describe, test } = needing("chromium");
const ADMIN = "admin-key-of-the-test";
const VIEWER = "viewer-key-of-the-test";
const CALLER = { authorization: "Bearer key-of-a-caller" };

let router: RunningRouter;
let isOver = false;
let calling: Promise<void>;

/** Calls that are answered, streamed and refused, until the tests are over. */
async function callOn(): Promise<void> {
	const chat = `${router.url}/v1/chat/completions`;
	for (let at = 0; !isOver; at++) {
		await post(chat, { model: at % 9 === 0 ? "nobody" : "dummy", stream: at % 2 === 0, messages: HI }, CALLER);
		await Bun.sleep(20);
	}
}
const HI = [{ role: "user", content: "hi" }];

beforeAll(async () => {
	router = await startRouter({
		config: {
			keys: [{ name: "team", key: "key-of-a-caller" }],
			admin: {
				keys: [
					{ name: "ops", key: ADMIN },
					{ name: "wall", key: VIEWER, role: "viewer" },
				],
			},
		},
	});
	calling = callOn();
}, 60_000);
afterAll(async () => {
	isOver = true;
	await calling;
	await router.stop();
});

describe("signing in", () => {
	let watched: WatchedPage;
	beforeAll(async () => {
		watched = await openPage();
		await watched.page.goto(`${router.url}/`);
	}, 30_000);
	afterAll(() => watched.close());

	test("a wrong key is said to be one, next to where it was typed", async () => {
		const { page } = watched;
		await signIn(watched, "no-admin-key");
		await page.waitForSelector("#key-problem");
		expect(await page.textContent("#key-problem")).toContain("no admin key");
		expect(await page.getAttribute("#key", "aria-describedby")).toBe("key-problem");
		expect(await violations(watched)).toEqual([]);
		// The browser itself writes down that an answer was a 401.
		watched.said.length = 0;
	}, 30_000);

	test("the right one opens the console, and is kept nowhere that a script could read", async () => {
		const { page } = watched;
		await signIn(watched, ADMIN);
		await page.waitForSelector("nav.pages");
		const kept = await page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])");
		expect(kept).toBe('[{},{},""]');
		expect(page.url()).not.toContain(ADMIN);
		await page.reload();
		await page.waitForSelector("nav.pages");
		expect(watched.said).toEqual([]);
	}, 30_000);

	test("signing out shows the sign-in again, and so does a session that ended elsewhere", async () => {
		const { page } = watched;
		await page.click("text=Sign out");
		await page.waitForSelector("#key");
		await signIn(watched, ADMIN);
		await page.waitForSelector("nav.pages");
		await page.context().clearCookies();
		await page.reload();
		await page.waitForSelector("#key");
	}, 30_000);
});

test("a browser that keeps no cookie is told so, and signs in no second time by itself", async () => {
	const keyless = await startRouter({});
	const watched = await openPage();
	const { page } = watched;
	try {
		let signedIn = 0;
		await page.route("**/console/session", async (route) => {
			const response = await route.fetch();
			await page.context().clearCookies();
			if (route.request().method() === "POST") signedIn++;
			const { "set-cookie": _, ...headers } = response.headers();
			await route.fulfill({ response, headers });
		});
		await page.goto(`${keyless.url}/`);
		await page.waitForSelector("text=allow cookies for this address");
		expect(signedIn).toBe(1);
		await page.click("text=Try again");
		await until(() => signedIn === 2, "the second sign-in");
		await page.waitForSelector("text=allow cookies for this address");
		await page.goto(`${router.url}/`);
		await signIn(watched, ADMIN);
		await page.waitForSelector("#key-problem");
		expect(await page.textContent("#key-problem")).toContain("allow cookies for this address");
		expect(signedIn).toBe(3);
	} finally {
		await watched.close();
		await keyless.stop();
	}
}, 60_000);

describe.each(VIEWS)("Now, $theme, $width wide", (view) => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await openConsole(router.url, VIEWER, view);
	}, 30_000);
	afterAll(() => shown.close());

	test("its figures move with the calls", async () => {
		const { page } = shown;
		const calls = page.locator(".figure", { hasText: "Calls" }).locator(".value").first();
		await until(
			async () =>
				(await page.evaluate("parseFloat(document.querySelector('.figure .value')?.textContent) > 0")) === true,
		);
		const before = await calls.textContent();
		await until(
			async () =>
				(await page.evaluate(`document.querySelector(".figure .value").textContent !== ${JSON.stringify(before)}`)) ===
				true,
		);
		await page.waitForSelector("tbody th:text('dummy')");
		await page.waitForSelector("tbody th:text('answered 404')");
		expect(await page.locator(".chart canvas").count()).toBe(5);
	}, 30_000);

	test("nothing is wrong with it for axe, nothing is wider than its window, and nobody else was asked", async () => {
		await shown.check("now");
		shown.askedNobodyElse();
	}, 30_000);
});

describe("the frame", () => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await openConsole(router.url, VIEWER);
	}, 30_000);
	afterAll(() => shown.close());

	test("the first key skips to the page, and the address stays", async () => {
		const { page } = shown;
		await page.keyboard.press("Tab");
		expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to the page");
		await page.keyboard.press("Enter");
		expect(await page.evaluate("document.activeElement.tagName")).toBe("H1");
		expect(new URL(page.url()).hash).toBe("");
	}, 30_000);

	test("the theme is the reader's where one was chosen, also after a reload", async () => {
		const { page } = shown;
		const theme = () => page.evaluate("document.documentElement.dataset.theme");
		expect(await theme()).toBe("light");
		await page.selectOption(".theme select", "dark");
		expect(await theme()).toBe("dark");
		await page.reload();
		await page.waitForSelector("nav.pages");
		expect(await theme()).toBe("dark");
		await page.selectOption(".theme select", "system");
		expect(await theme()).toBe("light");
	}, 30_000);

	test("a viewer is told that it changes nothing, and an address of no page that there is none", async () => {
		expect(await shown.page.textContent(".who")).toContain("read only");
		await shown.show("nowhere", "Not found");
		await shown.page.waitForSelector("text=There is no such page");
		await shown.check("not-found");
	}, 30_000);
});

test("a router that is gone is said to be, with its last figures, until it is back", async () => {
	const own = await startRouter();
	const shown = await openConsole(own.url);
	try {
		await shown.page.waitForSelector("text=No calls yet");
		await shown.check("now-empty");
		// No key was needed: there is nothing to sign out of.
		expect(await shown.page.locator("text=Sign out").count()).toBe(0);
		await own.stop();
		await shown.page.waitForSelector("text=The connection is lost");
		expect(await shown.page.locator(".figure").count()).toBe(6);
		expect(await violations(shown)).toEqual([]);
	} finally {
		await shown.close();
		await own.stop();
	}
}, 60_000);
