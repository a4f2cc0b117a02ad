/** Tool loops of models that think, by the unmodified official client, against vendors as strict about their signatures as the real ones. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type OpenAI from "openai";
import type { ChatCompletionMessageParam } from "openai/resources";
import type { Loose } from "./kit/exchange.ts";
import { openAiClient } from "./kit/openai-client.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { type StrictClaude, startStrictClaude } from "./kit/strict-claude.ts";
import { SKIP, type StrictGemini, startStrictGemini } from "./kit/strict-gemini.ts";
import { CLAUDE_TURNS, GEMINI_TURNS } from "./kit/tool-turns.ts";
import { until } from "./kit/until.ts";

let claude: StrictClaude;
let gemini: StrictGemini;
let router: RunningRouter;
let client: OpenAI;

async function start() {
	router = await startRouter({
		config: {},
		env: {
			ANTHROPIC_BASE_URL: `${claude.origin}/v1`,
			ANTHROPIC_API_KEY: "sk-ant-strict",
			GEMINI_BASE_URL: gemini.origin,
			GEMINI_API_KEY: "AIza-strict",
		},
	});
	client = openAiClient(router.url);
}
/** Has the router load another configuration. */
async function reload() {
	const loaded = () => router.metric("router_config_reloads_total", { result: "loaded" });
	const before = await loaded();
	const settings = { timeouts: { total: `${20 + before}m` } };
	writeFileSync(join(router.directory, "router.yaml"), JSON.stringify(settings));
	process.kill(router.pid, "SIGHUP");
	await until(async () => (await loaded()) > before, "the reload");
}
beforeAll(async () => {
	claude = startStrictClaude();
	gemini = startStrictGemini();
	await start();
});
afterAll(async () => {
	await router.stop();
	await claude.stop();
	await gemini.stop();
});

const tools = [
	{
		type: "function" as const,
		function: {
			name: "look",
			description: "Looks somewhere.",
			parameters: { type: "object", properties: { at: { type: "string" }, floor: { type: "integer" } } },
		},
	},
];

interface Loop {
	readonly model: string;
	readonly params?: Loose;
	/** What the client keeps of a message. */
	readonly keep: (message: Loose) => Loose;
	readonly stream: boolean;
	/** Called before each request. */
	readonly before?: (turn: number) => Promise<void>;
}

/** Runs until the model stops calling. Returns the conversation and the last answer's text. */
async function run({
	model,
	params = {},
	keep,
	stream,
	before,
}: Loop): Promise<{ turns: number; said: string | null }> {
	const messages: ChatCompletionMessageParam[] = [
		{ role: "system", content: "You look for things." },
		{ role: "user", content: "Where is my key?" },
	];
	for (let turn = 1; turn <= 8; turn++) {
		await before?.(turn);
		const request = { model, messages, tools, ...params };
		const completion = stream
			? await client.chat.completions.stream(request).finalChatCompletion()
			: await client.chat.completions.create(request);
		const { message } = (completion as OpenAI.ChatCompletion).choices[0]!;
		const kept = keep(message as unknown as Loose);
		messages.push(kept as ChatCompletionMessageParam);
		if (!message.tool_calls?.length) return { turns: turn, said: message.content };
		for (const { id } of message.tool_calls)
			messages.push({ role: "tool", tool_call_id: id, content: `nothing (${id})` });
	}
	throw new Error("the loop never ends");
}

/** Sends back all it got, as the official client does. */
const everything = (message: Loose) => message;
/** Sends back the fields of OpenAI's API alone, as frameworks with types of their own do. */
const known = ({ role, content, tool_calls }: Loose): Loose => ({
	role,
	content,
	...(tool_calls
		? {
				tool_calls: tool_calls.map(({ id, type, function: fn }: Loose) => ({
					id,
					type,
					function: { name: fn.name, arguments: fn.arguments },
				})),
			}
		: {}),
});

const ways = [
	["whole, all sent back", everything, false],
	["streamed, all sent back", everything, true],
	["whole, unknown fields dropped", known, false],
	["streamed, unknown fields dropped", known, true],
] as const;

describe("Claude", () => {
	beforeEach(() => claude.play(CLAUDE_TURNS));

	describe.each([
		["claude-opus-4-7", { reasoning_effort: "high" }],
		["claude-sonnet-4-5", { reasoning_effort: "medium" }],
		["claude-opus-5-5", {}],
	] as const)("%s", (model, params) => {
		test.each(ways)("five turns, %s", async (_, keep, stream) => {
			expect(await run({ model, params, keep, stream })).toEqual({ turns: 5, said: "It was in the bag." });
			expect([claude.refusals, claude.dropped]).toEqual([[], 0]);
			const turns = claude.bodies.at(-1)!["messages"].filter(({ role }: Loose) => role === "assistant");
			expect(turns.map(({ content }: Loose) => content.map(({ type }: Loose) => type))).toEqual(
				CLAUDE_TURNS.slice(0, 4).map((blocks) => blocks.map(({ type }) => type)),
			);
		});

		test("the client's own loop, runTools", async () => {
			const look = { ...tools[0]!.function, function: () => "nothing", parse: JSON.parse };
			const runner = client.chat.completions.runTools({
				model,
				messages: [{ role: "user", content: "Where is my key?" }],
				tools: [{ type: "function", function: look }],
				...params,
			} as never);
			expect(await (runner as unknown as { finalContent(): Promise<string> }).finalContent()).toBe(
				"It was in the bag.",
			);
			expect(claude.refusals).toEqual([]);
		});
	});

	test("thinking is put back also when a later request asks for none", async () => {
		const seen: string[] = [];
		const loop = { model: "claude-sonnet-4-5", keep: known, stream: false } as const;
		const params: Loose = { reasoning_effort: "low" };
		const before = async (turn: number) => {
			if (turn === 3) params["reasoning_effort"] = "none";
			seen.push(params["reasoning_effort"]);
		};
		expect((await run({ ...loop, params, before })).turns).toBe(5);
		const bodies = claude.bodies.map(({ thinking: asked, messages }) => [
			asked?.type,
			messages.flatMap(({ content }: Loose) => content).filter(({ type }: Loose) => /thinking/.test(type)).length,
		]);
		expect(bodies).toEqual([
			["enabled", 0],
			["enabled", 1],
			[undefined, 2],
			[undefined, 5],
			[undefined, 7],
		]);
	});

	test("a model that binds thoughts to what stood before them drops those that a client's changes unbind", async () => {
		const messages: ChatCompletionMessageParam[] = [{ role: "user", content: "Where is my key?" }];
		const ask = async (model: string, time: string) => {
			const clock: ChatCompletionMessageParam = { role: "system", content: `It is ${time}.` };
			const request = { model, messages: [clock, ...messages], tools };
			const options = { headers: { "anthropic-beta": "context-1m-2025-08-07" } };
			return (await client.chat.completions.create(request, options)).choices[0]!.message;
		};
		for (const time of ["noon", "one", "two"]) {
			const message = await ask("claude-opus-5-5", time);
			messages.push(known(message as unknown as Loose) as ChatCompletionMessageParam);
			for (const { id } of message.tool_calls ?? []) messages.push({ role: "tool", tool_call_id: id, content: "no" });
		}
		expect(claude.refusals).toEqual([]);
		expect(claude.dropped).toBe(3);
		const bound = { type: "adaptive", block_binding: { prefix_mismatch_behavior: "drop_block" } };
		expect(claude.bodies.map(({ thinking: asked }) => asked)).toEqual([undefined, bound, bound]);
		const refused = ask("claude-opus-4-7", "three");
		expect(await refused.catch((error) => error.message)).toContain("bound to a different conversation");
	});

	test("a reload of the configuration loses nothing, with a client that dropped the thinking", async () => {
		const before = async (turn: number) => {
			if (turn > 2) await reload();
		};
		const params = { reasoning_effort: "low" };
		const loop = { model: "claude-sonnet-4-5", params, keep: known, stream: false } as const;
		expect((await run({ ...loop, before })).turns).toBe(5);
		expect(claude.refusals).toEqual([]);
		expect(claude.bodies.map(({ thinking: asked }) => asked?.type)).toEqual(Array(5).fill("enabled"));
	});

	test("after a restart, with a client that dropped the thinking, a model with a budget goes on without", async () => {
		const before = async (turn: number) => {
			if (turn !== 3) return;
			await router.stop();
			await start();
		};
		const loop = {
			model: "claude-sonnet-4-5",
			params: { reasoning_effort: "low" },
			keep: known,
			stream: false,
		} as const;
		expect((await run({ ...loop, before })).turns).toBe(5);
		expect(claude.refusals).toEqual([]);
		expect(claude.bodies.map(({ thinking: asked }) => asked?.type)).toEqual([
			"enabled",
			"enabled",
			undefined,
			"enabled",
			"enabled",
		]);
	});

	test("after a restart a client that sends all back loses nothing", async () => {
		const before = async (turn: number) => {
			if (turn !== 3) return;
			await router.stop();
			await start();
		};
		await run({ model: "claude-opus-5-5", keep: everything, stream: true, before });
		expect([claude.refusals, claude.dropped]).toEqual([[], 0]);
		const types = claude.bodies
			.at(-1)!
			["messages"].flatMap(({ content }: Loose) => content.map(({ type }: Loose) => type));
		expect(types.filter((type: string) => /thinking/.test(type)).length).toBe(7);
	});
});

describe("Gemini 3", () => {
	beforeEach(() => gemini.play(GEMINI_TURNS));
	const model = "gemini-3-flash-preview";

	test.each(ways)("five turns, %s", async (_, keep, stream) => {
		expect(await run({ model, keep, stream })).toEqual({ turns: 5, said: "It was in the bag." });
		expect(gemini.refusals).toEqual([]);
		expect(JSON.stringify(gemini.bodies)).not.toContain(SKIP);
	});

	test("a reload of the configuration loses no signature", async () => {
		const before = async (turn: number) => {
			if (turn > 2) await reload();
		};
		expect((await run({ model, keep: known, stream: true, before })).turns).toBe(5);
		expect(gemini.refusals).toEqual([]);
		expect(JSON.stringify(gemini.bodies)).not.toContain(SKIP);
	});

	test("the signature of a text comes back with a client that sends it", async () => {
		gemini.play([[{ text: "Hello.", sign: true }], [{ text: "Bye." }]]);
		const messages: ChatCompletionMessageParam[] = [{ role: "user", content: "Hello?" }];
		const first = await client.chat.completions.create({ model, messages });
		messages.push(first.choices[0]!.message, { role: "user", content: "Bye?" });
		await client.chat.completions.create({ model, messages });
		const said = gemini.bodies.at(-1)!["contents"][1];
		expect(said).toEqual({ role: "model", parts: [{ text: "Hello.", thoughtSignature: expect.any(String) }] });
	});

	test("images come back, each with its own signature", async () => {
		const image = { inlineData: { mimeType: "image/png", data: "aGk=" } };
		gemini.play([
			[
				{ text: "A cat.", sign: true },
				{ ...image, sign: true },
			],
			[{ text: "Bluer." }],
		]);
		const messages: ChatCompletionMessageParam[] = [{ role: "user", content: "A cat?" }];
		const first = await client.chat.completions.create({ model, messages });
		messages.push(first.choices[0]!.message, { role: "user", content: "Bluer?" });
		await client.chat.completions.create({ model, messages });
		const { parts } = gemini.bodies.at(-1)!["contents"][1];
		const thoughtSignature = expect.any(String);
		expect(parts).toEqual([
			{ text: "A cat.", thoughtSignature },
			{ ...image, thoughtSignature },
		]);
		expect(parts[0].thoughtSignature).not.toBe(parts[1].thoughtSignature);
	});

	test("calls whose signature nobody has go with Google's word for that, and older models without", async () => {
		const call = { id: "call_of_gpt", type: "function" as const, function: { name: "look", arguments: "{}" } };
		const second = { ...call, id: "call_of_gpt_2" };
		const messages: ChatCompletionMessageParam[] = [
			{ role: "user", content: "Where?" },
			{ role: "assistant", content: null, tool_calls: [call, second] },
			{ role: "tool", tool_call_id: call.id, content: "nowhere" },
			{ role: "tool", tool_call_id: second.id, content: "nowhere" },
		];
		await client.chat.completions.create({ model, messages, tools });
		const signatures = gemini.bodies[0]!["contents"][1].parts.map(({ thoughtSignature }: Loose) => thoughtSignature);
		expect(signatures).toEqual([SKIP, undefined]);
		const refused = client.chat.completions.create({ model: "gemini-2.5-flash", messages, tools });
		expect(await refused.catch((error) => error.message)).toContain("missing a thought_signature");
	});

	test("Claude's thinking does not go to Gemini, nor Gemini's signatures to Claude", async () => {
		claude.play(CLAUDE_TURNS);
		const messages: ChatCompletionMessageParam[] = [{ role: "user", content: "Where?" }];
		const params = { messages, tools, reasoning_effort: "high" as const };
		const first = await client.chat.completions.create({ ...params, model: "claude-opus-4-7" });
		const { message } = first.choices[0]!;
		messages.push(message, { role: "tool", tool_call_id: message.tool_calls![0]!.id, content: "nothing" });
		await client.chat.completions.create({ ...params, model });
		expect(JSON.stringify(gemini.bodies[0])).not.toContain("Where is it?");
		gemini.play(GEMINI_TURNS);
		const asked: ChatCompletionMessageParam[] = [{ role: "user", content: "Where?" }];
		const other = (await client.chat.completions.create({ model, messages: asked, tools })).choices[0]!.message;
		asked.push(other, { role: "tool", tool_call_id: other.tool_calls![0]!.id, content: "nothing" });
		claude.play(CLAUDE_TURNS);
		await client.chat.completions.create({ model: "claude-opus-4-7", messages: asked, tools });
		expect(JSON.stringify(claude.bodies)).not.toContain("ignature");
	});
});
