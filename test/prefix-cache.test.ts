/**
 * Coding agents on a local model keep its prefix cache: the tokens of a turn's prompt stand at the beginning of the next one's. What Claude Code and
 * Codex were recorded to send goes through the router to a vLLM server, and on from there as the recordings go on; what the server got is written by
 * chat templates, cut into tokens, and kept in blocks, as vLLM does.
 */
import { expect } from "bun:test";
import { BlockCache, inBlocks } from "./kit/block-cache.ts";
import { MODEL_FAMILIES, type ModelFamily } from "./kit/chat-templates.ts";
import { choiceEvent, DONE, finishEvent, usageEvent } from "./kit/events.ts";
import { type Loose, namedEvents } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { responseEvents } from "./kit/response-events.ts";
import { restoredRequests } from "./kit/restored-requests.ts";
import { type Rig, startRig } from "./kit/rig.ts";

const { afterAll, beforeAll, describe, test } = needing("recordings");

const MODEL = "vllm-box/Qwen/Qwen3-8B";

/** What the server answers with: a thought, then a call or the last words. */
const stream = (...said: string[]) => ({
	status: 200,
	headers: { "content-type": "text/event-stream" },
	sse: [
		choiceEvent({ role: "assistant", content: "" }),
		choiceEvent({ reasoning: "The shell can do that." }),
		...said,
		usageEvent(),
		DONE,
	].join(""),
});
const calling = (name: string, args: Loose, turn: number) => {
	const call = { index: 0, id: `call_${turn}`, type: "function", function: { name, arguments: JSON.stringify(args) } };
	return stream(choiceEvent({ tool_calls: [call] }), finishEvent("tool_calls"));
};
const saying = stream(choiceEvent({ content: "It has said hello." }), finishEvent());

/** A client: the turns it was recorded with, and how it goes on. */
interface Agent {
	readonly path: string;
	readonly recorded: () => readonly Loose[];
	/** Calls of its own beside the conversation. */
	readonly beside: () => readonly Loose[];
	readonly call: (turn: number) => ReturnType<typeof stream>;
	/** The next request: what was answered, then the result of its call, or a new question. */
	readonly next: (sent: Loose, answer: string, turn: number, question?: string) => Loose;
}

/** The blocks that Claude Code makes of a stream. */
function blocksOf(sse: string): Loose[] {
	const blocks: Loose[] = [];
	const inputs: string[] = [];
	for (const { type, index, content_block: block, delta } of namedEvents(sse)) {
		if (type === "content_block_start") blocks[index] = { ...block };
		if (type !== "content_block_delta") continue;
		if (delta.type === "input_json_delta") inputs[index] = (inputs[index] ?? "") + delta.partial_json;
		for (const [from, to] of [
			["text", "text"],
			["thinking", "thinking"],
			["signature", "signature"],
		] as const)
			if (delta[from] !== undefined) blocks[index]![to] += delta[from];
	}
	for (const [index, input] of inputs.entries()) if (input) blocks[index]!["input"] = JSON.parse(input);
	return blocks;
}

/** Claude Code marks the last block of the last turn, and none before it. */
function remarked(messages: readonly Loose[]): Loose[] {
	const last = messages.length - 1;
	return messages.map(({ content, ...message }, at) => ({
		...message,
		content: Array.isArray(content)
			? content.map(({ cache_control, ...block }, of) => ({
					...block,
					...(at === last && of === content.length - 1 ? { cache_control: { type: "ephemeral" } } : {}),
				}))
			: content,
	}));
}

/** The line that is new with each call. */
const billed = (body: Loose, turn: number): Loose => {
	const [billing, ...system] = body["system"] as Loose[];
	return {
		...body,
		system: [{ ...billing, text: `${billing!["text"]} cch=${turn.toString(16)}f${turn};` }, ...system],
	};
};

const AGENTS: Readonly<Record<string, Agent>> = {
	"Claude Code": {
		path: "/v1/messages?beta=true",
		recorded: () => restoredRequests("claude-code-turns").map(({ body }) => body),
		beside: () => restoredRequests("claude-code-title").map(({ body }) => body),
		call: (turn) => calling("Bash", { command: `echo turn ${turn}`, description: "say hello" }, turn),
		next(sent, answer, turn, question) {
			const content = blocksOf(answer);
			const use = content.find(({ type }) => type === "tool_use");
			const result = { tool_use_id: use?.["id"], type: "tool_result", content: `turn ${turn}`, is_error: false };
			const said = { role: "user", content: [question ? { type: "text", text: question } : result] };
			return billed({ ...sent, messages: remarked([...sent["messages"], { role: "assistant", content }, said]) }, turn);
		},
	},
	Codex: {
		path: "/v1/responses",
		recorded: () => restoredRequests("codex-http-turns").map(({ body }) => body),
		beside: () => restoredRequests("codex-output-schema").map(({ body }) => body),
		call: (turn) => calling("exec_command", { cmd: `echo turn ${turn}` }, turn),
		next(sent, answer, turn, question) {
			const output = responseEvents(answer).response["output"] as Loose[];
			const called = output.find(({ type }) => type === "function_call");
			const said = question
				? { type: "message", role: "user", content: [{ type: "input_text", text: question }] }
				: { type: "function_call_output", call_id: called?.["call_id"], output: `Chunk ID: ${turn}\nturn ${turn}` };
			return { ...sent, input: [...sent["input"], ...output, said] };
		},
	},
	"gemini-cli": {
		path: `/v1beta/models/${MODEL}:streamGenerateContent?alt=sse`,
		recorded: () => geminiTurns(),
		beside: () => [],
		call: (turn) => calling("run_shell_command", { command: `echo turn ${turn}`, description: "say hello" }, turn),
		next(sent, answer, turn, question) {
			const parts = answer
				.split("\n")
				.filter((line) => line.startsWith("data: "))
				.flatMap((line) => JSON.parse(line.slice("data: ".length)).candidates?.[0]?.content?.parts ?? []) as Loose[];
			const called = parts.find((part) => part["functionCall"])?.["functionCall"];
			const response = { output: `Output: turn ${turn}\nProcess Group PGID: ${23000 + turn}` };
			const said = question
				? { text: question }
				: { functionResponse: { name: called?.name, id: called?.id, response } };
			const model = { role: "model", parts: parts.filter((part) => !part["thought"] && part["text"] !== "") };
			return { ...sent, contents: [...sent["contents"], model, { role: "user", parts: [said] }] };
		},
	},
};

/** gemini-cli was recorded in its first turn and in its third, which holds the second. */
function geminiTurns(): Loose[] {
	const [first, third] = restoredRequests("gemini-cli-turns").map(({ body }) => body);
	return first && third ? [first, { ...third, contents: third["contents"].slice(0, 3) }, third] : [];
}

let rig: Rig;
beforeAll(async () => {
	rig = await startRig();
});
afterAll(() => rig.stop());

/** What the server got, and the answer that the client got. */
async function sent(
	agent: Agent,
	body: Loose,
	answer: ReturnType<typeof stream>,
): Promise<{ chat: Loose; text: string }> {
	rig.replay.play(answer);
	const { status, text } = await rig.post(agent.path, { ...body, model: MODEL });
	expect([status, status === 200 ? "" : text]).toEqual([200, ""]);
	return { chat: JSON.parse(rig.replay.only().body), text };
}

/** Six turns as the server got them: the recorded ones, two more calls as they were recorded, and after the last words a question. */
async function conversation(agent: Agent): Promise<{ turns: Loose[]; beside: Loose[] }> {
	const turns: Loose[] = [];
	const recorded = agent.recorded();
	let body: Loose = {};
	let answered = "";
	for (let turn = 1; turn <= 6; turn++) {
		const question = turn === 6 ? "Now say goodbye, too." : undefined;
		body = recorded[turn - 1] ?? agent.next(body, answered, turn, question);
		if (body["system"]) body = turn <= recorded.length ? billed(body, turn) : body;
		const { chat, text } = await sent(agent, body, turn === 5 ? saying : agent.call(turn));
		answered = text;
		turns.push(chat);
	}
	const beside: Loose[] = [];
	for (const each of agent.beside()) beside.push((await sent(agent, each, saying)).chat);
	return { turns, beside };
}

/** Of each turn behind the first: which share of its tokens was cached, and how many of those that stood in the turn before were not. */
function cachedTurns(family: ModelFamily, turns: readonly Loose[], beside: readonly Loose[] = []) {
	const cache = new BlockCache();
	return turns.flatMap((chat, at) => {
		const tokens = family.tokens(chat);
		const cached = cache.cached(tokens);
		cache.add(tokens);
		for (const other of beside) cache.add(family.tokens(other));
		if (at === 0) return [];
		return [{ share: cached / tokens.length, lost: inBlocks(family.tokens(turns[at - 1]!, false).length) - cached }];
	});
}

describe.each(Object.entries(AGENTS))("%s", (_, agent) => {
	describe.each(Object.entries(MODEL_FAMILIES))("%s", (_, family) => {
		test("what differs ahead of the history is seen: nothing of it is cached then", async () => {
			const { turns } = await conversation(agent);
			const changing = turns.map((chat, turn) => {
				const [system, ...messages] = chat["messages"] as Loose[];
				return { ...chat, messages: [{ ...system, content: `Call ${turn}.\n${system!["content"]}` }, ...messages] };
			});
			for (const { share } of cachedTurns(family, changing)) expect(share).toBeLessThan(0.1);
		});

		test("each turn finds all of the one before it in the cache", async () => {
			const { turns, beside } = await conversation(agent);
			const cached = cachedTurns(family, turns, beside);
			expect(cached.map(({ lost }) => lost <= 0)).toEqual([true, true, true, true, true]);
			expect(cached[3]!.share).toBeGreaterThanOrEqual(0.9);
		});
	});
});
