/** One answer in its two forms, whole JSON and stream, each made of the other (OpenAI, spec v2.3.0). */
import { OPERATIONS, type Operation } from "./operations.ts";
import { type SseEvent, SseSplitter, sseData } from "./sse.ts";

type Json = Record<string, unknown>;

/** Texts that name a thing: the last one counts, they don't come in pieces. */
const NAMES = new Set(["role", "type", "id", "name", "object", "format", "finish_reason"]);

/** The JSON answer that the same call would have got without `stream`; undefined where the events hold none. Comments and what is no JSON are passed over. */
export function foldStream(operation: Operation, bytes: Uint8Array): string | undefined {
	const splitter = new SseSplitter();
	const answer = new Fold(operation);
	for (const event of splitter.push(bytes)) answer.add(event);
	for (const event of splitter.end()) answer.add(event);
	return answer.text();
}

class Fold {
	readonly #head: Json = {};
	readonly #choices = new Map<number, Json>();

	readonly #objectName: string;
	/** Each choice holds a message, whose pieces come as `delta`. */
	readonly #hasMessages: boolean;

	constructor(operation: Operation) {
		const { objectName, answerField } = OPERATIONS[operation];
		this.#objectName = objectName;
		this.#hasMessages = answerField === "message";
	}

	add({ data }: SseEvent): void {
		if (data === undefined || data === "[DONE]") return;
		const chunk = parse(data);
		if (!chunk) return;
		for (const [key, value] of Object.entries(chunk)) {
			if (key !== "choices" && (value !== null || !(key in this.#head))) this.#head[key] = value;
		}
		const { choices } = chunk;
		if (Array.isArray(choices)) for (const choice of choices) if (isObject(choice)) this.#addChoice(choice);
	}

	text(): string | undefined {
		if (this.#choices.size === 0) return undefined;
		const { usage, ...head } = this.#head;
		const choices = [...this.#choices].sort(([a], [b]) => a - b).map(([, choice]) => choice);
		for (const { message } of choices) {
			if (isObject(message) && message["tool_calls"]) message["tool_calls"] = inOrder(message["tool_calls"]);
		}
		return JSON.stringify({ ...head, object: this.#objectName, choices, ...(usage == null ? {} : { usage }) });
	}

	#addChoice({ index, delta, ...rest }: Json): void {
		const at = typeof index === "number" ? index : 0;
		let choice = this.#choices.get(at);
		if (!choice) {
			choice = this.#hasMessages ? { index: at, message: { role: "assistant", content: null } } : { index: at };
			this.#choices.set(at, choice);
		}
		merge(choice, rest);
		if (this.#hasMessages && isObject(delta)) merge(choice["message"] as Json, delta);
	}
}

/** Puts a piece to what is there: texts and lists grow, what is null says nothing, all else is replaced. */
function merge(into: Json, piece: Json): void {
	for (const [key, value] of Object.entries(piece)) {
		const before = into[key];
		if (before === undefined || before === null) into[key] = isList(value) ? joined([], value) : value;
		else if (value === null) continue;
		else if (typeof value === "string" && typeof before === "string" && !NAMES.has(key)) into[key] = before + value;
		else if (isList(value) && isList(before)) into[key] = joined(before, value);
		else if (isObject(value) && isObject(before)) merge(before, value);
		else if (value !== "") into[key] = value;
	}
}

/** Lists whose items have an `index` are merged by it, others one behind the other. */
function joined(before: readonly unknown[], more: readonly unknown[]): unknown[] {
	const items = [...before];
	for (const item of more) {
		const held = isPlaced(item) && items.find((each) => isPlaced(each) && each["index"] === item["index"]);
		if (held && isPlaced(item)) merge(held as Json, item);
		else items.push(item);
	}
	return items;
}

/** A whole answer's tool calls have no `index`: their order is it. */
function inOrder(calls: unknown): unknown {
	if (!isList(calls)) return calls;
	const indexIn = (call: unknown) => (isPlaced(call) ? (call["index"] as number) : 0);
	return [...calls]
		.sort((a, b) => indexIn(a) - indexIn(b))
		.map((call) => {
			if (!isObject(call)) return call;
			const { index, ...rest } = call;
			return rest;
		});
}

function parse(data: string): Json | undefined {
	try {
		const chunk = JSON.parse(data);
		return isObject(chunk) ? chunk : undefined;
	} catch {
		return undefined;
	}
}

const isObject = (value: unknown): value is Json =>
	typeof value === "object" && value !== null && !Array.isArray(value);
const isPlaced = (value: unknown): value is Json => isObject(value) && typeof value["index"] === "number";
const isList = (value: unknown): value is unknown[] => Array.isArray(value);

/**
 * The events of the stream that the same call would have got with `stream: true`, but for `[DONE]`. Each choice comes in one piece, then its end. Throws where the text is no JSON object.
 * @param showsUsage whether the client asked for `stream_options.include_usage`
 */
export function replayEvents(operation: Operation, answer: string, showsUsage: boolean): string {
	const { choices, usage, ...head } = JSON.parse(answer) as Json;
	const { answerField, chunkObjectName } = OPERATIONS[operation];
	const isChat = answerField === "message";
	const chunk = (list: readonly Json[], more: Json = {}) => {
		const body = { ...head, object: chunkObjectName, choices: list, ...more };
		return sseData(JSON.stringify(body));
	};
	let text = "";
	for (const choice of Array.isArray(choices) ? (choices as Json[]) : []) {
		const { index, message, text: words, logprobs, finish_reason, ...rest } = choice;
		const piece = isChat ? { delta: deltaOf((message ?? {}) as Json) } : { text: words ?? "" };
		const log = logprobs === undefined ? {} : { logprobs };
		text += chunk([{ index, ...piece, ...log, finish_reason: null }]);
		text += chunk([{ index, ...(isChat ? { delta: {} } : { text: "" }), ...rest, finish_reason }]);
	}
	return showsUsage && usage != null ? text + chunk([], { usage }) : text;
}

/** A stream's tool calls have an `index`. */
function deltaOf({ tool_calls: calls, ...message }: Json): Json {
	if (!Array.isArray(calls)) return calls === undefined ? message : { ...message, tool_calls: calls };
	return { ...message, tool_calls: calls.map((call, index) => ({ index, ...(call as Json) })) };
}
