/**
 * `make faults`: every way an upstream fails, in real time, against the router as a process of its own; prints the table of faults.md.
 * Takes two minutes: all rows are played at once. Exits 1 where something came out other than it is to.
 *
 *     bun test/faults/faults.ts [--binary]
 */
import { startRouter } from "../kit/router.ts";
import { AWAY_S, outage } from "./outage.ts";
import { stage } from "./play.ts";
import { ROWS } from "./rows.ts";
import { HEAD, isAsExpected, line } from "./table.ts";

const SECOND = 1000;
/** All at once they would share the retry budget of one second, which is ten. */
const APART_MS = 300;
/** A target that is back is in use within so many seconds, and asked whether it is so often at most. */
const BACK_S = 15;
const PROBES_APART_S = 4.9;
const rows = stage(ROWS, SECOND);
const outages = (["resets", "hangs"] as const).map((how) => ({ how, ...outage(SECOND, how) }));
const settings = [rows, ...outages].map(({ config }) => config);
const router = await startRouter({
	config: {
		log: { level: "silent" },
		providers: Object.assign({}, ...settings.map(({ providers }) => providers)),
		models: settings.flatMap(({ models }) => models as object[]),
	},
	source: process.argv.includes("--binary") ? "binary" : "source",
});
const send = (body: object, headers: Record<string, string>) =>
	fetch(`${router.url}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: JSON.stringify(body),
	});

const watched = outages.map((away) => away.play(send));
const played = await Promise.all(
	ROWS.map(async (row, index) => {
		await Bun.sleep(index * APART_MS);
		const [withOther, alone] = await Promise.all([rows.play(row, false, send), rows.play(row, true, send)]);
		return { row, withOther, alone };
	}),
);
console.log(HEAD);
let wrong = 0;
for (const { row, withOther, alone } of played) {
	const isRight = isAsExpected(withOther, row.withOther) && isAsExpected(alone, row.alone);
	if (!isRight) wrong++;
	console.log(line(row, withOther, alone) + (isRight ? "" : " ← expected otherwise"));
}
for (const [index, { how }] of outages.entries()) {
	const { calls, complete, attempts, probesApart, backAfter, slowest } = await watched[index]!;
	const isBack = backAfter !== undefined && backAfter <= BACK_S;
	if (!isBack || complete !== calls || probesApart < PROBES_APART_S) wrong++;
	console.log(
		`\nAway for ${AWAY_S} s (${how}), a call a second: ${complete} of ${calls} complete, the slowest after ${slowest.toFixed(1)} s, ` +
			`${attempts} attempts at it meanwhile, probes ${probesApart.toFixed(1)} s apart at least, ` +
			`${backAfter === undefined ? "never used again" : `used again ${backAfter.toFixed(0)} s after its return`}.`,
	);
}
await router.stop();
rows.stop();
for (const away of outages) away.stop();
process.exit(wrong === 0 ? 0 : 1);
