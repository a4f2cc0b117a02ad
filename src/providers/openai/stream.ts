/** The chunks of an OpenAI-shaped stream: what each means, and what of it the client sees. */
import type { Call } from "../../openai/call.ts";
import { type Edit, fieldNamed, fieldsOf, parseBounded, removeField, splice } from "../../openai/json.ts";
import { promptsIn } from "../../openai/parsed-body.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import { type SseEvent, sseData } from "../../openai/sse.ts";
import { isPlainUsage, objectIn, readUsage, type Tokens, type UsageReading } from "../../openai/usage.ts";
import { completionEdit, withCounts } from "../../openai/usage-edits.ts";
import { type Failure, NO_CHOICE, TRUNCATED } from "../failure.ts";
import type { CountedTokens, Out, PassedEvents, StreamDecoder } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { failureOf, readErrorObject } from "../upstream-error.ts";
import { DeltaTemplate, trimmedTokens } from "./fast-path.ts";
import { ABORTED } from "./response.ts";
import { responseDecoderFor } from "./response-chunks.ts";
import { isResponseEvent } from "./response-events.ts";
import { SignedAnswer } from "./signed-thoughts.ts";

/** What the router reads of a chunk. */
interface Chunk {
	error?: unknown;
	usage?: unknown;
	/** llama.cpp's own counts. */
	timings?: unknown;
	/** Groq's field for usage that the client has not asked for. */
	x_groq?: { readonly usage?: unknown } | null;
	choices?: Choice[];
}

interface Choice {
	index?: number;
	delta?: Record<string, unknown> | null;
	text?: string;
	finish_reason?: string | null;
	/** Moonshot's field for it. */
	usage?: unknown;
	error?: unknown;
}

/** What a chunk's choices brought: some of the answer, and a finish reason (see {@link Out}). */
interface ChoicesRead {
	readonly delta: boolean;
	readonly finish: boolean | undefined;
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
export class ChunkDecoder implements StreamDecoder {
	// What each event needs is side by side: a stream's state has left the processor's caches by its next event.
	readonly #template = new DeltaTemplate();
	/** Reads the answer where that is a response. */
	#response: StreamDecoder | undefined;
	/** The template has read chunks since those that were counted. */
	#isBehind = false;
	readonly #upstream: Upstream;
	readonly #call: Call;
	readonly #showsUsage: boolean;
	/** The client asked for counts in each chunk. */
	readonly #showsCounts: boolean;
	/** Choices that have begun and not finished, and those that have. */
	readonly #unfinished = new Set<number>();
	readonly #finished = new Set<number>();
	/** What the server signs of the first choice; undefined where it signs nothing. */
	readonly #signed: SignedAnswer | undefined;
	/** Words belong to what is signed, so that each chunk is read. */
	readonly #readsWords: boolean;
	/** Said by the last chunk that brought some of the answer; undefined where that said nothing. */
	#counted: CountedTokens | undefined;
	/** The last chunk that was good, and the last usage that came: beside it, or beside an error. */
	#lastChunk: string | undefined;
	#lastUsage: { readonly usage: unknown; readonly tokens: Tokens } | undefined;
	#isDone = false;
	#hasChoice = false;

	constructor(upstream: Upstream, call: Call) {
		// Clients of Responses are told the counts in any case.
		const { include_usage, continuous_usage_stats } =
			(call.responses ? undefined : (call.body().at("stream_options") as RequestBody["stream_options"])) ?? {};
		const { signs } = upstream.row;
		this.#upstream = upstream;
		this.#call = call;
		this.#signed = signs && call.operation === "chat" ? new SignedAnswer(signs) : undefined;
		this.#readsWords = signs === "encrypted";
		this.#showsUsage = include_usage === true;
		this.#showsCounts = this.#showsUsage && continuous_usage_stats === true;
	}

	push(event: SseEvent): Out {
		if (this.#response) return this.#response.push(event);
		const { data, name, raw } = event;
		// Another router's last word: this one has its own.
		if (data === undefined) return raw.startsWith(": router {") ? UNSENT : AS_IT_CAME;
		if (data === "[DONE]") {
			this.#isDone = true;
			return END;
		}
		if (this.#template.matchesEvent(raw)) return DELTA;
		// The answer to a call at `/responses`.
		if (name?.startsWith("response.") && !this.#hasChoice) return this.#asResponse(event);
		const chunk = parse(data);
		if (chunk === undefined) return DROPPED;
		// The same, by its data alone.
		if (chunk.choices === undefined && !this.#hasChoice && isResponseEvent(chunk)) return this.#asResponse(event);
		const failure = failureIn(this.#upstream, chunk, name);
		const sent = usageIn(chunk);
		const reading = readUsage(sent, chunk.timings);
		const { tokens, cost } = reading;
		if (failure) {
			if (tokens) this.#lastUsage = { usage: sent, tokens };
			return { bytes: "", failure, tokens, cost };
		}
		const read = this.#readChoices(chunk.choices ?? []);
		if (read === ABORTED) return { bytes: "", failure: TRUNCATED, tokens, cost };
		return tokens ? this.#withUsage(data, raw, chunk, reading, read) : this.#withoutUsage(data, raw, chunk, read);
	}

	#asResponse(event: SseEvent): Out {
		this.#response = responseDecoderFor(this.#upstream, this.#call);
		return this.#response.push(event);
	}

	#readChoices(choices: readonly Choice[]): ChoicesRead | typeof ABORTED {
		let finish: boolean | undefined;
		let delta = false;
		for (const choice of choices) {
			const index = choice.index ?? 0;
			this.#hasChoice = true;
			if (choice.finish_reason === ABORTED) return ABORTED;
			const isPiece = carries(choice);
			if (isPiece) delta = true;
			if (this.#signed && index === 0 && choice.delta) this.#signed.add(choice.delta);
			// Gateways before Gemini send one with every piece: only the stream's end says which was the last.
			if (isPiece && this.#finished.has(index)) finish = false;
			else if (choice.finish_reason) {
				finish ??= true;
				this.#finished.add(index);
				this.#unfinished.delete(index);
				this.#template.forget();
			} else if (isPiece) this.#unfinished.add(index);
		}
		return { delta, finish };
	}

	#withoutUsage(data: string, raw: string, chunk: Chunk, { delta, finish }: ChoicesRead): Out {
		if (!this.#lastUsage) this.#lastChunk = data;
		if (chunk.usage != null) return { bytes: textOf(data, cutOf(data, chunk)), delta, finish };
		if (!delta) return finish ? FINISH : AS_IT_CAME;
		this.#counted = undefined;
		if (finish !== undefined) return { delta, finish };
		if (!this.#readsWords) this.#template.learn(raw);
		return DELTA;
	}

	#withUsage(
		data: string,
		raw: string,
		chunk: Chunk,
		{ tokens, cost, completion }: UsageReading,
		{ delta, finish }: ChoicesRead,
	): Out {
		const sent = usageIn(chunk);
		const edit = completion === undefined || chunk.usage == null ? undefined : completionEdit(data, completion);
		// What was counted stands against a later count that is none.
		if (!tokens!.uncounted || !this.#lastUsage || this.#lastUsage.tokens.uncounted) {
			const usage = completion === undefined ? sent : { ...objectIn(sent), completion_tokens: completion };
			this.#lastChunk = edit ? splice(data, [edit]) : data;
			this.#lastUsage = { usage, tokens: tokens! };
		}
		const out = { delta, finish, tokens, cost };
		if (chunk.usage == null) return out;
		if (!chunk.choices?.length) return { ...out, bytes: "" };
		this.#count(chunk.choices, tokens!, delta);
		const cut = this.#showsCounts ? undefined : cutOf(data, chunk);
		if (
			delta &&
			finish === undefined &&
			this.#counted &&
			!this.#readsWords &&
			(cut || !edit) &&
			raw.startsWith(FIELD)
		) {
			this.#template.learn(raw, cut && { start: cut.start + FIELD.length, end: cut.end + FIELD.length });
		}
		return { ...out, bytes: textOf(data, cut ?? edit) };
	}

	/** A chunk says what there was so far. Where there are several choices it speaks of one alone, which is of no use. */
	#count(choices: readonly Choice[], { input, output, reasoning, uncounted }: Tokens, delta: boolean): void {
		const before = this.countedTokens();
		const isOne = choices.length === 1 && (choices[0]!.index ?? 0) === 0;
		if (!isOne || uncounted || output < (before?.output ?? 0) || (delta && output === 0)) {
			this.#counted = undefined;
			return;
		}
		const { delta: piece, text } = choices[0]!;
		const content = typeof text === "string" ? text : piece?.["content"];
		const trimmed = trimmedTokens(output, before?.trimmed ?? 0, typeof content === "string" ? content : "");
		this.#counted = { input, output, trimmed, reasoning };
		this.#template.trimmed = trimmed;
	}

	/** The usage goes to all clients behind the answer, as OpenAI has it, whichever chunk brought it here. */
	flush(): Out {
		if (this.#response) return this.#response.flush!();
		const thinking = this.#signed?.thinking;
		if (!this.#showsUsage || this.#lastChunk === undefined) return { thinking };
		return { usage: usageChunk(this.#lastChunk, this.#lastUsage?.usage, this.#lastUsage?.tokens), thinking };
	}

	passThrough(chunk: Buffer, from: number): PassedEvents | undefined {
		if (this.#response) return this.#response.passThrough?.(chunk, from);
		const template = this.#template;
		const bytes = template.passThrough(chunk, from);
		if (!bytes) return undefined;
		if (template.hasCounts) this.#isBehind = true;
		const { length, events } = template;
		return { bytes: bytes.length < length ? bytes : undefined, length, events };
	}

	/** What the template has counted is looked at when somebody asks. */
	countedTokens(): CountedTokens | undefined {
		const { output, trimmed } = this.#template;
		if (this.#isBehind && this.#counted) this.#counted = { ...this.#counted, output, trimmed };
		this.#isBehind = false;
		return this.#counted;
	}

	end(): Failure | undefined {
		if (this.#response) return this.#response.end();
		if (!this.#hasChoice) return NO_CHOICE;
		// `[DONE]` alone says nothing: vLLM also sends it behind answers that it broke off.
		const least = this.#isDone ? 1 : choicesOf(this.#call);
		return this.#finished.size >= least && this.#unfinished.size === 0 ? undefined : TRUNCATED;
	}
}

/** How many choices a call asks for: `n`, for each of the prompts (`/v1/completions` takes several). */
function choicesOf(call: Call): number {
	const body = call.body();
	const asked = body.at("n");
	return (typeof asked === "number" && asked > 1 ? asked : 1) * promptsIn(body);
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
 * The chunk that holds the usage and nothing else; unchanged where the upstream sent such a one that clients can read.
 * @param data the chunk whose id and model it has
 */
function usageChunk(data: string, usage: unknown, tokens: Tokens | undefined): string {
	const chunk = JSON.parse(data) as Chunk;
	if (chunk.choices?.length === 0 && chunk.usage != null && isPlainUsage(usage)) return data;
	const text = JSON.stringify({ ...chunk, choices: [], usage: objectIn(usage) ?? {} });
	return tokens && !isPlainUsage(usage) ? withCounts(text, tokens, tokens.uncounted !== undefined) : text;
}
