/** A stream of this wire as OpenAI's whole answer, for the cache. */
import { hasLongNumbers } from "../../openai/exact-numbers.ts";
import { type SseEvent, SseSplitter } from "../../openai/sse.ts";
import { addDetail, carriesDetails, detailsIn } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import { chatUsageOf } from "./usage-metadata.ts";

type Json = Readonly<Record<string, unknown>>;

const CALLS = '"functionCall"';
const FINISH: Readonly<Record<string, string>> = { STOP: "stop", MAX_TOKENS: "length", SAFETY: "content_filter" };
/** Of a candidate, what is kept in another form, or in none. */
const BESIDE = ["groundingMetadata", "citationMetadata", "logprobsResult", "urlContextMetadata"];
/** What of a part OpenAI's words have a form for. */
const SAID = new Set(["text", "thought", "thoughtSignature", "functionCall"]);

/** The answer; undefined where the stream is not whole, or holds what OpenAI's words have no form for. */
export function foldGenerated(stream: Uint8Array, isEvents: boolean): string | undefined {
	const text = Buffer.from(stream.buffer, stream.byteOffset, stream.byteLength).toString();
	// Arguments with numbers that a parse would round.
	if (text.includes(CALLS) && hasLongNumbers(text)) return undefined;
	const responses = isEvents ? eventsIn(stream) : (JSON.parse(text) as Json[]);
	const choices = new Map<number, FoldedChoice>();
	let usage: Json = {};
	for (const response of responses) {
		if (response["error"] !== undefined) return undefined;
		usage = objectIn(response["usageMetadata"]) ?? usage;
		for (const each of listIn(response["candidates"])) {
			const index = typeof each["index"] === "number" ? each["index"] : 0;
			const choice = choices.get(index) ?? new FoldedChoice();
			choices.set(index, choice);
			if (!choice.add(each)) return undefined;
		}
	}
	const all = [...choices].sort(([one], [other]) => one - other);
	if (all.length === 0 || all.some(([, choice]) => choice.finish === undefined)) return undefined;
	const last = responses.at(-1)!;
	return JSON.stringify({
		id: last["responseId"],
		object: "chat.completion",
		created: 0,
		model: last["modelVersion"],
		choices: all.map(([index, choice]) => choice.folded(index, String(last["responseId"]))),
		// One that is given a second time costs nothing.
		usage: chatUsageOf(usage),
	});
}

function eventsIn(stream: Uint8Array): Json[] {
	const splitter = new SseSplitter();
	const events: SseEvent[] = [...splitter.push(stream), ...splitter.end()];
	return events.flatMap(({ data }) => (data === undefined ? [] : [JSON.parse(data) as Json]));
}

const listIn = (value: unknown): Json[] => (Array.isArray(value) ? value.map((each) => objectIn(each) ?? {}) : []);

/** The `extra_content` that carries a signature. */
const extraOf = ({ thoughtSignature: signature }: Json) =>
	typeof signature === "string" && !carriesDetails(signature)
		? { extra_content: { google: { thought_signature: signature } } }
		: {};

class FoldedChoice {
	finish: string | undefined;
	#text = "";
	#thoughts = "";
	#extra: object = {};
	/** What another vendor has signed. */
	readonly #details: unknown[] = [];
	readonly #calls: { readonly id?: unknown }[] = [];

	/** Takes a candidate; false where OpenAI's words have no form for what it says. */
	add(candidate: Json): boolean {
		const { finishReason, content } = candidate;
		if (BESIDE.some((name) => candidate[name] !== undefined)) return false;
		if (typeof finishReason === "string") this.finish = FINISH[finishReason] ?? undefined;
		for (const part of listIn(objectIn(content)?.["parts"])) {
			if (Object.keys(part).some((name) => !SAID.has(name))) return false;
			this.#part(part);
		}
		return finishReason === undefined || this.finish !== undefined;
	}

	#part(part: Json): void {
		const { text, thought, functionCall, thoughtSignature: signature } = part;
		if (carriesDetails(signature)) for (const detail of detailsIn(signature)) addDetail(this.#details, detail);
		const call = objectIn(functionCall);
		if (call) {
			const made = { name: call["name"], arguments: JSON.stringify(call["args"] ?? {}) };
			const id = call["id"] || undefined;
			this.#calls.push({ ...{ id, type: "function", function: made }, ...extraOf(part) });
			return;
		}
		if (thought === true) this.#thoughts += text;
		else if (typeof text === "string") this.#text += text;
		this.#extra = { ...this.#extra, ...extraOf(part) };
	}

	/** @param answer its id, of which those of calls are made that have none */
	folded(index: number, answer: string): object {
		const calls = this.#calls.map((call, at) => ({ ...call, id: call.id ?? `call_${answer}_${index}_${at}` }));
		const thoughts = this.#thoughts;
		const message = {
			role: "assistant",
			content: this.#text === "" && calls.length > 0 ? null : this.#text,
			refusal: null,
			...(thoughts === "" ? {} : { reasoning_content: thoughts, reasoning: thoughts }),
			...(calls.length > 0 ? { tool_calls: calls } : {}),
			...(this.#details.length > 0 ? { reasoning_details: this.#details } : {}),
			...this.#extra,
		};
		const finish_reason = this.finish === "stop" && calls.length > 0 ? "tool_calls" : this.finish;
		return { index, message, logprobs: null, finish_reason };
	}
}
