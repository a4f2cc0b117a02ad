/** Every row of `make faults`, thirty times as fast: what the client gets, and what each upstream saw of it. */
import { afterAll, describe, expect, test } from "bun:test";
import { outage } from "./faults/outage.ts";
import { type Send, stage } from "./faults/play.ts";
import { ROWS } from "./faults/rows.ts";
import { attemptsText } from "./faults/table.ts";
import { page } from "./kit/pages.ts";
import { pipeline } from "./kit/pipeline.ts";

/** How long a second lasts, ms. */
const SECOND = 30;
const rows = stage(ROWS, SECOND);
afterAll(() => rows.stop());

/**
 * Limits scaled as the rows are: the real ones are what the router has by itself. Pauses between attempts are not, so a client hears
 * its first comment later than those last (0.75 s), and sooner than two attempts without an answer (1.9 s).
 */
const timeouts = { first_token: `${30 * SECOND}ms`, total: `${60 * SECOND}ms` };
const { send } = pipeline({ config: { ...rows.config, server: { keep_alive: "1400ms" }, timeouts } });
const call: Send = (body, headers) => send(body, { headers });

describe.each(ROWS.map((row) => [row.name, row] as const))("%s", (_, row) => {
	test("with another target", async () => {
		const { client, attempts } = await rows.play(row, false, call);
		expect({ client, attempts }).toEqual(row.withOther);
	});

	test("alone", async () => {
		const { client, attempts } = await rows.play(row, true, call);
		expect({ client, attempts }).toEqual(row.alone);
	});
});

test.each(["resets", "hangs"] as const)(
	"an upstream that %s for a minute costs no call, and is used again",
	async (how) => {
		const away = outage(100, how);
		const calls = pipeline({ config: { ...away.config, timeouts: { first_token: "3s" } } });
		const { calls: made, complete } = await away.play((body, headers) => calls.send(body, { headers }));
		away.stop();
		expect(made).toBeGreaterThan(20);
		expect(complete).toBe(made);
	},
	30_000,
);

test("the table of faults.md is what these rows expect", async () => {
	const table = await page("test/faults/faults.md");
	for (const { name, withOther, alone } of ROWS) {
		const line = table.split("\n").find((each) => each.startsWith(`| ${name} | `));
		const cells = line?.slice(2, -2).split(" | ");
		const [, client, attempts, , clientAlone, attemptsAlone] = cells ?? [];
		expect([name, client, attempts, clientAlone, attemptsAlone]).toEqual([
			name,
			withOther.client,
			attemptsText(withOther.attempts),
			alone.client,
			attemptsText(alone.attempts),
		]);
	}
});
