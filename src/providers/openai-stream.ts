/** The chunks of an OpenAI-shaped stream: what each means, and what of it the client sees. */
import type { Call } from "../openai/call.ts";
import { type Edit, fieldNamed, fieldsOf, removeField, splice } from "../openai/json.ts";
import { type SseEvent, sseData } from "../openai/sse.ts";
import { costOf, tokensOf, type Usage, usageEdit } from "../openai/usage.ts";
import { DeltaTemplate, solidTokens } from "./delta-template.ts";
import { type Counted, type Failure, type Out, type StreamDecoder, TRUNCATED } from "./provider.ts";
import type { Upstream } from "./registry.ts";
import { failureOf, readErrorObject } from "./upstream-error.ts";

/** What the router reads of a chunk. */
interface Chunk {
	error?: unknown;
	usage?: Usage | null;
	choices?: Choice[];
}

interface Choice {
	index?: number;
	delta?: Record<string, unknown> | null;
	text?: string;
	finish_reason?: string | null;
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
/** What vLLM calls the end of an answer that it stopped at, since it shuts down. */
export const ABORTED = "abort";

/** Reads one stream of an OpenAI-shaped upstream. */
export function chunkDecoder(upstream: Upstream, call: Call): StreamDecoder {
	const { include_usage, continuous_usage_stats } = call.body.stream_options ?? {};
	const showsUsage = include_usage === true;
	/** Counts that may come with each chunk since the router asked for them. */
	const hidesCounts = upstream.row.countsChunks === true && !(showsUsage && continuous_usage_stats === true);
	/** Choices that have begun and not finished, and those that have. */
	const unfinished = new Set<number>();
	const finished = new Set<number>();
	const template = new DeltaTemplate();
	/** Told by the last chunk that brought some of the answer; none where that told nothing. */
	let counted: Counted | undefined;
	let isBehind = false;
	/** The last usage that came with a piece of the answer. */
	let merged: { readonly data: string; readonly usage: Usage } | undefined;
	let isDone = false;

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
		if (failure) return { bytes: "", failure, ...usageOf(chunk.usage) };
		let finishes = false;
		let delta = false;
		for (const choice of chunk.choices ?? []) {
			const index = choice.index ?? 0;
			if (choice.finish_reason === ABORTED) return { bytes: "", failure: TRUNCATED, ...usageOf(chunk.usage) };
			if (choice.finish_reason) {
				finishes = true;
				finished.add(index);
				unfinished.delete(index);
			} else if (carries(choice)) {
				delta = true;
				// What comes behind its finish reason makes it no less complete.
				if (!finished.has(index)) unfinished.add(index);
			}
		}
		if (!chunk.usage) {
			if (finishes) return delta ? { delta, finish: true } : FINISH;
			if (!delta) return AS_IT_CAME;
			counted = undefined;
			template.learn(raw);
			return DELTA;
		}
		const isUsageOnly = !chunk.choices?.length;
		if (!isUsageOnly) count(chunk.choices!, chunk.usage, delta);
		const { bytes, usage, cut } = shown(data, chunk.usage, isUsageOnly, raw);
		if (delta && !finishes && counted && (cut || bytes === raw) && raw.startsWith(FIELD)) {
			template.learn(raw, cut && { start: cut.start + FIELD.length, end: cut.end + FIELD.length });
		}
		return { bytes, delta, finish: finishes || undefined, ...usageOf(usage) };
	}

	/** A chunk tells what there was so far. Where there are several choices it tells of one alone, which is of no use. */
	function count(choices: readonly Choice[], usage: Usage, delta: boolean): void {
		const { input, output } = tokensOf(usage);
		const before = countedNow();
		const isOne = choices.length === 1 && (choices[0]!.index ?? 0) === 0;
		if (!isOne || output < (before?.output ?? 0) || (delta && output === 0)) {
			counted = undefined;
			return;
		}
		const { delta: piece, text } = choices[0]!;
		const said = typeof text === "string" ? text : piece?.["content"];
		counted = { input, output, solid: solidTokens(output, before?.solid ?? 0, typeof said === "string" ? said : "") };
		template.solid = counted.solid;
	}

	/** The event's text for the client, its usage in OpenAI's sense, and what was taken out of its data. */
	function shown(
		data: string,
		usage: Usage,
		isUsageOnly: boolean,
		raw: string,
	): { bytes: string; usage: Usage; cut?: Edit | undefined } {
		const mended = usageEdit(data, usage);
		const counts = mended ? { ...usage, completion_tokens: mended.tokens } : usage;
		if (isUsageOnly) merged = undefined;
		if (!showsUsage && isUsageOnly) return { bytes: "", usage: counts };
		if (isUsageOnly || (showsUsage && !hidesCounts)) {
			return { bytes: mended ? sseData(splice(data, [mended.edit])) : raw, usage: counts };
		}
		// Clients look for it behind the answer, in a chunk of its own.
		if (showsUsage) merged = { data, usage: counts };
		const cut = withoutUsage(data);
		return { bytes: cut ? sseData(splice(data, [cut])) : raw, usage: counts, cut };
	}

	/** The usage that came with a piece of the answer, and in no chunk of its own. */
	function rest(): Out {
		if (!merged) return {};
		const { choices: _, ...chunk } = JSON.parse(merged.data) as Record<string, unknown>;
		return { bytes: sseData(JSON.stringify({ ...chunk, choices: [], usage: merged.usage })) };
	}

	function plain(chunk: Uint8Array): Uint8Array | undefined {
		const bytes = template.plain(chunk);
		if (bytes && template.counts) isBehind = true;
		return bytes;
	}

	/** What the template has counted is looked at when somebody asks. */
	function countedNow(): Counted | undefined {
		if (isBehind && counted) counted = { input: counted.input, output: template.output, solid: template.solid };
		isBehind = false;
		return counted;
	}

	function end(): Failure | undefined {
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
		const chunk = JSON.parse(data);
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

const usageOf = (usage: Usage | null | undefined) => (usage ? { tokens: tokensOf(usage), cost: costOf(usage) } : {});

function withoutUsage(data: string): Edit | undefined {
	const fields = fieldsOf(data);
	const field = fieldNamed(fields, "usage");
	return field && removeField(fields, field);
}
