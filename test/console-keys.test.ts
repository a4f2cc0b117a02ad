/** Keys and money in a real browser: keys made, rotated and revoked, their secrets shown once, budgets, and what was used by whom. */
import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cli } from "./kit/cli.ts";
import { type OpenConsole, openConsole, VIEWS } from "./kit/console-page.ts";
import type { Loose } from "./kit/exchange.ts";
import { startHelloUpstream } from "./kit/hello-answer.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, describe, test } = needing("chromium");
const ADMIN = "admin-key-of-the-test";
const VIEWER = "viewer-key-of-the-test";
const CALLER = "key-of-a-caller";
const HI = [{ role: "user", content: "hi" }];
/** 1,000 tokens in at 100 USD a million, 10 out at 1,000: 0.11 USD a call. */
const COST = 0.11;

/** Answers each call with the same counts. */
const upstream = startHelloUpstream(1000, 10);

let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		config: {
			providers: { priced: { type: "openai-compatible", base_url: `http://127.0.0.1:${upstream.port}` } },
			prices: { "priced/*": { input: 100, output: 1000 } },
			keys: [
				{ name: "team", key: CALLER, models: ["dummy", "priced/*"], rpm: 600, budget: { usd: 0.4, per: "day" } },
				{ name: "=SUM(A1)", key: "key-of-a-formula" },
			],
			admin: {
				keys: [
					{ name: "ops", key: ADMIN },
					{ name: "wall", key: VIEWER, role: "viewer" },
				],
			},
		},
		env: { ROUTER_AGENT_TOKEN: "token-of-the-agents" },
	});
	for (const _ of [1, 2]) invited.push(await invite());
	for (const _ of [1, 2]) expect(await call(CALLER, "priced/m")).toBe(200);
	expect(await call("key-of-a-formula")).toBe(200);
	await until(async () => (await usage()).reduce((sum, { calls }) => sum + Number(calls), 0) === 3, "three calls");
}, 60_000);
afterAll(async () => {
	await router.stop();
	await upstream.stop(true);
});

const call = async (key: string, model = "dummy") =>
	(await post(`${router.url}/v1/chat/completions`, { model, messages: HI }, { authorization: `Bearer ${key}` })).status;
/** Invitations, by their ids. */
const invited: string[] = [];
/** Makes one, and returns its id. */
async function invite(): Promise<string> {
	const { code, stderr } = await cli(["agents", "invite", "--config", join(router.directory, "router.yaml")], {
		cwd: router.directory,
		env: { DATA_DIR: join(router.directory, "data"), LOG_DIR: join(router.directory, "logs") },
	});
	expect([code, stderr]).toEqual([0, expect.anything()]);
	const { data } = (await (await asAdmin("/admin/invitations")).json()) as { data: Loose[] };
	return data.map(({ id }) => String(id)).find((id) => !invited.includes(id))!;
}
const asAdmin = (path: string) => fetch(router.url + path, { headers: { authorization: `Bearer ${ADMIN}` } });
const usage = async () => ((await (await asAdmin("/admin/usage?by=key")).json()) as { data: Loose[] }).data;

describe("an administrator", () => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await openConsole(router.url, ADMIN);
		await shown.show("keys", "Keys and money");
		await shown.page.waitForSelector("tbody th:has-text('team')");
	}, 60_000);
	afterAll(() => shown.close());
	const button = (name: string) => shown.page.getByRole("button", { name, exact: true });
	const dialogsEnd = () => until(async () => (await shown.page.locator("dialog").count()) === 0, "the dialog's end");

	test("can't change a key of the configuration, and is told where it can be", async () => {
		const row = shown.page.getByRole("row", { name: /^team/ }).first();
		expect(await row.textContent()).toContain("in the configuration: change it there");
		expect(await row.getByRole("button").count()).toBe(0);
	}, 60_000);

	test("reads the router's words where a name is taken, and the form stays as it was typed", async () => {
		await button("Make a key").click();
		await shown.page.fill("#new-key-name", "team");
		await button("Make").click();
		await shown.page.waitForSelector("dialog [role=alert]:has-text('take another name')");
		expect(await shown.page.inputValue("#new-key-name")).toBe("team");
		await button("Cancel").click();
		await dialogsEnd();
		// The browser itself writes down that an answer was a 409.
		shown.said.length = 0;
	}, 60_000);

	let secret = "";
	test("makes a key by what was typed, whose secret is shown once and kept nowhere", async () => {
		await button("Make a key").click();
		for (const [name, value] of Object.entries({
			name: "made here",
			team: "red",
			models: "dummy, priced/*",
			rpm: "50",
			usd: "0",
		})) {
			await shown.page.fill(`#new-key-${name}`, value);
		}
		await shown.page.selectOption("#new-key-per", "total");
		await shown.check("keys-new");
		await button("Make").click();
		await shown.page.waitForSelector("#new-secret");
		secret = await shown.page.inputValue("#new-secret");
		await shown.check("keys-secret");
		await button("Copy").click();
		await shown.page.waitForSelector("dialog [role=status]:not(:empty)");
		await button("Done").click();
		await dialogsEnd();
		const { data } = (await (await asAdmin("/admin/keys")).json()) as { data: Loose[] };
		expect(data.find(({ name }) => name === "made here")).toMatchObject({
			team: "red",
			models: ["dummy", "priced/*"],
			limits: { rpm: 50 },
			budget: { usd: 0, per: "total", spent: 0 },
		});
		const kept = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.documentElement.outerHTML])";
		expect(await shown.page.evaluate(kept)).not.toContain(secret);
		expect(await call(secret)).toBe(200);
		// Its budget is nothing.
		await shown.page.waitForSelector("tr:has-text('made here'):has-text('used up: its calls are refused')");
	}, 60_000);

	test("changes what it may do, from what it may do now, and shows what is taken of that", async () => {
		await button("Change made here").click();
		for (const [name, value] of Object.entries({
			team: "red",
			models: "dummy, priced/*",
			rpm: "50",
			usd: "0",
			per: "total",
		})) {
			expect(await shown.page.inputValue(`#new-key-${name}`)).toBe(value);
		}
		await shown.check("keys-change");
		await shown.page.fill("#new-key-usd", "-1");
		await shown.page.fill("#new-key-rpm", "20");
		await shown.page.fill("#new-key-concurrency", "3");
		await button("Change").click();
		// The browser says that itself, and sends nothing.
		expect(await shown.page.locator("#new-key-usd:invalid").count()).toBe(1);
		await shown.page.fill("#new-key-usd", "");
		await button("Change").click();
		await dialogsEnd();
		const { data } = (await (await asAdmin("/admin/keys")).json()) as { data: Loose[] };
		const made = data.find(({ name }) => name === "made here")!;
		expect(made).toMatchObject({ team: "red", models: ["dummy", "priced/*"], limits: { rpm: 20, concurrency: 3 } });
		expect(made["budget"]).toBeUndefined();
		expect(await call(secret)).toBe(200);
		await shown.page.waitForSelector(
			"tr:has-text('made here'):has-text('2 of 20 calls a minute'):has-text('0 of 3 calls at once')",
		);
	}, 60_000);

	test("is told what it means before prompts and answers of a key go to the collector, sees which keys it is, and takes it back", async () => {
		const { page } = shown;
		const traced = async () => {
			const { data } = (await (await asAdmin("/admin/keys")).json()) as { data: Loose[] };
			return data.find(({ name }) => name === "made here")!["trace_contents"];
		};
		await button("Change made here").click();
		await page.waitForSelector("dialog >> text=Traces have times, tokens and costs, and no contents");
		await page.check("dialog [name=trace_contents]");
		await page.waitForSelector("dialog .warn:has-text('tell those who use it')");
		await shown.check("keys-traced");
		await button("Change").click();
		await dialogsEnd();
		await page.waitForSelector("tr:has-text('made here'):has-text('contents traced')");
		expect(await traced()).toBe(true);
		await button("Change made here").click();
		expect(await page.isChecked("dialog [name=trace_contents]")).toBe(true);
		await page.uncheck("dialog [name=trace_contents]");
		await button("Change").click();
		await dialogsEnd();
		await until(async () => (await page.locator("text=contents traced").count()) === 0, "the badge's end");
		expect(await traced()).toBeUndefined();
	}, 60_000);

	test("rotates it: the old secret stays good for as long as was said, and no longer than is understood", async () => {
		await button("Rotate made here").click();
		await shown.page.fill("#rotate-overlap", "a while");
		await button("Rotate").click();
		await shown.page.waitForSelector("dialog [role=alert]:has-text('duration')");
		shown.said.length = 0;
		await shown.page.fill("#rotate-overlap", "1h");
		await button("Rotate").click();
		await shown.page.waitForSelector("#new-secret");
		const rotated = await shown.page.inputValue("#new-secret");
		expect(rotated).not.toBe(secret);
		await button("Done").click();
		await dialogsEnd();
		await shown.page.waitForSelector("text=its old secret is good until");
		expect([await call(secret), await call(rotated)]).toEqual([200, 200]);
		secret = rotated;
	}, 60_000);

	test("is asked before it is revoked; then its calls are refused, and it is out of sight until asked for", async () => {
		await button("Revoke made here").click();
		await shown.page.waitForSelector("dialog[open]");
		await shown.page.keyboard.press("Escape");
		await dialogsEnd();
		expect(await call(secret)).toBe(200);
		await button("Revoke made here").click();
		await button("Revoke").click();
		await dialogsEnd();
		await until(async () => (await shown.page.locator("th:has-text('made here')").count()) === 0, "the key's end");
		expect(await call(secret)).toBe(401);
		await button("Revoked ones, too (1)").click();
		await shown.page.waitForSelector("th:has-text('made here'):has-text('revoked')");
	}, 60_000);

	test("makes a viewer's key, which has no limits to be asked for", async () => {
		await button("Make a key").click();
		await shown.page.fill("#new-key-name", "second screen");
		await shown.page.check("dialog [name=viewer]");
		expect(await shown.page.locator("#new-key-rpm").count()).toBe(0);
		await button("Make").click();
		await shown.page.waitForSelector("#new-secret");
		await button("Done").click();
		await dialogsEnd();
		await shown.page.waitForSelector("th:has-text('second screen'):has-text('read only')");
	}, 60_000);

	test("sees invitations of agents, is asked before one is revoked, and then it is gone", async () => {
		const rows = shown.page.locator("section:has(#invitations) tbody tr");
		const ids = async () => (await rows.locator("th").allTextContents()).toSorted();
		expect(await ids()).toEqual(invited.toSorted());
		const [first, second] = invited;
		await button(`Revoke invitation ${first}`).click();
		await shown.page.waitForSelector("dialog:has-text('Agents that came with it')");
		await shown.check("keys-invitation");
		await button("Cancel").click();
		await dialogsEnd();
		expect((await ids()).length).toBe(2);
		await button(`Revoke invitation ${first}`).click();
		await shown.page.locator("dialog").getByRole("button", { name: "Revoke", exact: true }).click();
		await until(async () => Bun.deepEquals(await ids(), [second]), "the invitation's end");
		const { data } = (await (await asAdmin("/admin/invitations")).json()) as { data: Loose[] };
		expect(data.map(({ id }) => id)).toEqual([second]);
	}, 60_000);

	test("gets usage as FOCUS, of the days that are shown", async () => {
		const download = shown.page.waitForEvent("download");
		await shown.page.click("text=FOCUS 1.3");
		const csv = readFileSync(await (await download).path(), "utf8").split("\r\n");
		expect(csv[0]).toStartWith("BilledCost,BillingAccountId,");
		expect(csv.find((line) => line.includes(",priced,"))).toStartWith(`${2 * COST},priced,priced,USD,`);
	}, 60_000);

	test("gets usage as CSV, of what is shown", async () => {
		await shown.page.selectOption("#usage-by", "provider");
		await shown.page.selectOption("#usage-and-by", "key");
		await shown.page.waitForSelector("section:has(#usage) tbody th:has-text('priced')");
		const download = shown.page.waitForEvent("download");
		await shown.page.click("text=Download CSV");
		const csv = readFileSync(await (await download).path(), "utf8").split("\r\n");
		expect(csv[0]).toStartWith("provider,key,calls,failed,tokens_in");
		expect(csv.find((line) => line.startsWith("priced,team,"))).toContain(`,2000,20,0,0,${2 * COST},`);
		// What a spreadsheet would take for a formula.
		expect(csv.some((line) => line.startsWith("dummy,'=SUM(A1),1,"))).toBe(true);
		await shown.check("keys-admin");
	}, 60_000);
});

describe.each(VIEWS)("$theme, $width wide", (view) => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await openConsole(router.url, VIEWER, view);
		await shown.show("keys", "Keys and money");
		await shown.page.waitForSelector("section:has(#usage) tbody th:has-text('team')");
		await shown.page.waitForSelector("text=Cost a day");
	}, 60_000);
	afterAll(() => shown.close());

	test("a viewer sees limits, budgets as they stand, and usage, and no button that changes anything", async () => {
		const text = (await shown.page.textContent("main"))!;
		for (const part of [" of 600 calls a minute", "$0.22 of $0.40 a day", "dummy, priced/*", "2,000", "Cost a day"]) {
			expect(text).toContain(part);
		}
		const buttons = await shown.page.locator("main button").allTextContents();
		expect(buttons.filter((label) => !label.startsWith("Revoked ones"))).toEqual([]);
		expect(text).not.toContain(CALLER);
		await shown.check("keys");
		shown.askedNobodyElse();
	}, 60_000);
});

test("a budget moves while it is looked at", async () => {
	const shown = await openConsole(router.url, VIEWER);
	try {
		await shown.show("keys", "Keys and money");
		await shown.page.waitForSelector("text=$0.22 of $0.40 a day");
		expect(await call(CALLER, "priced/m")).toBe(200);
		await shown.page.waitForSelector("text=$0.33 of $0.40 a day");
	} finally {
		await shown.close();
	}
}, 60_000);
