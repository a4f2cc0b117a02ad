/**
 * `make faults`: every way an upstream fails, in real time, against the router as a process of its own; prints the README's table.
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
const rows = stage(ROWS, SECOND);
const away = outage(SECOND);
const router = await startRouter({
	config: {
		log: { level: "silent" },
		providers: { ...(rows.config["providers"] as object), ...(away.config["providers"] as object) },
		models: [...(rows.config["models"] as object[]), ...(away.config["models"] as object[])],
	},
	source: process.argv.includes("--binary") ? "binary" : "source",
});
const send = (body: object, headers: Record<string, string>) =>
	fetch(`${router.url}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: JSON.stringify(body),
	});

const watched = away.play(send);
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
const { calls, complete, attempts, backAfter } = await watched;
console.log(
	`\nAway for ${AWAY_S} s, a call a second: ${complete} of ${calls} complete, ${attempts} attempts at it meanwhile, ` +
		`${backAfter === undefined ? "never used again" : `used again ${backAfter.toFixed(0)} s after its return`}.`,
);
await router.stop();
rows.stop();
away.stop();
process.exit(wrong === 0 && complete === calls && backAfter !== undefined ? 0 : 1);
