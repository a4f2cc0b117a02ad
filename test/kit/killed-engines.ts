/** Calls that run while one of them kills its engine: what becomes of each. */
import { expect } from "bun:test";
import type { RunningRouter } from "./router.ts";
import { until } from "./until.ts";
import { choices, MODEL } from "./vllm-sim-client.ts";
import { type Sim, type SimOptions, startSim } from "./vllm-sim-process.ts";

/** The prompt that engines die of, as `SIM_POISON` says it. */
export const POISON = "kill-the-engine";

/** One of its own for streams, since calls that say the same are the same however they are sent. */
export const poisonOf = (isStream: boolean): string => `${POISON} ${isStream ? "streams" : "whole answers"}`;

/** A vLLM that somebody starts again when it has ended, as Docker and systemd do. */
export interface RestartedSim {
	readonly origin: string;
	/** As SIM_SPEED, now and after each start. */
	accelerate(speed: number): Promise<void>;
	/** The one that runs is not started again before this is called. */
	holdRestart(): () => void;
	stop(): Promise<void>;
}

/** Starts one. */
export async function startRestarted(options: SimOptions): Promise<RestartedSim> {
	const first = await startSim(options);
	const { origin } = first;
	const port = Number(new URL(origin).port);
	let env = options.env;
	let running: Promise<Sim> = Promise.resolve(first);
	let mayStart = Promise.resolve();
	let isOver = false;
	const watch = (sim: Sim) =>
		void sim.exited
			.then(() => mayStart)
			.then(() => {
				if (isOver) return;
				running = startSim({ ...options, env: env ?? {}, port });
				running.then(watch, () => undefined);
			});
	watch(first);
	return {
		origin,
		async accelerate(speed) {
			env = { ...env, SIM_SPEED: String(speed) };
			// One that is about to end need not hear it.
			await (await running).control({ speed }).catch(() => undefined);
		},
		holdRestart() {
			const { promise, resolve } = Promise.withResolvers<void>();
			mayStart = promise;
			return resolve;
		},
		async stop() {
			isOver = true;
			const sim = await running.catch(() => undefined);
			await sim?.stop();
		},
	};
}

/** A streamed or whole call under way. */
export interface RunningCall {
	readonly content: string;
	/** Text so far. */
	text(): string;
	/** Its status, and the code of its error, of an answer or at a stream's end; its answer, where that is whole. */
	readonly ended: Promise<{ readonly status: number; readonly code?: string; readonly text?: string }>;
}

/** Makes a call of this message. */
export function startCall(url: string, model: string, content: string, isStream: boolean): RunningCall {
	let text = "";
	const run = async () => {
		const messages = [{ role: "user", content }];
		const answer = await fetch(`${url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({ model, messages, stream: isStream, temperature: 1 }),
		});
		const { status } = answer;
		if (!isStream || status !== 200) {
			const body = JSON.parse(await answer.text());
			if (status !== 200) return { status, code: body.error.code as string };
			return { status, text: choices(body)[0]!.message.content ?? "" };
		}
		const decoder = new TextDecoder();
		let rest = "";
		let isWhole = false;
		for await (const bytes of answer.body!) {
			const events = (rest + decoder.decode(bytes, { stream: true })).split("\n\n");
			rest = events.pop()!;
			for (const event of events) {
				if (!event.startsWith("data: {")) continue;
				const chunk = JSON.parse(event.slice("data: ".length));
				if (chunk.error) return { status: 503, code: chunk.error.code as string };
				for (const { delta, finish_reason } of choices(chunk)) {
					text += delta.content ?? "";
					isWhole ||= finish_reason !== null;
				}
			}
		}
		return isWhole ? { status, text } : { status: 0, code: "cut short" };
	};
	return { content, text: () => text, ended: run() };
}

/** Twenty calls, of which the last kills the engine that takes it. */
export interface Twenty {
	readonly router: RunningRouter;
	/** Where the engines are, if that is behind another one. */
	readonly behind?: RunningRouter;
	/** A name of the router's. */
	readonly model: string;
	readonly isStream: boolean;
	/** Streams that have their first token before an engine dies, at least. */
	readonly withTokens: number;
	/** Kills an engine while nineteen calls run; absent: the twentieth call does. */
	kill?(): Promise<unknown>;
	/** Called when one has died. */
	died?(): Promise<unknown>;
}

/** Has them run, and looks at what becomes of each. Resolves with how often each engine has died, by target. */
export async function killUnderTwenty(twenty: Twenty): Promise<number[]> {
	const { router, behind = router, model, isStream, withTokens, kill, died } = twenty;
	const before = sum(await deathsOf(behind));
	const calls = Array.from({ length: 19 }, (_, at) => startCall(router.url, model, `question ${at}`, isStream));
	await until(async () => (await router.metric("router_in_flight_requests")) === 19, "19 calls under way");
	if (isStream) await until(() => calls.filter((each) => each.text() !== "").length >= withTokens, "first tokens");
	const hadTokens = new Set(calls.filter((each) => each.text() !== "").map(({ content }) => content));
	if (isStream) expect(19 - hadTokens.size).toBeGreaterThanOrEqual(3);
	if (kill) await kill();
	const poison = kill ? undefined : startCall(router.url, model, poisonOf(isStream), isStream);
	if (poison) await until(async () => sum(await deathsOf(behind)) > before, "a death");
	await died?.();
	if (poison) expect(await poison.ended).toMatchObject({ status: 422, code: "poisonous_request" });
	await using reference = await startSim({ env: { SIM_ANSWER_TOKENS: String(ANSWER_TOKENS), SIM_SPEED: "100" } });
	for (const each of calls) {
		const { status, code, text } = await each.ended;
		const wanted = (await startCall(reference.origin, MODEL, each.content, false).ended).text;
		if (poison && status === 503 && !hadTokens.has(each.content)) expect(code).toBe("engine_died");
		else expect([each.content, status, code, text]).toEqual([each.content, 200, undefined, wanted]);
	}
	return deathsOf(behind);
}

const sum = (counts: readonly number[]) => counts.reduce((total, each) => total + each, 0);

/** Tokens of every answer: long enough that all calls are under way when an engine dies. */
export const ANSWER_TOKENS = 150;

/** How often each engine that has died did so, as the router has counted. */
export async function deathsOf({ url }: Pick<RunningRouter, "url">): Promise<number[]> {
	const text = await (await fetch(`${url}/metrics`)).text();
	return [...text.matchAll(/^router_engine_deaths_total\{[^}]*\} (\d+)$/gm)].map(([, count]) => Number(count));
}
