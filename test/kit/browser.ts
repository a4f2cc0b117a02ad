/** A real browser that speaks to nobody by itself. Only where there is one: see needing.ts. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { browser as programOf } from "../parts/table.ts";

/** A page of it, and what it did. */
export interface WatchedPage {
	readonly page: Page;
	/** What the page wrote to its console, or threw. */
	readonly said: string[];
	/** Whom it asked. */
	readonly asked: string[];
	close(): Promise<void>;
}

/** An empty page in a browser of its own. @param options its width, its theme */
export async function openPage(options: BrowserContextOptions = {}): Promise<WatchedPage> {
	const browser: Browser = await chromium.launch({
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
	const page = await browser.newPage(options);
	const said: string[] = [];
	const asked: string[] = [];
	page.on("console", (message) => said.push(message.text()));
	page.on("pageerror", (error) => said.push(error.message));
	page.on("request", (request) => asked.push(request.url()));
	return { page, said, asked, close: () => browser.close() };
}
