/** The chunks of an OpenAI-shaped stream: what each means, and what of it the client sees. */
import type { Call } from "../../openai/call.ts";
import { type Edit, fieldNamed, fieldsOf, parseBounded, removeField, splice } from "../../openai/json.ts";
import { type SseEvent, sseData } from "../../openai/sse.ts";
import { isPlainUsage, objectIn, readUsage, type Tokens } from "../../openai/usage.ts";
import { completionEdit, withCounts } from "../../openai/usage-edits.ts";
import { type CountedTokens, type Failure, NO_CHOICE, type Out, type StreamDecoder, TRUNCATED } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { failureOf, readErrorObject } from "../upstream-error.ts";
import { DeltaTemplate, solidTokens } from "./fast-path.ts";
import { ABORTED } from "./response.ts";

/** What the router reads of a chunk. */
interface Chunk {
	error?: unknown;
	usage?: unknown;
	/** llama.cpp's own counts. */
	timings?: unknown;
	/** Groq's place for usage that nobody asked for. */
	x_groq?: { readonly usage?: unknown } | null;
	choices?: Choice[];
}

interface Choice {
	index?: number;
	delta?: Record<string, unknown> | null;
	text?: string;
	finish_reason?: string | null;
	/** Moonshot's place for it. */
	usage?: unknown;
	error?: unknown;
}

const AS_IT_CAME: Out = {};
const DELTA: Out = { delta: true };
const FINISH: Out = { finish: true };
const UNSENT: Out = { bytes: "" };
const DROPPED: Out = { bytes: "", dropped: true };
const END: Out = { bytes: "", done: true };
/** What stands before an event's data, in the form that nearly every upstream sends. */
const FIELD = "data: ";

/** Reads one stream of an OpenAI-shaped upstream. */
export function chunkDecoder(upstream: Upstream, call: Call): StreamDecoder {
	const { include_usage, continuous_usage_stats } = call.body.stream_options ?? {};
	const showsUsage = include_usage === true;
	/** The client asked for counts in each chunk. */
	const showsCounts = showsUsage && continuous_usage_stats === true;
	/** Choices that have begun and not finished, and those that have. */
	const unfinished = new Set<number>();
	const finished = new Set<number>();
	const template = new DeltaTemplate();
	/** Told by the last chunk that brought some of the answer; none where that told nothing. */
	let counted: CountedTokens | undefined;
	let isBehind = false;
	/** The last chunk that was good, and the last usage that was told: beside it, or beside an error. */
	let head: string | undefined;
	let told: { readonly usage: unknown; readonly tokens: Tokens } | undefined;
	let isDone = false;
	let hasChoice = false;

	function push({ data, name, raw }: SseEvent): Out {
		// Another router's last word: this one has its own.
		if (data === undefined) return raw.startsWith(": router {") ? UNSENT : AS_IT_CAME;
		if (data === "[DONE]") {
			isDone = true;
			return END;
		}
		if (template.matchesEvent(raw)) return DELTA;
		const chunk = parse(data);
		if (chunk === undefined) return DROPPED;
		const failure = failureIn(upstream, chunk, name);
		const sent = usageIn(chunk);
		const { tokens, cost, completion } = readUsage(sent, chunk.timings);
		if (failure) {
			if (tokens) told = { usage: sent, tokens };
			return { bytes: "", failure, tokens, cost };
		}
		let finish: boolean | undefined;
		let delta = false;
		for (const choice of chunk.choices ?? []) {
			const index = choice.index ?? 0;
			hasChoice = true;
			if (choice.finish_reason === ABORTED) return { bytes: "", failure: TRUNCATED, tokens, cost };
			const isPiece = carries(choice);
			if (isPiece) delta = true;
			// Gateways before Gemini say one with every piece: only its end tells which was the last.
			if (isPiece && finished.has(index)) finish = false;
			else if (choice.finish_reason) {
				finish ??= true;
				finished.add(index);
				unfinished.delete(index);
				template.forget();
			} else if (isPiece) unfinished.add(index);
		}
		if (!tokens) {
			if (!told) head = data;
			if (chunk.usage != null) return { bytes: textOf(data, cutOf(data, chunk)), delta, finish };
			if (!delta) return finish ? FINISH : AS_IT_CAME;
			counted = undefined;
			if (finish !== undefined) return { delta, finish };
			template.learn(raw);
			return DELTA;
		}
		const edit = completion === undefined || chunk.usage == null ? undefined : completionEdit(data, completion);
		// What was counted stands against a later count that is none.
		if (!tokens.uncounted || !told || told.tokens.uncounted) {
			head = edit ? splice(data, [edit]) : data;
			told = { usage: completion === undefined ? sent : { ...objectIn(sent), completion_tokens: completion }, tokens };
		}
		const out = { delta, finish, tokens, cost };
		if (chunk.usage == null) return out;
		if (!chunk.choices?.length) return { ...out, bytes: "" };
		count(chunk.choices, tokens, delta);
		const cut = showsCounts ? undefined : cutOf(data, chunk);
		if (delta && finish === undefined && counted && (cut || !edit) && raw.startsWith(FIELD)) {
			template.learn(raw, cut && { start: cut.start + FIELD.length, end: cut.end + FIELD.length });
		}
		return { ...out, bytes: textOf(data, cut ?? edit) };
	}

	/** A chunk tells what there was so far. Where there are several choices it tells of one alone, which is of no use. */
	function count(choices: readonly Choice[], { input, output, uncounted }: Tokens, delta: boolean): void {
		const before = countedNow();
		const isOne = choices.length === 1 && (choices[0]!.index ?? 0) === 0;
		if (!isOne || uncounted || output < (before?.output ?? 0) || (delta && output === 0)) {
			counted = undefined;
			return;
		}
		const { delta: piece, text } = choices[0]!;
		const said = typeof text === "string" ? text : piece?.["content"];
		counted = { input, output, solid: solidTokens(output, before?.solid ?? 0, typeof said === "string" ? said : "") };
		template.solid = counted.solid;
	}

	/** The usage comes in one place for all clients: behind the answer, as OpenAI has it, whichever of its chunks told it here. */
	function rest(): Out {
		return showsUsage && head !== undefined ? { usage: usageChunk(head, told?.usage, told?.tokens) } : {};
	}

	function plain(chunk: Uint8Array): Uint8Array | undefined {
		const bytes = template.plain(chunk);
		if (bytes && template.counts) isBehind = true;
		return bytes;
	}

	/** What the template has counted is looked at when somebody asks. */
	function countedNow(): CountedTokens | undefined {
		if (isBehind && counted) counted = { input: counted.input, output: template.output, solid: template.solid };
		isBehind = false;
		return counted;
	}

	function end(): Failure | undefined {
		if (!hasChoice) return NO_CHOICE;
		// `[DONE]` alone says nothing: vLLM also sends it behind answers that it broke off.
		const least = isDone ? 1 : choicesOf(call);
		return finished.size >= least && unfinished.size === 0 ? undefined : TRUNCATED;
	}

	return { push, end, rest, plain, counted: countedNow };
}

/** How many choices a call asks for: `n`, for each of the prompts (`/v1/completions` takes several). */
function choicesOf({ body }: Call): number {
	const n = typeof body["n"] === "number" && body["n"] > 1 ? body["n"] : 1;
	const { prompt } = body;
	return Array.isArray(prompt) && typeof prompt[0] !== "number" ? n * prompt.length : n;
}

/**
 * The error in an event, in any form recorded: `data: {"error"}` alone (vLLM, OpenRouter), beside choices (OpenRouter, also after
 * a finish reason), inside a choice, or named `event: error` (Groq).
 */
function failureIn(upstream: Upstream, chunk: Chunk, name: string | undefined): Failure | undefined {
	const broken = chunk.choices?.find((choice) => choice.error || choice.finish_reason === "error");
	if (!chunk.error && !broken && name !== "error") return undefined;
	const error = readErrorObject({ error: chunk.error ?? broken?.error ?? chunk }) ?? {
		isOurs: true,
		message: "failed",
	};
	return failureOf(upstream, error.status ?? 500, error);
}

function parse(data: string): Chunk | undefined {
	try {
		const chunk = parseBounded(data);
		return isChunk(chunk) ? chunk : undefined;
	} catch {
		return undefined;
	}
}

/** Whether it has the shape that is read here; what else it holds goes on as it came. */
function isChunk(value: unknown): value is Chunk {
	if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
	const { choices } = value as { choices?: unknown };
	if (choices === undefined || choices === null) return true;
	return Array.isArray(choices) && choices.every((choice) => typeof choice === "object" && choice !== null);
}

/** Whether a choice brings a piece of the answer, not just a role. */
function carries({ delta, text }: Choice): boolean {
	if (text) return true;
	if (!delta) return false;
	return Boolean(
		delta["content"] ||
			delta["tool_calls"] ||
			delta["reasoning_content"] ||
			delta["reasoning"] ||
			delta["refusal"] ||
			delta["function_call"],
	);
}

/** Where an upstream may put it. */
function usageIn({ usage, choices, x_groq }: Chunk): unknown {
	return usage ?? choices?.[0]?.usage ?? x_groq?.usage;
}

/** The edit that takes the usage out; undefined where it has none. */
function cutOf(data: string, { usage }: Chunk): Edit | undefined {
	if (usage === undefined || usage === null) return undefined;
	const fields = fieldsOf(data);
	const field = fieldNamed(fields, "usage");
	return field && removeField(fields, field);
}

/** The event with that edit; undefined where it goes on as it came. */
const textOf = (data: string, edit: Edit | undefined) => (edit ? sseData(splice(data, [edit])) : undefined);

/**
 * The chunk that tells the usage and nothing else; as it came where it did so, and clients can read it.
 * @param data the chunk whose id and model it has
 */
function usageChunk(data: string, usage: unknown, tokens: Tokens | undefined): string {
	const chunk = JSON.parse(data) as Chunk;
	if (chunk.choices?.length === 0 && chunk.usage != null && isPlainUsage(usage)) return data;
	const told = JSON.stringify({ ...chunk, choices: [], usage: objectIn(usage) ?? {} });
	return tokens && !isPlainUsage(usage) ? withCounts(told, tokens, tokens.uncounted !== undefined) : told;
}
