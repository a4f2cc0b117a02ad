/** The official `ollama` client, unmodified but for its host, reads every upstream's answers and errors through the router. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ChatResponse, Ollama } from "ollama";
import { dialect, upstreamsAt } from "./kit/dialects.ts";
import { BROKEN_STREAMS, REFUSALS } from "./kit/error-fixtures.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { cutsAfter } from "./kit/faults.ts";
import { askedChat, ollamaClient } from "./kit/ollama-client.ts";
import type { Replay } from "./kit/replay.ts";
import { REPLAYED, type ReplayedRouter, startReplayedRouter } from "./kit/replayed-upstreams.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { SCENARIO_NAMES, type ScenarioName, scenario } from "./kit/scenarios.ts";

let started: ReplayedRouter;
let replay: Replay;
let router: RunningRouter;
let client: Ollama;
beforeAll(async () => {
	started = await startReplayedRouter();
	({ replay, router } = started);
	client = ollamaClient(router.url);
});
afterAll(() => started.stop());

/** What the promise rejects with. */
async function rejection(promise: PromiseLike<unknown>): Promise<Error & { status_code?: number }> {
	try {
		await promise;
	} catch (error) {
		return error as Error;
	}
	throw new Error("the call succeeded");
}

describe.each([...new Set(REFUSALS.map(({ provider }) => provider))])("%s refuses", (name) => {
	const refusals = REFUSALS.filter(({ provider }) => provider === name);
	const { model } = dialect(name);

	test.each(refusals.map((row) => [row.name, row] as const))("%s", async (_, refusal) => {
		for (const stream of [false, true]) {
			replay.play(refusal.response);
			const error = await rejection(client.chat({ ...askedChat(model, "text"), stream: stream as true }));
			expect(error.name).toBe("ResponseError");
			expect([error.status_code, error.message === ""]).toEqual([refusal.status, false]);
		}
	});
});

test.each(BROKEN_STREAMS.map((row) => [row.name, row] as const))(
	"a stream that breaks throws: %s",
	async (_, broken) => {
		const seen = Promise.withResolvers<void>();
		const response = { status: 200, headers: { "content-type": "text/event-stream" }, sse: broken.sse };
		replay.play(response, { before: '"error"', until: seen.promise });
		const stream = await client.chat({ ...askedChat(dialect(broken.provider).model, "text"), stream: true });
		const error = await rejection(Array.fromAsync(stream, () => seen.resolve()));
		expect(error.message).toContain(broken.message);
	},
);

test("a stream whose upstream breaks off never looks done", async () => {
	const faults = startFaultUpstream();
	const broken = await startRouter(upstreamsAt(faults.origin));
	try {
		faults.run(cutsAfter(2));
		const lines: ChatResponse[] = [];
		const stream = await ollamaClient(broken.url).chat({ ...askedChat("local/qwen3-8b", "text"), stream: true });
		const error = await rejection(
			(async () => {
				for await (const line of stream) lines.push(line);
			})(),
		);
		expect(error.message).not.toContain("Did not receive done");
		expect(lines.some(({ done }) => done)).toBe(false);
	} finally {
		await broken.stop();
		faults.stop();
	}
});

test("a model that nobody serves is not found, in the words for which clients look", async () => {
	const error = await rejection(client.chat({ ...askedChat("no-such-model", "text"), stream: false }));
	expect([error.status_code, error.message]).toEqual([404, expect.stringContaining("model 'no-such-model' not found")]);
});

describe.each(REPLAYED.map((row) => [row.name, row] as const))("%s", (name, { model, answer }) => {
	function expected(asked: ScenarioName) {
		const { content, refusal, reasoning, toolCalls, finish } = scenario(asked).said;
		// Gemini says that it stopped, not why in words; Claude says that beside its content.
		const words = refusal === undefined ? content : name === "gemini" ? "" : refusal;
		return {
			text: words ?? "",
			thinking: reasoning ?? "",
			calls: (toolCalls ?? []).map(({ name: fn, arguments: text }) => [fn, JSON.parse(text) as Json]),
			reason: finish === "length" ? "length" : "stop",
		};
	}
	function seen(lines: readonly ChatResponse[]) {
		const calls = lines.flatMap(({ message }) => message.tool_calls ?? []);
		return {
			text: lines.map(({ message }) => message.content).join(""),
			thinking: lines.map(({ message }) => message.thinking ?? "").join(""),
			calls: calls.map(({ function: fn }) => [fn.name, fn.arguments]),
			reason: lines.at(-1)!.done_reason,
		};
	}
	const counted = (asked: ScenarioName) => ({
		prompt_eval_count: 11,
		eval_count: 7 + (scenario(asked).said.reasoning ? 30 : 0),
	});
	// A refusal ends otherwise at each vendor.
	const named = (asked: ScenarioName, found: ReturnType<typeof seen>) =>
		asked === "refusal" ? { ...found, reason: "stop" } : found;

	test.each(SCENARIO_NAMES)("%s", async (asked) => {
		replay.play(answer(asked, false));
		const whole = await client.chat({ ...askedChat(model, asked), stream: false });
		expect(named(asked, seen([whole]))).toEqual(expected(asked));
		expect(whole as unknown).toMatchObject({ ...counted(asked), model, done: true });
		expect(whole.total_duration).toBeGreaterThan(0);
		expect(whole.eval_duration).toBeGreaterThan(0);
	});

	test.each(SCENARIO_NAMES)("%s, streamed", async (asked) => {
		replay.play(answer(asked, true), "event");
		const stream = await client.chat({ ...askedChat(model, asked), stream: true });
		const lines = await Array.fromAsync(stream);
		expect(named(asked, seen(lines))).toEqual(expected(asked));
		expect(lines.at(-1) as unknown).toMatchObject({ ...counted(asked), model, done: true });
		expect(lines.slice(0, -1).every(({ done }) => !done)).toBe(true);
	});

	test("a prompt, whole and streamed", async () => {
		replay.play(answer("text", false));
		const prompt = "Grüße! 你好 🙂";
		const whole = await client.generate({ model, prompt, system: "Answer in one line.", stream: false });
		expect([whole.response, whole.done]).toEqual([scenario("text").said.content!, true]);
		replay.play(answer("text", true), "event");
		const lines = await Array.fromAsync(await client.generate({ model, prompt, stream: true }));
		expect(lines.map(({ response }) => response).join("")).toBe(scenario("text").said.content!);
		expect((lines.at(-1) as Loose)["router"]).toMatchObject({ attempts: 1 });
	});
});
