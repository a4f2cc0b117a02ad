/**
 * What clients of the console's event stream cost a router, as a share of a core, all its threads: `bun test/bench/console-cost.ts` (after `make build`; half a minute, Linux). Beside a load, with
 * and without them in turn, so that what else the machine does is in both; and at rest, where nothing hides it: a sample a second is made either way.
 */
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { median } from "./measure.ts";
import { clearAwayAtEnd } from "./processes.ts";
import { wholeNumber } from "./settings.ts";
import { startRouter, startUpstream } from "./subject.ts";

const CLIENTS = wholeNumber("CONSOLE_CLIENTS", 10);
const CALLS_A_SECOND = wholeNumber("CONSOLE_CALLS", 1_000);
/** Of each turn, s, and how many there are of each kind, beside the load and at rest. */
const TURN_S = 2;
const TURNS = 4;
const TURNS_AT_REST = 2;
/** How often calls are sent, ms. */
const STEP_MS = 5;
const ADMIN = "bench-key-of-an-administrator";

clearAwayAtEnd();
await using upstream = await startUpstream("whole");
const settings = { admin: { keys: [{ name: "bench", key: ADMIN }] } };
await using router = await startRouter(upstream.url, resolve(import.meta.dir, "../../dist/router"), settings);

const call = {
	method: "POST",
	headers: { "content-type": "application/json" },
	body: JSON.stringify({ model: "openai/bench", messages: [{ role: "user", content: "hi" }] }),
};
let answered = 0;
let failed = 0;
const send = async () => {
	const answer = await fetch(`${router.url}/v1/chat/completions`, call);
	await answer.bytes();
	if (answer.ok) answered++;
	else failed++;
};

/** Sends calls for so long, as many a second as there are to be, whether or not those before are answered. */
async function load(seconds: number): Promise<void> {
	const began = performance.now();
	const running: Promise<void>[] = [];
	for (let sent = 0; sent < seconds * CALLS_A_SECOND; ) {
		const due = Math.min(seconds * CALLS_A_SECOND, ((performance.now() - began) / 1000) * CALLS_A_SECOND);
		for (; sent < due; sent++) running.push(send());
		await Bun.sleep(STEP_MS);
	}
	await Promise.all(running);
}

/** A client of the console's; counts what it hears until it is ended. */
async function watch(signal: AbortSignal, heard: () => void): Promise<void> {
	const answer = await fetch(`${router.url}/console/events`, { headers: { authorization: `Bearer ${ADMIN}` }, signal });
	if (!answer.ok || !answer.body) throw new Error(`bench: /console/events answers ${answer.status}`);
	try {
		for await (const piece of answer.body) if (piece.length > 0) heard();
	} catch (thrown) {
		if (!signal.aborted) throw thrown;
	}
}

/** What all threads of the router have run, ms. A tick of `/proc/PID/stat` is too long here. */
function cpuMs(): number {
	const threads = readdirSync(`/proc/${router.pid}/task`);
	const nanos = threads.map((id) =>
		Number(readFileSync(`/proc/${router.pid}/task/${id}/schedstat`, "utf8").split(" ")[0]),
	);
	return nanos.reduce((sum, each) => sum + each, 0) / 1e6;
}

/** CPU of the router, of a core, while something is done. */
async function turn(clients: number, doing: () => Promise<unknown>): Promise<Turn> {
	const end = new AbortController();
	let heard = 0;
	const watching = Array.from({ length: clients }, () => watch(end.signal, () => heard++));
	const [cpu, began] = [cpuMs(), performance.now()];
	await doing();
	const share = (cpuMs() - cpu) / (performance.now() - began);
	end.abort();
	await Promise.all(watching);
	return { share, heard };
}

interface Turn {
	/** Of a core. */
	readonly share: number;
	/** Samples, of all clients. */
	readonly heard: number;
}

/** So many turns without and with clients, one after the other. */
async function compare(turns: number, doing: () => Promise<unknown>) {
	const pairs: { readonly without: Turn; readonly beside: Turn }[] = [];
	for (let at = 0; at < turns; at++) {
		pairs.push({ without: await turn(0, doing), beside: await turn(CLIENTS, doing) });
	}
	const percent = (of: (pair: (typeof pairs)[number]) => number) => `${(100 * median(pairs.map(of))).toFixed(2)} %`;
	const heard = Math.min(...pairs.map(({ beside }) => beside.heard));
	if (heard < CLIENTS * (TURN_S - 1))
		throw new Error(`bench: ${CLIENTS} clients heard ${heard} samples in ${TURN_S} s`);
	const [without, beside] = [percent((pair) => pair.without.share), percent((pair) => pair.beside.share)];
	return `${without} of a core, with ${CLIENTS} clients ${beside}: ${percent((pair) => pair.beside.share - pair.without.share)}`;
}

await load(TURN_S);
// What calls leave to be done behind them is no part of it.
await Bun.sleep(TURN_S * 1000);
console.log(`at rest          ${await compare(TURNS_AT_REST, () => Bun.sleep(TURN_S * 1000))}`);
console.log(`at ${CALLS_A_SECOND} calls/s   ${await compare(TURNS, () => load(TURN_S))}`);
if (failed > 0) throw new Error(`bench: ${failed} calls of ${answered + failed} failed`);
