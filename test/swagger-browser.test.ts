/** Swagger UI in a real browser: shown whole, asking nobody but the router, and "Try it out" gets `dummy`'s answer. */
import { expect } from "bun:test";
import { type Browser, chromium, type Page } from "playwright-core";
import { needing } from "./kit/needing.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { browser as programOf } from "./parts/table.ts";

const { afterAll, beforeAll, test } = needing("chromium");

let router: RunningRouter;
let browser: Browser;
let page: Page;
/** What the page wrote to its console, threw, or asked of others. */
const said: string[] = [];
const asked: string[] = [];

beforeAll(async () => {
	router = await startRouter();
	browser = await chromium.launch({
		executablePath: programOf()!,
		args: [
			"--no-sandbox",
			"--disable-gpu",
			"--disable-dev-shm-usage",
			"--disable-quic",
			"--disable-background-networking",
			"--disable-sync",
		],
	});
	page = await browser.newPage();
	page.on("console", (message) => said.push(message.text()));
	page.on("pageerror", (error) => said.push(error.message));
	page.on("request", (request) => asked.push(request.url()));
	await page.goto(`${router.url}/swagger`);
	await page.waitForSelector(".opblock");
}, 60_000);

afterAll(async () => {
	await browser?.close();
	await router?.stop();
});

test("it shows every path of the API", async () => {
	const paths = await page.$$eval(".opblock-summary-path", (nodes) => nodes.map((node) => node.textContent ?? ""));
	const shown = paths.map((path) => path.replaceAll("\u200b", ""));
	expect(shown).toEqual(expect.arrayContaining(["/v1/chat/completions", "/v1/embeddings", "/v1/models/{model}"]));
});

test('"Try it out" gets the answer of dummy', async () => {
	const block = page.locator("#operations-OpenAI-createChatCompletion");
	await block.locator(".opblock-summary-control").click();
	await block.locator(".execute").click();
	const body = block.locator(".live-responses-table .highlight-code").first();
	await body.waitFor();
	expect(await body.textContent()).toContain("Hello world");
}, 30_000);

test("nothing was asked of anybody else, and the console is empty", () => {
	expect(asked.filter((url) => !url.startsWith(router.url) && !url.startsWith("data:"))).toEqual([]);
	expect(said).toEqual([]);
});
