/** The console in a real browser: opened, signed in, looked at by axe. */
import { expect } from "bun:test";
import { join } from "node:path";
import axe from "axe-core";
import type { BrowserContextOptions } from "playwright-core";
import { openPage, type WatchedPage } from "./browser.ts";
import { until } from "./until.ts";

/** How it is looked at. */
export interface ConsoleView {
	readonly theme: "light" | "dark";
	/** CSS pixels. */
	readonly width: number;
}

/** As people look at it: on a large screen, at night, on a phone. */
export const VIEWS: readonly ConsoleView[] = [
	{ theme: "light", width: 1280 },
	{ theme: "dark", width: 1280 },
	{ theme: "light", width: 390 },
];

/** The console in a browser of its own. */
export interface OpenConsole extends WatchedPage {
	/** Shows a page by what stands behind `#/`, and waits for its heading. */
	show(path: string, heading: string): Promise<void>;
	/** Fails where axe finds a violation, the page is wider than its window, or anything was written to the browser's console. */
	check(name: string): Promise<void>;
	/** Fails where anybody but the router was asked. */
	askedNobodyElse(): void;
}

/**
 * Opens it at a router.
 * @param key signs in with it; where none is needed, undefined
 * @param options the browser's own: `timezoneId`
 */
export async function openConsole(
	url: string,
	key?: string,
	{ theme, width }: ConsoleView = VIEWS[0]!,
	options: Pick<BrowserContextOptions, "timezoneId"> = {},
): Promise<OpenConsole> {
	const viewport = { width, height: 900 };
	const watched = await openPage({ colorScheme: theme, viewport, reducedMotion: "reduce", ...options });
	const { page, said, asked } = watched;
	await page.goto(`${url}/`);
	if (key !== undefined) await signIn(watched, key);
	await page.waitForSelector("nav.pages");
	return {
		...watched,
		async show(path, heading) {
			await page.evaluate(`location.hash = ${JSON.stringify(`#/${path}`)}`);
			await until(
				async () =>
					(await page.evaluate(`document.querySelector("h1")?.textContent === ${JSON.stringify(heading)}`)) === true,
				`the heading ${heading}`,
			);
		},
		async check(name) {
			await screenshot(watched, `${name}-${theme}-${width}`);
			expect(await violations(watched)).toEqual([]);
			const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
			expect(overflow).toBeLessThanOrEqual(0);
			expect(said).toEqual([]);
		},
		askedNobodyElse: () =>
			expect(asked.filter((each) => !each.startsWith(`${url}/`) && !each.startsWith("data:"))).toEqual([]),
	};
}

/** Types a key and sends it. */
export async function signIn({ page }: Pick<WatchedPage, "page">, key: string): Promise<void> {
	await page.fill("#key", key);
	await page.click("button[type=submit]");
}

/** What axe finds wrong with the page, a line each. */
export async function violations({ page }: Pick<WatchedPage, "page">): Promise<string[]> {
	// Through the debugger: the page's own policy lets no script in.
	await page.evaluate(axe.source);
	const found = (await page.evaluate("axe.run()")) as axe.AxeResults;
	return found.violations.flatMap(({ id, nodes }) =>
		nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary ?? ""}`),
	);
}

/** Kept for who wants to see it, in the folder that CONSOLE_SCREENSHOTS names. */
async function screenshot({ page }: Pick<WatchedPage, "page">, name: string): Promise<void> {
	const folder = process.env["CONSOLE_SCREENSHOTS"];
	if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}
