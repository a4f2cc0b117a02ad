/** OpenAI's whole answers as Ollama's. */
import { signedDetails } from "../../openai/thought-details.ts";
import { objectIn, tokensOf } from "../../openai/usage.ts";
import { contentText, reasoningIn } from "../chat-message.ts";
import type { CallTimes, DialectCall } from "../dialect.ts";
import { askedModel, wholeToolName } from "./ollama-facts.ts";

type Json = Readonly<Record<string, unknown>>;

/** What generates an answer: `generate` has text, `chat` a message. */
export type OllamaForm = "chat" | "generate";

/** What of an answer stands in lines, or in the one that is whole. */
export interface OllamaSaid {
	readonly content: string;
	readonly thinking: string;
	/** Each as JSON. */
	readonly calls: readonly string[];
	/** Thoughts that a vendor has signed, which are to come back with the conversation; Ollama has no field for them. */
	readonly details?: readonly unknown[] | undefined;
}

const NOTHING_SAID: OllamaSaid = { content: "", thinking: "", calls: [] };

/**
 * When an answer was begun, as the text of a time. Answers have the time of their call: the zero of `performance.now()` and a call's place
 * after it are known without a clock.
 */
export const createdAt = ({ startedAt = 0 }: Pick<DialectCall, "startedAt">): string =>
	new Date(performance.timeOrigin + startedAt).toISOString();

/** The fields with which every answer, and every line of one, begins; without braces. */
export const headText = (call: Pick<DialectCall, "facts" | "startedAt">): string =>
	`"model":${JSON.stringify(askedModel(call))},"created_at":"${createdAt(call)}"`;

/** What was said, as fields without braces. */
export function saidText(form: OllamaForm, said: OllamaSaid = NOTHING_SAID): string {
	const { content, thinking, calls, details } = said;
	const more =
		(thinking === "" ? "" : `,"thinking":${JSON.stringify(thinking)}`) +
		(calls.length === 0 ? "" : `,"tool_calls":[${calls.join(",")}]`) +
		(details?.length ? `,"reasoning_details":${JSON.stringify(details)}` : "");
	if (form === "generate") return `"response":${JSON.stringify(content)}${more}`;
	return `"message":{"role":"assistant","content":${JSON.stringify(content)}${more}}`;
}

/** Why it is over. A call of a tool is a stop like any other; Ollama has no words for a filter and for a refusal. */
export const doneReason = (finish: unknown, isRefusal: boolean): string =>
	finish === "length" || finish === "content_filter" ? finish : isRefusal ? "refusal" : "stop";

const NS_A_MS = 1_000_000;
const nanoseconds = (ms: number): number => Math.max(1, Math.round(ms * NS_A_MS));

/** How long it took, ns. What is read and what is written have their own times where somebody saw the first token. */
export function durations(times: CallTimes | undefined): Json {
	if (!times) return {};
	const { totalMs, firstTokenMs } = times;
	return {
		total_duration: nanoseconds(totalMs),
		load_duration: 0,
		...(firstTokenMs === undefined ? {} : { prompt_eval_duration: nanoseconds(firstTokenMs) }),
		eval_duration: nanoseconds(totalMs - (firstTokenMs ?? 0)),
	};
}

/** Token counts. */
export const evalCounts = (tokens: { readonly input: number; readonly output: number } | undefined): Json =>
	tokens ? { prompt_eval_count: tokens.input, eval_count: tokens.output } : {};

/** Fields as JSON without braces, with a comma before them. */
export const fieldsText = (fields: Json): string => {
	const text = JSON.stringify(fields).slice(1, -1);
	return text === "" ? "" : `,${text}`;
};

/** The whole answer. @param answer OpenAI's, parsed */
export function generatedText(
	form: OllamaForm,
	call: DialectCall,
	times: CallTimes | undefined,
	answer: object,
): string {
	const { choices, usage } = answer as Json;
	const choice = objectIn(Array.isArray(choices) ? choices[0] : undefined) ?? {};
	const end = {
		done: true,
		done_reason: doneReason(choice["finish_reason"], contentText(objectIn(choice["message"])?.["refusal"]) !== ""),
		...durations(times),
		...evalCounts(tokensOf(usage)),
		...logprobsIn(choice),
		...(objectIn(usage)?.["estimated"] === true ? { estimated: true } : {}),
	};
	return `{${headText(call)},${saidText(form, saidIn(choice, call))}${fieldsText(end)}}`;
}

function saidIn(choice: Json, asked: DialectCall): OllamaSaid {
	const message = objectIn(choice["message"]);
	if (!message) return { ...NOTHING_SAID, content: contentText(choice["text"]) };
	const { content, refusal, tool_calls: calls } = message;
	return {
		content: contentText(content) || contentText(refusal),
		thinking: reasoningIn(message),
		calls: (Array.isArray(calls) ? calls : []).map((each, index) => {
			const { id, function: fn } = objectIn(each) ?? {};
			const { name, arguments: args } = objectIn(fn) ?? {};
			return toolCallText(contentText(id), index, wholeToolName(asked, contentText(name)), contentText(args));
		}),
		details: signedDetails(message),
	};
}

/** A call as JSON. Its arguments are the text that the model wrote, so that big numbers survive. */
export function toolCallText(id: string, index: number, name: string, args: string): string {
	const head = id === "" ? "" : `"id":${JSON.stringify(id)},`;
	return `{${head}"function":{"index":${index},"name":${JSON.stringify(name)},"arguments":${argumentsObject(args)}}}`;
}

/** What a model has written as arguments that are no JSON object is the value of one field: its client reads what was said. */
function argumentsObject(args: string): string {
	const text = args.trim();
	if (text === "") return "{}";
	try {
		// On one line: lines end answers here.
		if (objectIn(JSON.parse(text))) return text.replace(/[\r\n]+/g, " ");
	} catch {
		// Said below.
	}
	return JSON.stringify({ arguments: text });
}

/** Log probabilities of a choice's tokens, where it has some. */
export function logprobsIn(choice: Json): Json {
	const content = objectIn(choice["logprobs"])?.["content"];
	return Array.isArray(content) && content.length > 0 ? { logprobs: content } : {};
}

/** A whole answer to `embed` or, in its older form, `embeddings`. */
export function embeddedText(
	isOlder: boolean,
	answer: string,
	call: DialectCall,
	times: CallTimes | undefined,
): string {
	const { data, usage } = JSON.parse(answer) as Json;
	const items = (Array.isArray(data) ? data : []).map((item) => objectIn(item) ?? {});
	const ordered = [...items].sort((a, b) => Number(a["index"] ?? 0) - Number(b["index"] ?? 0));
	const vectors = ordered.map(({ embedding }) => vectorOf(embedding));
	if (isOlder) return JSON.stringify({ embedding: vectors[0] ?? [] });
	const { total_duration, load_duration } = durations(times);
	const tokens = tokensOf(usage);
	return JSON.stringify({
		model: askedModel(call),
		embeddings: vectors,
		total_duration,
		load_duration,
		prompt_eval_count: tokens?.input,
	});
}

/** A vector, which some servers send as base64 of 32-bit floats. */
function vectorOf(embedding: unknown): unknown {
	if (typeof embedding !== "string") return embedding;
	const bytes = Buffer.from(embedding, "base64");
	return Array.from({ length: Math.floor(bytes.length / 4) }, (_, at) => bytes.readFloatLE(at * 4));
}
