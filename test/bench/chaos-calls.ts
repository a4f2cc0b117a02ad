/** The calls of `make chaos`, and what their answers must be: the sims' answers are a pure function of the prompt. */
import type { Json } from "../kit/exchange.ts";
import type { Random } from "../kit/random.ts";
import { parseArguments } from "../kit/vllm-sim/arguments.ts";
import { readModel } from "../kit/vllm-sim/model.ts";
import { type Part, plan } from "../kit/vllm-sim/plan.ts";
import { promptTokens, renderChat } from "../kit/vllm-sim/request.ts";
import { readSwitches } from "../kit/vllm-sim/switches.ts";
import { type ChaosAnswer, type ChaosDialect, type ChatChunk, type Saying, WIRES } from "./chaos-dialects.ts";
import { MODEL } from "./chaos-replicas.ts";

const SIM = readModel(parseArguments([MODEL]), readSwitches({}));
const TOPICS = ["rivers", "glass", "the wind", "seven paths", "東京", "naïve questions"];
const TOOLS = [
	{
		type: "function",
		function: {
			name: "lookup",
			parameters: {
				type: "object",
				properties: Object.fromEntries(
					["city", "country", "street", "kind", "unit"].map((name) => [name, { type: "string" }]),
				),
			},
		},
	},
];

/** Clients ask for the usage, and don't. */
const USAGES: readonly Json[] = [
	{ stream_options: { include_usage: true } },
	{ stream_options: { include_usage: true, continuous_usage_stats: true } },
	{},
];

/** A call. */
export interface ChaosCall {
	readonly path: string;
	readonly body: Json & { stream: boolean };
	/** What kind it is, for people. */
	readonly kind: string;
	readonly dialect: ChaosDialect;
	/** What the model is to see: a chat, or the prompt of a completion. */
	readonly chat: Json & { stream: boolean };
}

/** What came of a call: `ok`, or how it was wrong; `longer`: there was more of it than there should be. */
export type CallOutcome = "ok" | "refused" | "failed" | "truncated" | "longer" | "wrong" | "miscounted";

/** A third of the calls in each; a completion now and then is one of OpenAI's. */
export const DIALECTS = ["chat", "messages", "responses"] as const;
const PLAIN = { chat_template_kwargs: { enable_thinking: false } };

/** The n-th call. @param dialects in turn */
export function callOf(n: number, draw: Random, dialects: readonly ChaosDialect[] = DIALECTS): ChaosCall {
	const dialect = dialects[n % dialects.length]!;
	const kinds = dialect === "chat" ? [...Object.entries(KINDS), COMPLETION] : Object.entries(KINDS);
	const [kind, more] = draw.pick(kinds);
	const usage = draw.pick(USAGES);
	if (kind === COMPLETION[0]) {
		const prompt = `Call ${n}: once upon a time`;
		const chat = { model: "chaos", prompt, max_tokens: 60, ignore_eos: true, stream: true, ...usage };
		return made(kind, "completions", chat);
	}
	const { stream = true, ...rest } = more(60 + draw.below(140), dialect);
	const user = { role: "user", content: `Call ${n}: tell of ${draw.pick(TOPICS)}.` };
	const messages = [
		{ role: "system", content: "Be brief." },
		user,
		...((rest["messages"] as Json[] | undefined) ?? []),
	];
	const isAsked = stream && dialect === "chat";
	const chat = { model: "chaos", ...rest, messages, stream: stream as boolean, ...(isAsked ? usage : {}) };
	return made(dialect === "chat" ? kind : `${dialect}, ${kind}`, dialect, chat);
}

function made(kind: string, dialect: ChaosDialect, chat: ChaosCall["chat"], answer?: ChaosAnswer): ChaosCall {
	const { path, request } = WIRES[dialect];
	return { kind, dialect, path, chat, body: { ...request(chat, answer), stream: chat.stream } };
}

type Kind = readonly [string, (length: number, dialect: ChaosDialect) => Json];

/** Anthropic's clients can't ask for more than the model itself says. */
const long = (length: number, dialect: ChaosDialect): Json => ({
	max_tokens: length,
	...(dialect !== "messages" && { ignore_eos: true }),
});
const text: Kind[1] = (length, dialect) => ({ ...PLAIN, ...long(length, dialect) });
const tool: Kind[1] = () => ({ tools: TOOLS, tool_choice: "required" });
const COMPLETION: Kind = ["completion", () => ({})];
const KINDS: Readonly<Record<string, Kind[1]>> = {
	text: () => PLAIN,
	"long text": text,
	"another long text": text,
	thinking: () => ({}),
	"long thinking": long,
	limited: () => ({ ...PLAIN, max_tokens: 8 }),
	stop: () => ({ ...PLAIN, stop: [" rain", " wind"] }),
	tool,
	"tool without thinking": () => ({ ...PLAIN, ...tool(0, "chat") }),
	schema: () => ({
		...PLAIN,
		response_format: { type: "json_schema", json_schema: { name: "s", schema: TOOLS[0]!.function.parameters } },
	}),
	whole: () => ({ ...PLAIN, stream: false }),
	"whole, a tool": () => ({ ...tool(0, "chat"), stream: false }),
};

/**
 * The call that a client makes once its model has called a tool: all that was said, as it was told, with what the tool gave. Undefined where none
 * was called.
 */
export function followUp(call: ChaosCall, text: string): ChaosCall | undefined {
	const { dialect, chat, kind } = call;
	if (chat["tool_choice"] !== "required") return undefined;
	const answer = answerOf(call, text);
	const { callId } = answer;
	const result = { role: "tool", tool_call_id: callId, content: "It is by the river." };
	const said = { role: "assistant", content: null, tool_calls: toolCalls(call, callId) };
	const messages = [...(chat["messages"] as Json[]), said, result];
	return made(`${kind}, its result`, dialect, { ...chat, messages, tool_choice: "none" }, answer);
}

/** As the model has to see it. */
function toolCalls(call: ChaosCall, id: string | undefined): Json[] {
	const { name } = TOOLS[0]!.function;
	return [{ id, type: "function", function: { name, arguments: expected(call).call.slice(name.length) } }];
}

const answerOf = ({ dialect, body }: ChaosCall, text: string): ChaosAnswer => WIRES[dialect].read(text, body.stream);

/** What it must say. */
export function expected({ dialect, chat }: ChaosCall): Saying {
	const isChat = dialect !== "completions";
	const prompt = isChat ? renderChat(chat) : { text: chat["prompt"] as string, partial: undefined };
	const limit = (chat["max_tokens"] as number | undefined) ?? SIM.maxLength - promptTokens(prompt).length;
	const abilities = { autoTools: true, reasoning: isChat, isChained: !isChat, natural: undefined, limit, index: 0 };
	const { parts, finish } = plan(chat, prompt, SIM, abilities);
	const text = (kind: Part["kind"]) => parts.flatMap((part) => (part.kind === kind ? part.pieces : [])).join("");
	return {
		reasoning: text("reasoning"),
		content: text("content"),
		call: (parts.find(({ kind }) => kind === "call")?.tool ?? "") + text("call"),
		finish,
		promptTokens: promptTokens(prompt).length,
		completionTokens: parts.reduce((sum, { pieces }) => sum + pieces.length, 0),
	};
}

/** Compares what came with what had to. The second is what was seen of it, where that is not right. */
export function outcomeOf(call: ChaosCall, status: number, text: string): [CallOutcome, string?] {
	const wanted = expected(call);
	if (status !== 200) return ["failed", `${status} ${text}`];
	let answer: ChaosAnswer;
	try {
		answer = answerOf(call, text);
	} catch (thrown) {
		return ["wrong", `${thrown}: ${text.slice(-500)}`];
	}
	if (answer.error) return ["failed", JSON.stringify(answer.error)];
	if (answer.isCut) return ["truncated", text.slice(-500)];
	const { promptTokens: prompt, completionTokens: completion, ...said } = answer.said;
	const { promptTokens: wantedPrompt, completionTokens: wantedCompletion, ...all } = wanted;
	if (JSON.stringify(said) !== JSON.stringify(all)) {
		const is = (beginning: typeof all, of: typeof all) => TEXTS.every((name) => of[name].startsWith(beginning[name]));
		const isLonger = is(all, said) && TEXTS.some((name) => said[name].length > all[name].length);
		return [isLonger ? "longer" : is(said, all) ? "truncated" : "wrong", JSON.stringify({ said, all })];
	}
	if (answer.fault) return ["wrong", answer.fault];
	const isChat = answer.chunks !== undefined;
	const { include_usage: isAsked = !(isChat && call.body.stream) } = (call.body["stream_options"] ?? {}) as {
		include_usage?: boolean;
	};
	const counted = isAsked ? `${wantedPrompt} + ${wantedCompletion}` : "nothing";
	const told = completion === undefined ? "nothing" : `${prompt} + ${completion}`;
	if (told !== counted) return ["miscounted", `usage ${told} instead of ${counted}`];
	return miscounted(call, answer.chunks ?? []) ?? ["ok"];
}

const TEXTS = ["reasoning", "content", "call"] as const;

/** Counts while an answer comes are told where they were asked for, in each chunk, and never fall. */
function miscounted({ body }: ChaosCall, chunks: readonly ChatChunk[]): [CallOutcome, string] | undefined {
	const options = body["stream_options"] as { continuous_usage_stats?: boolean } | undefined;
	const running = chunks.filter(({ choices }) => (choices?.length ?? 0) > 0);
	if (!body.stream) return undefined;
	if (!options?.continuous_usage_stats) {
		return running.some(({ usage }) => usage) ? ["miscounted", "told counts that nobody asked for"] : undefined;
	}
	let last = 0;
	for (const { usage } of running) {
		if (!usage || usage.completion_tokens < last) return ["miscounted", `${usage?.completion_tokens} behind ${last}`];
		last = usage.completion_tokens;
	}
	return undefined;
}
