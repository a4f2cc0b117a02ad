/** A resumed answer is counted in tokens: it is no longer than its limit, and its usage is that of one unbroken answer. */
import { afterAll, describe, expect, test } from "bun:test";
import { resumeSpend } from "../src/proxy/resume-request.ts";
import { choiceEvent, DONE, event, textEvent } from "./kit/events.ts";
import { chunksOf, type Json } from "./kit/exchange.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { begins, streams } from "./kit/faults.ts";
import { readTo } from "./kit/lines.ts";
import { pipeline } from "./kit/pipeline.ts";
import { toldBy } from "./kit/resumed.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});

const PROMPT = 37;

interface RequestBody {
	readonly messages: readonly { readonly content: string }[];
	readonly continue_final_message?: boolean;
	readonly max_tokens?: number;
	readonly stream_options?: { readonly include_usage?: boolean; readonly continuous_usage_stats?: boolean };
}

/**
 * vLLM with a model that says these tokens, so many in a chunk. Its prompt has 37 tokens, and those of the beginning that it is given.
 * @param breaksAfter chunks after which its connection is cut; never where it is left out
 */
function vllm(
	tokens: readonly string[],
	pack: number,
	breaksAfter = Number.POSITIVE_INFINITY,
	countsChunks = true,
): Script {
	return async (connection) => {
		const body = JSON.parse(connection.request.body) as RequestBody;
		const begun = body.continue_final_message ? body.messages.at(-1)!.content : "";
		let at = 0;
		for (let length = 0; length < begun.length; at++) length += tokens[at]!.length;
		const prompt = PROMPT + at;
		const end = Math.min(tokens.length, at + (body.max_tokens ?? tokens.length));
		const counts = countsChunks && body.stream_options?.continuous_usage_stats === true;
		let said = 0;
		const usage = () => ({ prompt_tokens: prompt, total_tokens: prompt + said, completion_tokens: said });
		const chunk = (delta: Json, finish: string | null = null) =>
			event({
				...JSON.parse(choiceEvent(delta, finish).slice("data: ".length)),
				...(counts ? { usage: usage() } : {}),
			});
		const events = [chunk({ role: "assistant", content: "" })];
		for (; at < end; at += pack) {
			const pieces = tokens.slice(at, Math.min(end, at + pack));
			said += pieces.length;
			events.push(chunk({ content: pieces.join("") }, at + pack >= end ? "length" : null));
		}
		if (breaksAfter > events.length) {
			const last = { id: "u", object: "chat.completion.chunk", choices: [], usage: usage() };
			return streams([...events, ...(body.stream_options?.include_usage ? [event(last)] : []), DONE])(connection);
		}
		await begins(events.slice(0, breaksAfter))(connection);
		await Bun.sleep(20);
		connection.destroy();
	};
}

const words = (count: number) => Array.from({ length: count }, (_, index) => ` word${index}`);

async function ask(body: Json, providers: Json = {}) {
	const router = pipeline({
		config: {
			providers: {
				one: { type: "vllm", base_url: first.origin },
				two: { type: "vllm", base_url: second.origin },
				...providers,
			},
			models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"] }],
		},
	});
	const call = { model: "fast", stream: true, messages: [{ role: "user", content: "hi" }], ...body };
	const sse = await (await router.send(call)).text();
	const chunks = chunksOf(sse) as { choices?: { delta?: { content?: string } }[]; usage?: Json; error?: Json }[];
	return {
		sse,
		chunks,
		text: chunks.map(({ choices }) => choices?.[0]?.delta?.content ?? "").join(""),
		usages: chunks.flatMap(({ usage }) => (usage ? [usage] : [])),
		settled: (await router.settledCalls(1))[0]!,
		router,
	};
}
/** vLLM with a model that thinks: its tokens of reasoning are told apart, in its last usage and, where it is asked to, with each chunk. */
function thinking(thoughts: number, tokens: readonly string[], breaksAfter?: number, countsChunks = true): Script {
	return async (connection) => {
		const {
			continue_final_message: isRest,
			messages,
			stream_options: options,
		} = JSON.parse(connection.request.body) as RequestBody;
		const begun = isRest ? messages.at(-1)!.content.trim().split(" ").length : 0;
		const thought = isRest ? 0 : thoughts;
		const usage = (reasoning: number, content: number) => ({
			...{ prompt_tokens: PROMPT + begun, completion_tokens: reasoning + content },
			total_tokens: PROMPT + begun + reasoning + content,
			completion_tokens_details: { reasoning_tokens: reasoning },
		});
		const counts = countsChunks && options?.continuous_usage_stats === true;
		const chunk = (delta: Json, reasoning: number, content: number, finish: string | null = null) => {
			const made = JSON.parse(choiceEvent(delta, finish).slice("data: ".length));
			return event({ ...made, ...(counts ? { usage: usage(reasoning, content) } : {}) });
		};
		const rest = tokens.slice(begun);
		const events = [
			...Array.from({ length: thought }, (_, at) => chunk({ reasoning: " hm" }, at + 1, 0)),
			...rest.map((content, at) => chunk({ content }, thought, at + 1, at + 1 === rest.length ? "stop" : null)),
		];
		if (breaksAfter === undefined) {
			const last = { id: "u", object: "chat.completion.chunk", choices: [], usage: usage(thought, rest.length) };
			return streams([...events, event(last), DONE])(connection);
		}
		await begins(events.slice(0, breaksAfter))(connection);
		await Bun.sleep(20);
		connection.destroy();
	};
}

const asked = (upstream: typeof first, nth = 0) => JSON.parse(upstream.received[nth]!.body) as RequestBody;

describe("an upstream that packs several tokens into a chunk", () => {
	test.each([1, 2, 3, 5, 8])(
		"%i: the answer has as many tokens as were asked for, and its usage says so",
		async (pack) => {
			const tokens = words(200);
			first.run(vllm(tokens, pack, 6));
			second.run(vllm(tokens, pack));
			const { text, usages, settled } = await ask({ max_tokens: 120, stream_options: { include_usage: true } });
			expect(text).toBe(tokens.slice(0, 120).join(""));
			expect(usages).toEqual([{ prompt_tokens: PROMPT, completion_tokens: 120, total_tokens: PROMPT + 120 }]);
			expect(settled.tokens).toMatchObject({ input: PROMPT, output: 120 });
			expect(asked(second).max_tokens).toBe(120 - 5 * pack);
		},
	);

	test.each([
		["as it was counted", true],
		["as its length has it, where nobody counted it", false],
	])("reasoning that was told before the break is in the usage, %s", async (_, countsChunks) => {
		const tokens = words(40);
		first.run(thinking(12, tokens, 20, countsChunks));
		second.run(thinking(12, tokens));
		const { text, usages, sse, settled } = await ask({ stream_options: { include_usage: true } });
		expect(text).toBe(tokens.join(""));
		const { reasoning } = settled.tokens!;
		if (countsChunks) expect(reasoning).toBe(12);
		else expect(reasoning).toBeWithin(6, 25);
		expect(usages.at(-1)).toMatchObject({ completion_tokens_details: { reasoning_tokens: reasoning } });
		expect(settled.tokens!.output).toBe(52);
		expect(JSON.parse(/^: router (\{.*)$/m.exec(sse)![1]!).usage).toMatchObject({ output: 52, reasoning });
	});

	test("its counts with each chunk reach no client that has not asked for them", async () => {
		const tokens = words(40);
		first.run(vllm(tokens, 3, 6));
		second.run(vllm(tokens, 3));
		const { sse, text, settled } = await ask({});
		expect(text).toBe(tokens.join(""));
		expect(sse).not.toContain('"usage":{"prompt_tokens');
		expect(settled.tokens).toMatchObject({ input: PROMPT, output: 40 });
	});

	test("its counts go on without a step where the client has asked for them itself", async () => {
		const tokens = words(40);
		first.run(vllm(tokens, 3, 6));
		second.run(vllm(tokens, 3));
		const { chunks, usages } = await ask({
			stream_options: { include_usage: true, continuous_usage_stats: true },
		});
		expect(usages.length).toBe(chunks.length);
		const counts = usages.map((usage) => usage["completion_tokens"] as number);
		expect(counts).toEqual(counts.toSorted((a, b) => a - b));
		expect(counts.at(-1)).toBe(40);
		expect(usages.every((usage) => usage["prompt_tokens"] === PROMPT)).toBe(true);
	});

	test("is asked for counts only where an answer can go on elsewhere", async () => {
		first.run(vllm(words(3), 1));
		await ask({});
		await ask({ model: "one/a" });
		expect(asked(first, 0).stream_options).toEqual({ include_usage: true, continuous_usage_stats: true });
		expect(asked(first, 1).stream_options).toEqual({ include_usage: true });
	});

	test("that breaks twice is counted over all three", async () => {
		const tokens = words(100);
		second.run(vllm(tokens, 4, 5));
		first.run((connection) => vllm(tokens, 4, connection.nth === 0 ? 5 : undefined)(connection));
		const { text, usages } = await ask({ max_tokens: 80, stream_options: { include_usage: true } });
		expect(text).toBe(tokens.slice(0, 80).join(""));
		expect(usages).toEqual([{ prompt_tokens: PROMPT, completion_tokens: 80, total_tokens: PROMPT + 80 }]);
		expect(asked(first, 1).max_tokens).toBe(80 - 2 * 16);
	});

	test("that counts nothing until its end is estimated, and the usage says so", async () => {
		const tokens = words(200);
		first.run(vllm(tokens, 8, 6, false));
		second.run(vllm(tokens, 8, undefined, false));
		const { text, usages } = await ask({ max_tokens: 120, stream_options: { include_usage: true } });
		expect(tokens.slice(0, 120).join("")).toStartWith(text);
		expect(usages).toMatchObject([{ estimated: true }]);
	});

	test("whose client leaves is billed for what had been counted", async () => {
		first.run(async (connection) => {
			await vllm(words(100), 4, 4)({ ...connection, destroy: () => undefined });
			await connection.closed;
		});
		const router = pipeline({
			config: {
				providers: { one: { type: "vllm", base_url: first.origin }, two: { type: "vllm", base_url: second.origin } },
				models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"] }],
			},
		});
		const answer = await router.send({ model: "fast", stream: true, messages: [{ role: "user", content: "hi" }] });
		const reader = answer.body!.getReader();
		await readTo(reader, "word11");
		await reader.cancel();
		const [settled] = await router.settledCalls(1);
		expect(settled).toMatchObject({ status: 499, tokens: { input: PROMPT, output: 12 } });
	});
});

describe("white space at the seam", () => {
	/** A model whose tokens are characters: 150 of them. */
	const letters = [..."abcd efghi jklm ".repeat(10).slice(0, 149), "!"];

	test.each([5, 6, 11, 12, 17])(
		"is part of the answer once, and no character is lost for it: broken after %i",
		async (after) => {
			first.run(vllm(letters, 1, after));
			second.run(vllm(letters, 1));
			const { text, usages } = await ask({ max_tokens: 150, stream_options: { include_usage: true } });
			expect(text).toBe(letters.join(""));
			expect(usages).toEqual([{ prompt_tokens: PROMPT, completion_tokens: 150, total_tokens: PROMPT + 150 }]);
		},
	);

	test("is not lost either where nobody counts with each chunk", async () => {
		for (const after of [5, 6, 11]) {
			first.run(vllm(letters, 1, after, false));
			second.run(vllm(letters, 1, undefined, false));
			expect((await ask({ max_tokens: 150 })).text).toBe(letters.join(""));
		}
	});
});

describe("what was told is counted", () => {
	const told = (...pieces: string[]) => toldBy(pieces.map(textEvent));

	test("as chunks, where these are as long as tokens are", () => {
		expect(resumeSpend(told("Hello", " wor", "ld"), undefined, undefined)).toMatchObject({
			tokens: 3,
			isEstimated: true,
		});
	});

	test("by its length, where they are longer", () => {
		const spent = resumeSpend(told("Hello wonderful world, ", "how do you do today?"), undefined, undefined);
		expect(spent.tokens).toBe(11);
	});

	test("without the white space at its end, which is made once more", () => {
		expect(resumeSpend(told("Hello", "\n", "\n"), undefined, undefined)).toMatchObject({ tokens: 1, total: 3 });
		expect(resumeSpend(told("Hello", " you\n"), undefined, undefined)).toMatchObject({ tokens: 1, total: 2 });
	});

	test("as its upstream counts it, and only what came behind is estimated", () => {
		const counted = resumeSpend(told("a", "b"), { input: 7, output: 20, trimmed: 19 }, undefined);
		expect(counted).toMatchObject({ prompt: 7, tokens: 19, total: 20, isEstimated: false });
		expect(resumeSpend(told("a", "b", "c"), undefined, counted)).toMatchObject({
			prompt: 7,
			tokens: 21,
			isEstimated: true,
		});
	});

	test("as before, where nothing came since", () => {
		const before = resumeSpend(told("a", "b"), { input: 7, output: 20, trimmed: 20 }, undefined);
		expect(resumeSpend(told("a", "b"), undefined, before)).toMatchObject({ tokens: 20, isEstimated: false });
		expect(resumeSpend(told("a", "b"), { input: 7, output: 1, trimmed: 1 }, before)).toMatchObject({ tokens: 20 });
	});
});

test("of attempts that broke, each has its own tokens: what others said before it was its prompt", async () => {
	const tokens = words(11);
	first.run(vllm(tokens, 1, 4));
	second.run(vllm(tokens, 1, 4));
	const { router, text } = await ask({ max_tokens: 11 });
	expect(text).toBe(tokens.join(""));
	const broken = router.attempts.filter(({ failure }) => failure !== undefined);
	expect(broken.map(({ tokens: own }) => [own?.input, own?.output])).toEqual([
		[PROMPT, 3],
		[PROMPT + 3, 3],
		[PROMPT + 6, 3],
	]);
});
