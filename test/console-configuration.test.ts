/** The page of the configuration in a real browser: what holds, what is wrong with the file, and loading it. */
import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type OpenConsole, openConsole, VIEWS } from "./kit/console-page.ts";
import { needing } from "./kit/needing.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const { afterAll, beforeAll, describe, test } = needing("chromium");
const ADMIN = "admin-key-of-the-test";
const VIEWER = "viewer-key-of-the-test";
const CALLER = "key-of-a-caller-of-the-test";
const CONFIG = {
	keys: [{ name: "team", key: CALLER }],
	admin: {
		keys: [
			{ name: "ops", key: ADMIN },
			{ name: "wall", key: VIEWER, role: "viewer" },
		],
	},
};

let router: RunningRouter;
const write = (config: object) => writeFileSync(join(router.directory, "router.yaml"), JSON.stringify(config));

beforeAll(async () => {
	router = await startRouter({ config: CONFIG });
}, 60_000);
afterAll(() => router.stop());

describe.each(VIEWS)("Configuration, $theme, $width wide", (view) => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await openConsole(router.url, ADMIN, view);
	}, 30_000);
	afterAll(() => shown.close());

	test("a file that can't be used is said to be, and loading it says why it was not", async () => {
		const { page, said } = shown;
		write({ ...CONFIG, server: { drain: "never" } });
		await shown.show("configuration", "Configuration");
		await page.waitForSelector("text=the file can't be used");
		await page.waitForSelector("li:has-text('server.drain')");
		await page.click("text=Load the file anew…");
		await page.click("dialog >> text=Load it");
		await page.waitForSelector("dialog [role=alert]:has-text('server.drain')");
		// The browser itself writes down that an answer was a 409.
		said.length = 0;
		await shown.check("configuration-refused");
		await page.click("text=Leave it");
	}, 30_000);

	test("a file that is mended is loaded; every setting has its source, and no secret is shown", async () => {
		const { page } = shown;
		write({ ...CONFIG, server: { body_limit: "3MB" } });
		await page.click("text=Load the file anew…");
		await page.click("dialog >> text=Load it");
		await page.waitForSelector("dialog", { state: "detached" });
		await page.waitForSelector("text=some of it waits for a restart");
		await page.waitForSelector("text=No traces are sent: OTEL_EXPORTER_OTLP_ENDPOINT says where to.");
		await page.waitForSelector("li:has-text('server.body_limit')");
		const text = (await page.textContent("main")) ?? "";
		for (const part of ["server.port", "PORT", "default", "openai", "********"]) expect(text).toContain(part);
		for (const secret of [ADMIN, VIEWER, CALLER]) expect(text).not.toContain(secret);
		await shown.check("configuration");
		shown.askedNobodyElse();
	}, 30_000);
});

test("a viewer sees it all and is offered nothing", async () => {
	const shown = await openConsole(router.url, VIEWER);
	try {
		await shown.show("configuration", "Configuration");
		await shown.page.waitForSelector("h2:text('What holds')");
		expect(await shown.page.locator("text=Load the file anew").count()).toBe(0);
		await shown.check("configuration-viewer");
	} finally {
		await shown.close();
	}
}, 30_000);
