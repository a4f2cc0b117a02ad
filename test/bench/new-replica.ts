/**
 * What a new replica's first calls wait for their first token, with the prefix cache that it starts with (empty) and with one that it has
 * filled ahead (`agent.warm_up`). `bun test/bench/new-replica.ts`, half a minute; Linux.
 *
 * Calls of 32 system prompts of some 2,000 tokens, some called more often than others (Zipf), by the kit's stand-in for vLLM at the speed of an 8B
 * model on an H100, one call every 50 ms. Which ones are computed ahead is decided by 200 calls of before, as an agent hears of them.
 */
import { type WarmUpItem, WarmUps } from "../../src/agent/models/warm-ups.ts";
import { ModelPrompts } from "../../src/agent/vllm/model-prompts.ts";
import { readPrompt } from "../../src/agent/vllm/read-prompt.ts";
import { httpTransport } from "../../src/proxy/net/transport.ts";
import { random } from "../kit/random.ts";
import { type Sim, startSim } from "../kit/vllm-sim-process.ts";
import { median } from "./measure.ts";

const MODEL = "Qwen/Qwen3-8B";
const PROMPTS = 32;
const BEFORE = 200;
const CALLS = 100;
const GAP_MS = 50;
const ROOM = 32_768;

const http = httpTransport({});
const sims: Sim[] = [];
const start = async (): Promise<Sim> => {
	const sim = await startSim({ model: MODEL, compiled: true, args: [], env: { SIM_SPEED: "1", SIM_START_MS: "40" } });
	sims.push(sim);
	return sim;
};

/** A system prompt by its number, and by Zipf's law which one a call has. */
const system = (at: number): string =>
	Array.from({ length: 700 }, (_, word) => `rule${(at * 7919 + word * 104_729) % 99_991}`).join(" ");
const draw = random(7);
const weights = Array.from({ length: PROMPTS }, (_, at) => 1 / (at + 1));
const total = weights.reduce((sum, weight) => sum + weight, 0);
function drawn(): number {
	let left = (draw.below(1_000_000) / 1_000_000) * total;
	for (const [at, weight] of weights.entries()) {
		left -= weight;
		if (left < 0) return at;
	}
	return 0;
}
const bodyOf = (prompt: number, call: number): string =>
	JSON.stringify({
		...{ model: MODEL, stream: true, max_tokens: 2 },
		messages: [
			{ role: "system", content: system(prompt) },
			{ role: "user", content: `Question ${call}?` },
		],
	});

/** Times to the first token, ms. */
async function timesOf(sim: Sim, bodies: readonly string[]): Promise<number[]> {
	const calls: Promise<number>[] = [];
	for (const body of bodies) {
		calls.push(
			(async () => {
				const began = performance.now();
				const headers = { "content-type": "application/json" };
				const answer = await fetch(`${sim.origin}/v1/chat/completions`, { method: "POST", headers, body });
				const reader = answer.body!.getReader();
				let text = "";
				while (!text.includes('"content":"') && !text.includes("[DONE]")) {
					const { value, done } = await reader.read();
					if (done) break;
					text += Buffer.from(value).toString();
				}
				const ms = performance.now() - began;
				await reader.cancel();
				return ms;
			})(),
		);
		await Bun.sleep(GAP_MS);
	}
	return Promise.all(calls);
}

try {
	const [old, cold, warm] = [await start(), await start(), await start()];
	const prompts = new ModelPrompts(true);
	prompts.add({ blockSize: 16, needs() {}, forgotten() {} } as never);
	for (let call = 0; call < BEFORE; call++) {
		const request = { url: "http://container/v1/chat/completions", headers: {}, body: bodyOf(drawn(), call) };
		prompts.given(readPrompt(request, MODEL)!, { origin: old.origin, http });
		await new Promise<void>((known) => prompts.whenKnown(known));
	}
	const bodies = Array.from({ length: CALLS }, (_, call) => bodyOf(drawn(), BEFORE + call));
	const ended = Promise.withResolvers<{ tokens: number; ms: number }>();
	const warmUps = new WarmUps({
		prefixes: { hottest: () => prompts.hot!.hottest(ROOM, Date.now()), forgetTokens() {} },
		traffic: { waiting: () => ({ count: 0 }), runningIn: () => 0 },
		...{ mostMs: 10_000, isServing: (key: string) => key === "m#0", weightsOf: () => MODEL },
		...{ ended: ended.resolve, tick: { notify() {} }, log: { logger: { info() {} } } as never },
	});
	const item = (replica: number, origin: string, readyAt: number | undefined): WarmUpItem => ({
		...{ id: `c${replica}`, model: MODEL, key: `m#${replica}`, state: "running", health: "up" },
		...{ vllm: { origin, http }, monitor: { readyAt, metrics: undefined } },
	});
	warmUps.step([item(0, old.origin, undefined), item(1, warm.origin, 1)]);
	const { tokens, ms } = await ended.promise;
	console.log(`computed ahead: ${tokens} tokens of ${prompts.hot!.size} known in ${(ms / 1000).toFixed(1)} s`);
	const [without, withIt] = [await timesOf(cold, bodies), await timesOf(warm, bodies)];
	console.log("calls     without, median and mean ms   with, median and mean ms   with/without");
	for (const count of [10, 30, CALLS]) {
		const mean = (times: readonly number[]) => times.reduce((sum, each) => sum + each, 0) / times.length;
		const [a, b] = [without.slice(0, count), withIt.slice(0, count)];
		const cell = (times: readonly number[]) => `${median(times).toFixed(0)}  ${mean(times).toFixed(0)}`;
		console.log(
			`first ${String(count).padEnd(4)}${cell(a).padStart(26)}${cell(b).padStart(27)}${(mean(b) / mean(a)).toFixed(2).padStart(15)}`,
		);
	}
} finally {
	for (const sim of sims) await sim.stop();
}
