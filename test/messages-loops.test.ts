/** Tool loops of the unmodified `@anthropic-ai/sdk`, against vendors as strict about their thoughts as the real ones, and a server of one's own. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type Anthropic from "@anthropic-ai/sdk";
import { anthropicClient } from "./kit/anthropic-client.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { type StrictClaude, startStrictClaude } from "./kit/strict-claude.ts";
import { type StrictGemini, startStrictGemini } from "./kit/strict-gemini.ts";
import { CLAUDE_TURNS, GEMINI_TURNS } from "./kit/tool-turns.ts";

let claude: StrictClaude;
let gemini: StrictGemini;
let box: ReturnType<typeof startBox>;
let router: RunningRouter;
let client: Anthropic;
beforeAll(async () => {
	claude = startStrictClaude();
	gemini = startStrictGemini();
	box = startBox();
	router = await startRouter({
		config: { providers: { box: { type: "vllm", base_url: box.origin } } },
		env: {
			ANTHROPIC_BASE_URL: `${claude.origin}/v1`,
			ANTHROPIC_API_KEY: "sk-ant-strict",
			GEMINI_BASE_URL: gemini.origin,
			GEMINI_API_KEY: "AIza-strict",
		},
	});
	client = anthropicClient(router.url);
});
afterAll(async () => {
	await router.stop();
	await claude.stop();
	await gemini.stop();
	await box.stop();
});

/** A server that speaks OpenAI: calls a tool as long as no two results are there, and refuses results without calls. */
function startBox() {
	const asked: Loose[] = [];
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const body = (await request.json()) as Loose;
			asked.push(body);
			const messages = body["messages"] as Loose[];
			const called = messages.flatMap(({ tool_calls }) => (tool_calls ?? []).map(({ id }: Loose) => id));
			const answered = messages.filter(({ role }) => role === "tool").map(({ tool_call_id }) => tool_call_id);
			if (called.join() !== answered.join()) {
				return Response.json({ error: { message: "a call has no result", type: "BadRequestError" } }, { status: 400 });
			}
			const id = `call_${answered.length}`;
			const at = JSON.stringify({ at: `place ${answered.length}` });
			const message =
				answered.length < 3
					? {
							role: "assistant",
							content: null,
							tool_calls: [{ id, type: "function", function: { name: "look", arguments: at } }],
						}
					: { role: "assistant", content: "It was in the bag." };
			return body["stream"]
				? streamed(message)
				: Response.json(completion({ message, finish_reason: finishOf(message) }));
		},
	});
	return {
		origin: `http://127.0.0.1:${server.port}`,
		asked,
		stop: () => server.stop(true),
	};
}

const finishOf = ({ tool_calls }: Json) => (tool_calls ? "tool_calls" : "stop");
const completion = (
	choice: Json,
	usage: Json | null = { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 },
) => ({
	id: "chatcmpl-1",
	object: "chat.completion",
	created: 1,
	model: "m",
	choices: [{ index: 0, ...choice }],
	usage,
});

function streamed(message: Json): Response {
	const { tool_calls: calls, ...delta } = message;
	const chunks = [
		completion(
			{
				delta: {
					...delta,
					...(calls ? { tool_calls: (calls as Json[]).map((call, index) => ({ index, ...call })) } : {}),
				},
			},
			null,
		),
		completion({ delta: {}, finish_reason: finishOf(message) }, null),
		{ ...completion({}), choices: [] },
	];
	const text = [...chunks.map((chunk) => JSON.stringify(chunk)), "[DONE]"].map((data) => `data: ${data}\n\n`).join("");
	return new Response(text, { headers: { "content-type": "text/event-stream" } });
}

const schema = { type: "object", properties: { at: { type: "string" }, floor: { type: "integer" } } };
const tools = [{ name: "look", description: "Looks somewhere.", input_schema: schema }] as Anthropic.Tool[];

/** Runs until the model stops calling: how many turns that took, and what it said last. */
async function loop(model: string, more: Json, stream: boolean): Promise<{ turns: number; said: string }> {
	const messages: Anthropic.MessageParam[] = [{ role: "user", content: "Where is my key?" }];
	for (let turn = 1; turn <= 8; turn++) {
		const request = { model, max_tokens: 32_000, system: "You look for things.", messages, tools, ...more };
		const message = stream
			? await client.messages.stream(request as Anthropic.MessageStreamParams).finalMessage()
			: await client.messages.create({ ...request, stream: false } as Anthropic.MessageCreateParamsNonStreaming, {
					timeout: 60_000,
				});
		messages.push({ role: "assistant", content: message.content });
		const uses = message.content.filter((block) => block.type === "tool_use");
		expect(message.stop_reason).toBe(uses.length > 0 ? "tool_use" : "end_turn");
		if (uses.length === 0) return { turns: turn, said: (message.content.at(-1) as Anthropic.TextBlock).text };
		const results = uses.map(({ id }) => ({
			type: "tool_result" as const,
			tool_use_id: id,
			content: `nothing (${id})`,
		}));
		messages.push({ role: "user", content: results });
	}
	throw new Error("the loop never ends");
}

describe.each([
	["whole", false],
	["streamed", true],
] as const)("%s", (_, stream) => {
	test.each([
		["claude-opus-4-7", { thinking: { type: "adaptive" }, output_config: { effort: "high" } }],
		["claude-sonnet-4-5", { thinking: { type: "enabled", budget_tokens: 4096 } }],
		["claude-opus-5-5", {}],
	] as [string, Json][])("%s gets its thoughts back whole, each in its place", async (model, more) => {
		claude.play(CLAUDE_TURNS);
		expect(await loop(model, more, stream)).toEqual({ turns: 5, said: "It was in the bag." });
		expect([claude.refusals, claude.dropped]).toEqual([[], 0]);
		const turns = claude.bodies.at(-1)!["messages"].filter(({ role }: Loose) => role === "assistant");
		expect(turns.map(({ content }: Loose) => content.map(({ type }: Loose) => type))).toEqual(
			CLAUDE_TURNS.slice(0, 4).map((blocks) => blocks.map(({ type }) => type)),
		);
	});

	test.each(["gemini-2.5-flash", "gemini-3-flash-preview"])("%s gets its signatures back", async (model) => {
		gemini.play(GEMINI_TURNS);
		expect(await loop(model, {}, stream)).toEqual({ turns: 5, said: "It was in the bag." });
		expect(gemini.refusals).toEqual([]);
	});

	test("a server of one's own", async () => {
		expect(await loop("box/m", {}, stream)).toEqual({ turns: 4, said: "It was in the bag." });
	});
});

describe("the client's own loop, toolRunner", () => {
	const look = { ...tools[0]!, run: () => "nothing", parse: (input: unknown) => input };
	const statuses: number[] = [];
	const counting = () =>
		anthropicClient(router.url).withOptions({
			fetch: async (...args: Parameters<typeof fetch>) => {
				const answer = await fetch(...args);
				statuses.push(answer.status);
				return answer;
			},
		} as never);

	const ways = ["claude-opus-4-7", "gemini-2.5-flash", "box/m"].flatMap((model) => [
		[model, false] as const,
		[model, true] as const,
	]);

	test.each(ways)(
		"before %s, streamed: %p; it goes on without the thread that it asks for first",
		async (model, stream) => {
			for (const thread of [undefined, false]) {
				claude.play(CLAUDE_TURNS);
				gemini.play(GEMINI_TURNS);
				statuses.length = 0;
				const messages = [{ role: "user", content: "Where is my key?" }];
				const params = {
					model,
					max_tokens: 1024,
					messages,
					tools: [look],
					stream,
					...(thread === false && { thread }),
				};
				const runner = counting().beta.messages.toolRunner(params as never);
				const { content } = (await runner.runUntilDone()) as Anthropic.Beta.BetaMessage;
				expect((content.at(-1) as Anthropic.TextBlock).text).toBe("It was in the bag.");
				// One refusal, by which it learns that there are none.
				expect(statuses.filter((status) => status !== 200)).toEqual(thread === false ? [] : [400]);
			}
			expect([claude.refusals, gemini.refusals]).toEqual([[], []]);
		},
	);
});
