/**
 * What an open console costs a router: the page in a Chromium, where there is one, and clients of its event stream, as a share of a core, all the router's threads, as Linux counts them in /proc:
 * `bun test/bench/console-cost.ts` (after `make build`; some two minutes, Linux). Beside a load, with and without them in turn (without, with, with, without), so that what else the machine does is in
 * both; and at rest, where nothing hides it: a sample a second is made either way. What two turns without them differ by is what this machine can tell. CONSOLE_CLIENTS (10), CONSOLE_CALLS (1,000 a
 * second), BENCH_ROUNDS (10), BENCH_SECONDS (3, of a turn). Fails where the console costs more than 2 % of a core beside the load, and
 * where the machine can't tell.
 */
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { openPage } from "../kit/browser.ts";
import { signIn } from "../kit/console-page.ts";
import { problemOf } from "../parts/table.ts";
import { median, quantile } from "./measure.ts";
import { pinSelf } from "./pins.ts";
import { clearAwayAtEnd } from "./processes.ts";
import { wholeNumber } from "./settings.ts";
import { startRouter, startUpstream } from "./subject.ts";

const CLIENTS = wholeNumber("CONSOLE_CLIENTS", 10);
const CALLS_A_SECOND = wholeNumber("CONSOLE_CALLS", 1_000);
/** Pairs of turns with and without the console beside the load, and of how long, s. */
const ROUNDS = wholeNumber("BENCH_ROUNDS", 10);
const TURN_S = wholeNumber("BENCH_SECONDS", 3);
/** Pairs at rest. */
const ROUNDS_AT_REST = 2;
/** Of a core. */
const MOST = 0.02;
/** How often calls are sent, ms. */
const STEP_MS = 5;
const ADMIN = "bench-key-of-an-administrator";

clearAwayAtEnd();
pinSelf();
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

/** A client of the console's; counts what it hears until it is ended. Resolves once it hears something. */
async function watch(signal: AbortSignal, heard: () => void): Promise<{ readonly ended: Promise<void> }> {
	const answer = await fetch(`${router.url}/console/events`, { headers: { authorization: `Bearer ${ADMIN}` }, signal });
	if (!answer.ok || !answer.body) throw new Error(`bench: /console/events answers ${answer.status}`);
	const first = Promise.withResolvers<void>();
	const listen = async () => {
		try {
			for await (const piece of answer.body!) {
				if (piece.length === 0) continue;
				heard();
				first.resolve();
			}
		} catch (thrown) {
			if (!signal.aborted) throw thrown;
		}
	};
	const ended = listen();
	await Promise.race([first.promise, ended]);
	return { ended };
}

/** The console's first page, signed in, with its figures moving; undefined where there is no browser. */
async function openConsolePage(): Promise<(() => Promise<void>) | undefined> {
	if (problemOf("chromium") !== undefined) return undefined;
	const watched = await openPage({ viewport: { width: 1280, height: 900 } });
	await watched.page.goto(`${router.url}/`);
	await signIn(watched, ADMIN);
	await watched.page.waitForSelector(".figure .value");
	return watched.close;
}

/** What all threads of the router have run, ms. A tick of `/proc/PID/stat` is too long here. */
function cpuMs(): number {
	const threads = readdirSync(`/proc/${router.pid}/task`);
	const nanos = threads.map((id) =>
		Number(readFileSync(`/proc/${router.pid}/task/${id}/schedstat`, "utf8").split(" ")[0]),
	);
	return nanos.reduce((sum, each) => sum + each, 0) / 1e6;
}

interface Turn {
	/** Of a core. */
	readonly share: number;
	/** Samples, of all clients. */
	readonly heard: number;
	readonly seconds: number;
}

/** CPU of the router, of a core, while something is done and the console is open or not. What it takes to open it is no part of it. */
async function turn(isOpen: boolean, doing: () => Promise<unknown>): Promise<Turn> {
	const end = new AbortController();
	let heard = 0;
	const closePage = isOpen ? await openConsolePage() : undefined;
	const clients = await Promise.all(
		Array.from({ length: isOpen ? CLIENTS : 0 }, () => watch(end.signal, () => heard++)),
	);
	heard = 0;
	const [cpu, began] = [cpuMs(), performance.now()];
	await doing();
	const ms = performance.now() - began;
	const share = (cpuMs() - cpu) / ms;
	const counted = heard;
	end.abort();
	await Promise.all(clients.map(({ ended }) => ended));
	await closePage?.();
	return { share, heard: counted, seconds: ms / 1000 };
}

interface Cost {
	/** Of a core, a pair of turns each. */
	readonly without: readonly number[];
	readonly beside: readonly number[];
	readonly more: readonly number[];
	/** By which turns without a console differ, one from the next. */
	readonly noise: readonly number[];
	/** The longest turn. */
	readonly seconds: number;
}

/** So many pairs of turns: which of two comes first changes from pair to pair. */
async function compare(rounds: number, doing: () => Promise<unknown>): Promise<Cost> {
	const pairs: { readonly without: Turn; readonly beside: Turn }[] = [];
	for (let at = 0; at < rounds; at++) {
		const isSwapped = at % 2 === 1;
		const first = await turn(isSwapped, doing);
		const second = await turn(!isSwapped, doing);
		pairs.push(isSwapped ? { without: second, beside: first } : { without: first, beside: second });
	}
	const heard = Math.min(...pairs.map(({ beside }) => beside.heard));
	if (heard < CLIENTS * (TURN_S - 1)) {
		throw new Error(`bench: ${CLIENTS} clients heard ${heard} samples in ${TURN_S} s`);
	}
	const [without, beside] = [pairs.map((pair) => pair.without.share), pairs.map((pair) => pair.beside.share)];
	return {
		without,
		beside,
		more: beside.map((share, at) => share - without[at]!),
		noise: without.slice(1).map((share, at) => Math.abs(share - without[at]!)),
		seconds: Math.max(...pairs.flatMap((pair) => [pair.without.seconds, pair.beside.seconds])),
	};
}

const percent = (share: number) => `${(100 * share).toFixed(2)} %`;

function print(name: string, { without, beside, more, noise, seconds }: Cost): void {
	const quartiles = [0.25, 0.75].map((share) => percent(quantile(more, share))).join(" to ");
	console.log(
		`${name.padEnd(16)} ${percent(median(without))} of a core, with the console ${percent(median(beside))}: ` +
			`${percent(median(more))} more (quartiles of ${more.length} pairs ${quartiles}; turns without it differ by ${percent(median(noise))})`,
	);
	// Then there were fewer calls a second than there were to be.
	if (seconds > 1.1 * TURN_S)
		console.log(`${" ".repeat(16)} a turn of ${TURN_S} s took ${seconds.toFixed(1)} s: the load was late`);
}

await load(TURN_S);
// What calls leave to be done behind them is no part of it.
await Bun.sleep(2_000);
const page = problemOf("chromium") === undefined ? "a page in a Chromium and " : "no Chromium here, ";
console.log(`The console: ${page}${CLIENTS} clients of its event stream`);
print("at rest", await compare(ROUNDS_AT_REST, () => Bun.sleep(TURN_S * 1000)));
const cost = await compare(ROUNDS, () => load(TURN_S));
print(`at ${CALLS_A_SECOND} calls/s`, cost);
if (failed > 0) throw new Error(`bench: ${failed} calls of ${answered + failed} failed`);
if (median(cost.noise) > MOST) {
	console.log(
		`Turns without a console differ by more than ${percent(MOST)} here: beside a load this machine can't tell.`,
	);
	process.exitCode = 1;
} else if (median(cost.more) > MOST) {
	console.log(`That is more than ${percent(MOST)}.`);
	process.exitCode = 1;
}
