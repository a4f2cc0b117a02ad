/**
 * What a client has been sent of a streamed answer, so that the answer can be resumed elsewhere. Kept as the bytes that were sent and
 * parsed only on demand: nearly every stream ends well.
 */
import { PackedEvents } from "./packed-events.ts";
import { SentEvents } from "./sent-response-events.ts";
import type { StreamPiece } from "./sse.ts";

/** A tool call as far as it was sent. */
export interface SentToolCall {
	readonly id: string | undefined;
	readonly name: string;
	readonly arguments: string;
}

/** An answer as far as it was sent; one choice. */
export interface SentSoFar {
	/** The fields of the first chunk that has an id, but for `choices` and `usage`: id, object, created, model, … */
	readonly head: Readonly<Record<string, unknown>>;
	readonly content: string;
	readonly reasoning: string;
	readonly refusal: string;
	/** Of a text completion. */
	readonly text: string;
	/** By their index. */
	readonly toolCalls: readonly SentToolCall[];
	/** Chunks that carried a piece of the answer: about the tokens of it, where its upstream packs none together. */
	readonly deltas: number;
	/** All that was said, UTF-16 units and bytes: texts, thoughts, tool calls. */
	readonly characters: number;
	readonly bytes: number;
	/** Chunks, the one that it shares with other text included, that the white space at the end of `content` came in: about its tokens. */
	readonly trailingSpaces: number;
	/** What was sent holds something that can't be compared or continued: audio, several choices; named for a person. */
	readonly obstacle?: string | undefined;
	/** The finish reason has been sent: nothing may follow but usage. */
	readonly isFinished: boolean;
	/** That, where chunks had it. */
	readonly finishReason?: string | undefined;
}

/** Deltas that are understood here; `extra` ones go on as they come and are not compared. */
const PLAIN = new Set(["role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls"]);
const EXTRA = new Set(["reasoning_details", "extra_content", "annotations", "provider_specific_fields", "token_ids"]);

interface SentDraft {
	head: Record<string, unknown>;
	content: string;
	reasoning: string;
	refusal: string;
	text: string;
	toolCalls: { id: string | undefined; name: string; arguments: string }[];
	deltas: number;
	characters: number;
	bytes: number;
	trailingSpaces: number;
	obstacle?: string | undefined;
	isFinished: boolean;
	finishReason?: string;
}

/** The record of one stream. */
export class SentRecord {
	readonly #pieces = new PackedEvents();
	#events: SentEvents | undefined;
	readonly #sent: SentDraft = {
		head: {},
		content: "",
		reasoning: "",
		refusal: "",
		text: "",
		toolCalls: [],
		deltas: 0,
		characters: 0,
		bytes: 0,
		trailingSpaces: 0,
		isFinished: false,
	};

	/** Takes what goes to the client: whole events. */
	add(piece: StreamPiece): void {
		this.#pieces.add(piece);
	}

	/** All that was sent so far; what is added later does not change it. */
	soFar(): SentSoFar {
		for (const { data, name } of this.#pieces.read()) {
			if (data === undefined) continue;
			// Chunks have no name.
			if (name === undefined) readChunk(this.#sent, data);
			else this.#readEvent(data);
		}
		return { ...this.#sent, toolCalls: this.#sent.toolCalls.map((call) => ({ ...call })) };
	}

	/** An event of OpenAI's Responses. */
	#readEvent(data: string): void {
		this.#events ??= new SentEvents();
		const said = this.#events.read(JSON.parse(data) as Record<string, unknown>);
		if (!said) return;
		const sent = this.#sent;
		if (said.head && !sent.head["id"]) sent.head = said.head;
		if (said.isFinished) sent.isFinished = true;
		sent.obstacle ??= said.obstacle;
		if (said.delta) readDelta(sent, said.delta);
	}
}

/** A chunk, as far as it is looked at. */
interface Chunk {
	choices?: {
		index?: number;
		delta?: Record<string, unknown> | null;
		text?: string;
		finish_reason?: string | null;
	}[];
}

function readChunk(sent: SentDraft, data: string): void {
	let chunk: Chunk & Record<string, unknown>;
	try {
		chunk = JSON.parse(data);
	} catch {
		// The decoders send only JSON on, and `[DONE]`, behind which nothing is resumed.
		return;
	}
	const { choices, usage: _, ...head } = chunk;
	// Azure's first chunk, which reports its filters, has an empty id: the first chunk that has one counts.
	if (!sent.head["id"] && (head["id"] || Object.keys(sent.head).length === 0)) sent.head = head;
	for (const choice of choices ?? []) {
		if ((choice.index ?? 0) > 0) sent.obstacle = "it has several choices";
		if (choice.finish_reason) {
			sent.isFinished = true;
			sent.finishReason = choice.finish_reason;
		}
		if (typeof choice.text === "string") {
			sent.text += choice.text;
			sent.characters += choice.text.length;
			sent.bytes += Buffer.byteLength(choice.text);
			if (choice.text !== "") sent.deltas++;
		}
		readDelta(sent, choice.delta ?? {});
	}
}

function readDelta(sent: SentDraft, delta: Record<string, unknown>): void {
	const before = sent.characters;
	const content = text(delta["content"]);
	sent.content += content;
	addText(sent, content);
	if (content !== "") sent.trailingSpaces = spacesAfter(content, sent.trailingSpaces);
	const reasoning = text(delta["reasoning_content"]) || text(delta["reasoning"]);
	sent.reasoning += reasoning;
	addText(sent, reasoning);
	sent.refusal += text(delta["refusal"]);
	addText(sent, text(delta["refusal"]));
	const calls = delta["tool_calls"];
	if (Array.isArray(calls)) for (const call of calls) readToolCall(sent, call);
	const unknownField = Object.keys(delta).find((key) => !PLAIN.has(key) && !EXTRA.has(key) && delta[key]);
	if (unknownField !== undefined) sent.obstacle = `it holds "${unknownField}"`;
	if (sent.characters > before) sent.deltas++;
}

function readToolCall(sent: SentDraft, call: unknown): void {
	const { index = 0, id, function: called } = call as ToolCallDelta;
	if (index > sent.toolCalls.length) {
		sent.obstacle = "its tool calls are out of order";
		return;
	}
	sent.toolCalls[index] ??= { id: undefined, name: "", arguments: "" };
	const toolCall = sent.toolCalls[index];
	toolCall.id ??= id;
	toolCall.name += text(called?.name);
	toolCall.arguments += text(called?.arguments);
	addText(sent, text(called?.name) + text(called?.arguments));
}

function addText(sent: SentDraft, text: string): void {
	sent.characters += text.length;
	sent.bytes += Buffer.byteLength(text);
}

/** Chunks in which the white space at the end came, after one with this text. */
function spacesAfter(content: string, before: number): number {
	const solid = content.trimEnd();
	return solid === "" ? before + 1 : solid.length < content.length ? 1 : 0;
}

/** A piece of a tool call in a chunk. */
export interface ToolCallDelta {
	index?: number;
	id?: string;
	type?: string;
	function?: { name?: string | null; arguments?: string | null };
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
