/**
 * Swagger UI in a real browser: shown whole, asking nobody but the router, and "Try it out" gets `dummy`'s answer; at the root and under
 * the path of a real proxy.
 */
import { expect } from "bun:test";
import { openPage, type WatchedPage } from "./kit/browser.ts";
import { needing } from "./kit/needing.ts";
import { type RunningNginx, startNginx } from "./kit/nginx.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { problemOf } from "./parts/table.ts";

let router: RunningRouter | undefined;
let nginx: RunningNginx | undefined;
let watched: WatchedPage;
/** The API as the browser sees it. */
let url: string;

async function show(path: string): Promise<void> {
	watched = await openPage();
	await watched.page.goto(`${url}${path}`);
	await watched.page.waitForSelector(".opblock");
}

async function stop(): Promise<void> {
	await watched?.close();
	await nginx?.stop();
	await router?.stop();
}

function looksAtIt({ test }: Pick<ReturnType<typeof needing>, "test">): void {
	test("it shows every path of the API", async () => {
		const paths = await watched.page.$$eval(".opblock-summary-path", (nodes) =>
			nodes.map((node) => node.textContent ?? ""),
		);
		const shown = paths.map((path) => path.replaceAll("\u200b", ""));
		expect(shown).toEqual(expect.arrayContaining(["/v1/chat/completions", "/v1/embeddings", "/v1/models/{model}"]));
	});

	test('"Try it out" gets the answer of dummy', async () => {
		const block = watched.page.locator("#operations-OpenAI-createChatCompletion");
		await block.locator(".opblock-summary-control").click();
		await block.locator(".execute").click();
		const body = block.locator(".live-responses-table .highlight-code").first();
		await body.waitFor();
		expect(await body.textContent()).toContain("Hello world");
		expect(watched.asked).toContain(`${url}/v1/chat/completions`);
	}, 30_000);

	test("nothing was asked of anybody else, and the console is empty", () => {
		expect(watched.asked.filter((each) => !each.startsWith(`${url}/`) && !each.startsWith("data:"))).toEqual([]);
		expect(watched.said).toEqual([]);
	});
}

const alone = needing("chromium");
alone.describe("at the root", () => {
	alone.beforeAll(async () => {
		router = await startRouter();
		url = router.url;
		await show("/swagger");
	}, 60_000);
	alone.afterAll(stop);
	looksAtIt(alone);
});

const behind = needing(problemOf("chromium") === undefined ? "nginx" : "chromium");
behind.describe("under a path of nginx", () => {
	behind.beforeAll(async () => {
		router = await startRouter();
		nginx = await startNginx("/some/router/", router.url);
		url = `${nginx.url}/some/router`;
		await show("/swagger/");
	}, 60_000);
	behind.afterAll(stop);
	looksAtIt(behind);
});
