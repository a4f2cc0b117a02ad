/** Agents that have run away, in the console's page of keys and money. */
import { expect } from "bun:test";
import { openConsole, VIEWS } from "./kit/console-page.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const { afterAll, beforeAll, test } = needing("chromium");
const ADMIN = "admin-key-of-the-test";
const CALLER = "key-of-a-caller";
const POOR = "key-of-a-poor-one";

let router: RunningRouter;
beforeAll(async () => {
	const admin = { keys: [{ name: "ops", key: ADMIN }] };
	router = await startRouter({
		config: {
			keys: [
				{ name: "team", key: CALLER },
				{ name: "poor", key: POOR, session_usd: 0.5 },
			],
			...{ admin, runaway: { pause: "10m" }, prices: { "dummy/*": { request: 1 } } },
		},
	});
}, 60_000);
afterAll(() => router.stop());

const round = (id: string) => [
	{
		role: "assistant",
		content: null,
		tool_calls: [{ id, type: "function", function: { name: "look", arguments: "{}" } }],
	},
	{ role: "tool", tool_call_id: id, content: "no such file" },
];
/** The call of an agent that has done the same so often. */
const callWith = (rounds: number, key = CALLER) =>
	post(
		`${router.url}/v1/chat/completions`,
		{
			model: "dummy",
			tools: [{ type: "function", function: { name: "look" } }],
			messages: [
				{ role: "user", content: "hi" },
				...Array.from({ length: rounds }, (_, at) => round(`call_${at}`)).flat(),
			],
		},
		{ authorization: `Bearer ${key}`, "x-session-id": "ses_1" },
	);

test("nothing is said of them while there are none, and then whose they are and what was done", async () => {
	const first = await openConsole(router.url, ADMIN);
	await first.show("keys", "Keys and money");
	await first.page.waitForSelector("tbody th:has-text('team')");
	expect(await first.page.locator("text=run away").count()).toBe(0);
	for (const rounds of [1, 2, 3]) expect((await callWith(rounds)).status).toBe(200);
	await first.page.waitForSelector(
		"text=team: the agent of session ses_1 repeats itself on dummy, 3 rounds of the same; warned of",
	);
	expect([(await callWith(0, POOR)).status, (await callWith(0, POOR)).status]).toEqual([200, 429]);
	await first.page.waitForSelector("text=poor: session ses_1 has spent its budget of $0.50; stopped");
	await first.close();
	for (const view of VIEWS) {
		const shown = await openConsole(router.url, ADMIN, view);
		await shown.show("keys", "Keys and money");
		await shown.page.waitForSelector("text=Agents that have run away");
		await shown.check("keys-runaways");
		await shown.close();
	}
}, 120_000);
