/**
 * What a call asks and what it is answered, as OpenTelemetry's conventions for generative AI have it in spans: `gen_ai.input.messages` and
 * `gen_ai.output.messages`, JSON by their schemas (semantic-conventions-genai, docs/gen-ai/gen-ai-input-messages.json and gen-ai-output-messages.json). Made of OpenAI's words, whatever
 * wire the client speaks, and bounded: the last messages, each text up to a length. For calls of keys that have `trace_contents` alone. Pure.
 */
import type { SentRecord, SentSoFar } from "../../openai/sent-so-far.ts";
import type { SpanContents } from "./span-context.ts";

/** An answer in OpenAI's words. */
export interface KeptAnswer {
	/** A stream, as far as its client has been sent it. */
	readonly streamed: SentRecord;
	/** Its body is JSON; where its client got other words, made only when it is read. */
	whole: { readonly body: string } | undefined;
}

/** Longest attribute, and longest text, id or name, and word such as a role in it, UTF-16 units. */
const MOST = 8_192;
const LONGEST_TEXT = 4_096;
const LONGEST_NAME = 256;
const LONGEST_WORD = 40;

type Json = Readonly<Record<string, unknown>>;
/** A part of a message, by its `type`. */
type Part = Json & { readonly type: string };
interface Message {
	readonly role: string;
	readonly parts: Part[];
	readonly finish_reason?: string;
}

/** What is made of messages, and whether that is all of them. */
class Writer {
	isCut = false;

	/** The last messages that there is room for, in their order. */
	json(messages: readonly Message[]): string {
		const written: string[] = [];
		let left = MOST - "[]".length;
		for (const message of messages.toReversed()) {
			const text = JSON.stringify(message);
			left -= text.length + ",".length;
			if (left < 0) {
				this.isCut = true;
				if (written.length === 0) written.push(JSON.stringify(shortenedMessage(message)));
				break;
			}
			written.unshift(text);
		}
		return `[${written.join(",")}]`;
	}

	text(content: string): Part {
		return { type: "text", content: this.clipped(content) };
	}

	clipped(text: string, most = LONGEST_TEXT): string {
		if (text.length <= most) return text;
		this.isCut = true;
		return beginning(text, most);
	}

	/** Why an answer ended, as the conventions call it. */
	finish(reason: unknown): string {
		if (reason === "tool_calls" || reason === "function_call") return "tool_call";
		return this.clipped(textOf(reason), LONGEST_WORD) || "stop";
	}

	/** All that a message says, whoever's it is. */
	said(message: Json): Part[] {
		return [
			...this.#reasoning(message),
			...this.parts(message["content"]),
			...this.parts(message["refusal"]),
			...MEDIA.flatMap((kind) => (isThere(message[kind]) ? [this.#leftOut(kind)] : [])),
			...this.#calls(message),
		];
	}

	/** A prompt of a text completion: a text, or tokens. */
	prompt(prompt: unknown): Part[] {
		return typeof prompt === "string" ? this.parts(prompt) : [this.#leftOut("token_ids")];
	}

	/** Content of a message: a text, or parts. */
	parts(content: unknown): Part[] {
		if (typeof content === "string") return content === "" ? [] : [this.text(content)];
		return arrayOf(content).map((part) => this.#part(part));
	}

	toolCall(id: unknown, name: unknown, args: unknown): Part {
		return { type: "tool_call", id: this.name(id), name: this.name(name), arguments: this.#argumentsIn(args) };
	}

	name(value: unknown): string {
		return this.clipped(textOf(value), LONGEST_NAME);
	}

	/** Calls of tools that a message makes; the only one of older clients and upstreams has no id. */
	#calls({ tool_calls: calls, function_call: older }: Json): Part[] {
		const parts = arrayOf(calls).map((call) => {
			const { name, arguments: args } = (call["function"] ?? call["custom"] ?? {}) as Json;
			return this.toolCall(call["id"], name, args ?? (call["custom"] as Json | undefined)?.["input"]);
		});
		const { name, arguments: args } = (older ?? {}) as Json;
		return name === undefined ? parts : [...parts, this.toolCall(undefined, name, args)];
	}

	#reasoning(message: Json): Part[] {
		const content = textOf(message["reasoning_content"]) || textOf(message["reasoning"]);
		return content === "" ? [] : [{ type: "reasoning", content: this.clipped(content) }];
	}

	#part(part: Json): Part {
		const { type } = part;
		if (type === "text") return this.text(textOf(part["text"]));
		if (type === "refusal") return this.text(textOf(part["refusal"]));
		const url = textOf((part["image_url"] as Json | undefined)?.["url"]);
		if (/^https?:/i.test(url)) return { type: "uri", modality: "image", uri: this.clipped(url) };
		return this.#leftOut(textOf(type) || "unknown");
	}

	/** Pictures, sound and files are too long for a span, and tokens nobody reads. The schema has room for kinds of one's own. */
	#leftOut(kind: string): Part {
		this.isCut = true;
		return { type: "left_out", kind: this.clipped(kind, LONGEST_WORD) };
	}

	/** What is short enough stays JSON. */
	#argumentsIn(given: unknown): unknown {
		if (given === undefined || given === null) return null;
		const args = typeof given === "string" ? given : JSON.stringify(given);
		if (args.length > LONGEST_TEXT) return this.clipped(args);
		try {
			return JSON.parse(args);
		} catch {
			return args;
		}
	}
}

/** A message that is too long by itself. */
function shortenedMessage(message: Message): Message {
	const room = MOST - "[]".length - jsonLength({ ...message, parts: [] });
	return { ...message, parts: fittingParts(message.parts, room) };
}

/** The last parts that there is room for: of the last one, where it is too long by itself, the beginning. @param room of their JSON, UTF-16 units */
function fittingParts(parts: readonly Part[], room: number): Part[] {
	let left = room;
	const tooLong = parts.findLastIndex((part) => {
		left -= jsonLength(part) + ",".length;
		return left < 0;
	});
	const last = parts.at(-1);
	return last && tooLong === parts.length - 1 ? [shortenedPart(last, room)] : parts.slice(tooLong + 1);
}

function shortenedPart(part: Part, room: number): Part {
	if (part.type === "tool_call_response") {
		const left = room - jsonLength({ ...part, response: [] });
		return { ...part, response: fittingParts(part["response"] as Part[], left) };
	}
	const field = part.type === "tool_call" ? "arguments" : part.type === "uri" ? "uri" : "content";
	const value = part[field];
	const text = typeof value === "string" ? value : JSON.stringify(value);
	const fits = (length: number) => jsonLength({ ...part, [field]: beginning(text, length) }) <= room;
	let [least, most] = [0, text.length];
	while (least < most) {
		const middle = Math.ceil((least + most) / 2);
		if (fits(middle)) least = middle;
		else most = middle - 1;
	}
	return { ...part, [field]: beginning(text, least) };
}

/** Without half of a character. */
const beginning = (text: string, length: number): string => `${text.slice(0, length).toWellFormed()}…`;

const jsonLength = (value: object): number => JSON.stringify(value).length;

/** What of a request goes into its span. @param request its body as OpenAI's JSON has it, of chats and completions */
export function inputContents(request: Json): SpanContents {
	const writer = new Writer();
	return { input: writer.json(inputOf(request, writer)), isCut: writer.isCut };
}

/**
 * And of the answer to it.
 * @param answer the whole one as OpenAI's JSON has it, or a stream as far as it was sent
 * @param isAnswered the call has not failed
 */
export function withOutput(
	{ input, isCut }: SpanContents,
	answer: string | SentSoFar,
	isAnswered: boolean,
): SpanContents {
	const writer = new Writer();
	const messages = typeof answer === "string" ? choicesOf(answer, writer) : streamed(answer, isAnswered, writer);
	return { input, output: messages && writer.json(messages), isCut: isCut || writer.isCut };
}

function inputOf({ messages, prompt = "", suffix }: Json, writer: Writer): Message[] {
	if (messages === undefined) {
		// A list of numbers is one prompt.
		const prompts = Array.isArray(prompt) && typeof prompt[0] !== "number" ? prompt : [prompt ?? ""];
		const end = textOf(suffix) === "" ? [] : [{ type: "suffix", content: writer.clipped(textOf(suffix)) }];
		return prompts.map((each) => ({ role: "user", parts: [...writer.prompt(each), ...end] }));
	}
	return arrayOf(messages).map((message) => {
		const role = textOf(message["role"]);
		if (role === "tool" || role === "function") {
			const response = writer.parts(message["content"]);
			return {
				role: "tool",
				parts: [{ type: "tool_call_response", id: writer.name(message["tool_call_id"]), response }],
			};
		}
		return { role: role === "developer" ? "system" : writer.clipped(role, LONGEST_WORD), parts: writer.said(message) };
	});
}

function choicesOf(answer: string, writer: Writer): Message[] | undefined {
	let choices: unknown;
	try {
		choices = (JSON.parse(answer) as Json)["choices"];
	} catch {
		writer.isCut = true;
		return undefined;
	}
	return arrayOf(choices).map((choice) => {
		const parts = [...writer.said((choice["message"] ?? {}) as Json), ...writer.parts(choice["text"])];
		return { role: "assistant", parts, finish_reason: writer.finish(choice["finish_reason"]) };
	});
}

function streamed(sent: SentSoFar, isAnswered: boolean, writer: Writer): Message[] | undefined {
	const { content, reasoning, refusal, text, toolCalls, isFinished, finishReason, obstacle } = sent;
	if (sent.characters === 0 && !isFinished && !isAnswered) return undefined;
	// Of several choices one text was made.
	if (obstacle !== undefined) {
		writer.isCut = true;
		return undefined;
	}
	const parts = [
		...writer.said({ reasoning, content, refusal }),
		...writer.parts(text),
		...toolCalls.map(({ id, name, arguments: args }) => writer.toolCall(id, name, args)),
	];
	const finished = finishReason ?? (toolCalls.length > 0 ? "tool_calls" : "stop");
	return [{ role: "assistant", parts, finish_reason: isFinished || isAnswered ? writer.finish(finished) : "error" }];
}

/** Fields of messages with what is no text. */
const MEDIA = ["audio", "images"] as const;
const isThere = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : Boolean(value));

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

const arrayOf = (value: unknown): Json[] =>
	Array.isArray(value) ? value.filter((each): each is Json => typeof each === "object" && each !== null) : [];
