/** The calls of `make chaos`, and what their answers must be: the sims' answers are a pure function of the prompt. */
import { chunksOf, eventData, type Json } from "../kit/exchange.ts";
import type { Random } from "../kit/random.ts";
import { parseArguments } from "../kit/vllm-sim/arguments.ts";
import { readModel } from "../kit/vllm-sim/model.ts";
import { type Part, plan } from "../kit/vllm-sim/plan.ts";
import { promptTokens, renderChat } from "../kit/vllm-sim/request.ts";
import { readSwitches } from "../kit/vllm-sim/switches.ts";
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
	readonly path: "/v1/chat/completions" | "/v1/completions";
	readonly body: Json & { stream: boolean };
	/** What kind it is, for people. */
	readonly kind: string;
}

/** What an answer says. */
interface Saying {
	readonly reasoning: string;
	readonly content: string;
	/** The tool and its arguments. */
	readonly call: string;
	readonly finish: string;
	/** As the usage has them; undefined where none was told. */
	readonly promptTokens: number | undefined;
	readonly completionTokens: number | undefined;
}

/** What came of a call: `ok`, or how it was wrong; `longer`: there was more of it than its `max_tokens` allow. */
export type CallOutcome = "ok" | "failed" | "truncated" | "longer" | "wrong" | "miscounted";

/** The n-th call. */
export function callOf(n: number, draw: Random): ChaosCall {
	const user = { role: "user", content: `Call ${n}: tell of ${draw.pick(TOPICS)}.` };
	const chat = (kind: string, more: Json, isStream = true): ChaosCall => ({
		kind,
		path: "/v1/chat/completions",
		body: {
			model: "chaos",
			messages: [{ role: "system", content: "Be brief." }, user],
			stream: isStream,
			...(isStream ? USAGES[n % USAGES.length] : {}),
			...more,
		},
	});
	const length = 60 + draw.below(140);
	const plain = { chat_template_kwargs: { enable_thinking: false } };
	const kinds: (() => ChaosCall)[] = [
		() => chat("text", plain),
		() => chat("long text", { ...plain, max_tokens: length, ignore_eos: true }),
		() => chat("long text", { ...plain, max_tokens: length, ignore_eos: true }),
		() => chat("thinking", {}),
		() => chat("long thinking", { max_tokens: length, ignore_eos: true }),
		() => chat("limited", { ...plain, max_tokens: 8 }),
		() => chat("stop", { ...plain, stop: [" rain", " wind"] }),
		() => chat("tool", { tools: TOOLS, tool_choice: "required" }),
		() =>
			chat("schema", {
				...plain,
				response_format: { type: "json_schema", json_schema: { name: "s", schema: TOOLS[0]!.function.parameters } },
			}),
		() => chat("whole", plain, false),
		() => ({
			kind: "completion",
			path: "/v1/completions",
			body: {
				model: "chaos",
				prompt: `Call ${n}: once upon a time`,
				max_tokens: 60,
				ignore_eos: true,
				stream: true,
				...USAGES[n % USAGES.length],
			},
		}),
	];
	return draw.pick(kinds)();
}

/** What it must say. */
export function expected({ path, body }: ChaosCall): Saying {
	const isChat = path === "/v1/chat/completions";
	const prompt = isChat ? renderChat(body) : { text: body["prompt"] as string, partial: undefined };
	const limit = (body["max_tokens"] as number | undefined) ?? SIM.maxLength - promptTokens(prompt).length;
	const abilities = { autoTools: true, reasoning: isChat, isChained: !isChat, natural: undefined, limit, index: 0 };
	const { parts, finish } = plan(body, prompt, SIM, abilities);
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

interface Message {
	content?: string | null;
	reasoning_content?: string | null;
	tool_calls?: { function?: { name?: string; arguments?: string } }[];
}

interface Choice {
	delta?: Message;
	message?: Message;
	text?: string;
	finish_reason?: string | null;
}

interface Chunk {
	id?: string;
	error?: { code?: string };
	choices?: Choice[];
	usage?: { prompt_tokens: number; completion_tokens: number } | null;
}

/** Compares what came with what had to. The second is what was seen of it, where that is not right. */
export function outcomeOf(call: ChaosCall, status: number, text: string): [CallOutcome, string?] {
	const wanted = expected(call);
	if (status !== 200) return ["failed", `${status} ${text}`];
	const isStream = call.body.stream;
	const chunks = (isStream ? chunksOf(text) : [JSON.parse(text)]) as Chunk[];
	const error = chunks.find((chunk) => chunk.error)?.error;
	if (error) return ["failed", JSON.stringify(error)];
	if (isStream && eventData(text).filter((data) => data === "[DONE]").length !== 1)
		return ["truncated", text.slice(-500)];
	const { promptTokens: prompt, completionTokens: completion, ...said } = folded(chunks);
	const { promptTokens: wantedPrompt, completionTokens: wantedCompletion, ...all } = wanted;
	if (JSON.stringify(said) !== JSON.stringify(all)) {
		const is = (beginning: typeof all, of: typeof all) => TEXTS.every((name) => of[name].startsWith(beginning[name]));
		const isLonger = is(all, said) && TEXTS.some((name) => said[name].length > all[name].length);
		return [isLonger ? "longer" : is(said, all) ? "truncated" : "wrong", JSON.stringify({ said, all })];
	}
	if (new Set(chunks.map(({ id }) => id)).size !== 1) return ["wrong", "several ids"];
	const { include_usage: isAsked = !isStream } = (call.body["stream_options"] ?? {}) as { include_usage?: boolean };
	const counted = isAsked ? `${wantedPrompt} + ${wantedCompletion}` : "nothing";
	const told = completion === undefined ? "nothing" : `${prompt} + ${completion}`;
	if (told !== counted) return ["miscounted", `usage ${told} instead of ${counted}`];
	return miscounted(call, chunks) ?? ["ok"];
}

const TEXTS = ["reasoning", "content", "call"] as const;

/** Counts while an answer comes are told where they were asked for, in each chunk, and never fall. */
function miscounted({ body }: ChaosCall, chunks: readonly Chunk[]): [CallOutcome, string] | undefined {
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

function folded(chunks: readonly Chunk[]): Saying {
	const choices = chunks.flatMap((chunk) => chunk.choices ?? []);
	const messages: Message[] = choices.map(({ delta, message, text }) => delta ?? message ?? { content: text ?? null });
	const calls = messages.flatMap((each) => each.tool_calls ?? []);
	return {
		reasoning: messages.map((each) => each.reasoning_content ?? "").join(""),
		content: messages.map(({ content }) => content ?? "").join(""),
		call:
			calls.map((each) => each.function?.name ?? "").join("") +
			calls.map((each) => each.function?.arguments ?? "").join(""),
		finish: choices.map(({ finish_reason: reason }) => reason ?? "").join(""),
		promptTokens: chunks.findLast(({ usage }) => usage)?.usage?.prompt_tokens,
		completionTokens: chunks.findLast(({ usage }) => usage)?.usage?.completion_tokens,
	};
}
