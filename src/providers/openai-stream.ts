/** The chunks of an OpenAI-shaped stream: what each means, and what of it the client sees. */
import type { Call } from "../openai/call.ts";
import { type Edit, fieldNamed, fieldsOf, removeField, splice } from "../openai/json.ts";
import { type SseEvent, sseData } from "../openai/sse.ts";
import { costOf, tokensOf, type Usage, usageEdit } from "../openai/usage.ts";
import { DeltaTemplate } from "./delta-template.ts";
import { type Failure, type Out, type StreamDecoder, TRUNCATED } from "./provider.ts";
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
/** What vLLM calls the end of an answer that it stopped at, since it shuts down. */
export const ABORTED = "abort";

/** Reads one stream of an OpenAI-shaped upstream. */
export function chunkDecoder(upstream: Upstream, call: Call): StreamDecoder {
	const showsUsage = call.body.stream_options?.include_usage === true;
	/** Choices that have begun and not finished, and those that have. */
	const unfinished = new Set<number>();
	const finished = new Set<number>();
	const template = new DeltaTemplate();
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
			template.learn(raw);
			return DELTA;
		}
		const { bytes, usage } = shown(data, chunk.usage, (chunk.choices?.length ?? 0) === 0, raw);
		return { bytes, delta, finish: finishes || undefined, ...usageOf(usage) };
	}

	/** The event's text for the client, and its usage in OpenAI's sense. */
	function shown(data: string, usage: Usage, isUsageOnly: boolean, raw: string) {
		const mended = usageEdit(data, usage);
		const counted = mended ? { ...usage, completion_tokens: mended.tokens } : usage;
		if (!showsUsage && isUsageOnly) return { bytes: "", usage: counted };
		const edit: Edit | undefined = showsUsage ? mended?.edit : withoutUsage(data);
		return { bytes: edit ? sseData(splice(data, [edit])) : raw, usage: counted };
	}

	function end(): Failure | undefined {
		// `[DONE]` alone says nothing: vLLM also sends it behind answers that it broke off.
		const least = isDone ? 1 : choicesOf(call);
		return finished.size >= least && unfinished.size === 0 ? undefined : TRUNCATED;
	}

	return { push, end, isPlain: (chunk) => template.matches(chunk) };
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
