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

/** Longest attribute, and longest text in it, UTF-16 units. */
const MOST = 8_192;
const LONGEST_TEXT = 4_096;

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
				if (written.length === 0) written.push(JSON.stringify(this.#shortened(message)));
				break;
			}
			written.unshift(text);
		}
		return `[${written.join(",")}]`;
	}

	text(content: string): Part {
		return { type: "text", content: this.clipped(content) };
	}

	clipped(text: string): string {
		if (text.length <= LONGEST_TEXT) return text;
		this.isCut = true;
		// No half of a character.
		return `${text.slice(0, LONGEST_TEXT).toWellFormed()}…`;
	}

	/** Content of a message: a text, or parts. */
	parts(content: unknown): Part[] {
		if (typeof content === "string") return content === "" ? [] : [this.text(content)];
		return arrayOf(content).map((part) => this.#part(part));
	}

	/** Calls of tools that a message makes. */
	calls(calls: unknown): Part[] {
		return arrayOf(calls).map((call) => {
			const { name, arguments: args } = (call["function"] ?? call["custom"] ?? {}) as Json;
			return this.toolCall(call["id"], name, args ?? (call["custom"] as Json | undefined)?.["input"]);
		});
	}

	toolCall(id: unknown, name: unknown, args: unknown): Part {
		return { type: "tool_call", id: textOf(id), name: textOf(name), arguments: this.#argumentsIn(args) };
	}

	reasoning(message: Json): Part[] {
		const content = textOf(message["reasoning_content"]) || textOf(message["reasoning"]);
		return content === "" ? [] : [{ type: "reasoning", content: this.clipped(content) }];
	}

	#part(part: Json): Part {
		const { type } = part;
		if (type === "text") return this.text(textOf(part["text"]));
		if (type === "refusal") return this.text(textOf(part["refusal"]));
		const url = textOf((part["image_url"] as Json | undefined)?.["url"]);
		if (/^https?:/i.test(url)) return { type: "uri", modality: "image", uri: this.clipped(url) };
		this.isCut = true;
		// The schema has room for kinds of one's own. Pictures, sound and files are too long for a span.
		return { type: "left_out", kind: typeof type === "string" ? type.slice(0, 40) : "unknown" };
	}

	/** What is short enough stays JSON. */
	#argumentsIn(args: unknown): unknown {
		if (typeof args !== "string") return null;
		if (args.length > LONGEST_TEXT) return this.clipped(args);
		try {
			return JSON.parse(args);
		} catch {
			return args;
		}
	}

	/** Of a message that is too long by itself its last parts; none where the last is. */
	#shortened(message: Message): Message {
		const parts = message.parts.toReversed();
		let left = MOST - JSON.stringify({ ...message, parts: [] }).length - "[]".length;
		const fits = parts.findIndex((part) => {
			left -= JSON.stringify(part).length + ",".length;
			return left < 0;
		});
		return { ...message, parts: parts.slice(0, fits === -1 ? parts.length : fits).reverse() };
	}
}

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

function inputOf({ messages, prompt }: Json, writer: Writer): Message[] {
	if (messages === undefined) {
		const texts = Array.isArray(prompt) ? prompt.filter((each) => typeof each === "string") : [textOf(prompt)];
		return texts.map((text) => ({ role: "user", parts: writer.parts(text) }));
	}
	return arrayOf(messages).map((message) => {
		const role = textOf(message["role"]);
		if (role === "tool" || role === "function") {
			const response = writer.parts(message["content"]);
			return { role: "tool", parts: [{ type: "tool_call_response", id: textOf(message["tool_call_id"]), response }] };
		}
		const parts = [
			...writer.reasoning(message),
			...writer.parts(message["content"]),
			...writer.calls(message["tool_calls"]),
		];
		return { role: role === "developer" ? "system" : role, parts };
	});
}

function choicesOf(answer: string, writer: Writer): Message[] | undefined {
	let choices: unknown;
	try {
		choices = (JSON.parse(answer) as Json)["choices"];
	} catch {
		return undefined;
	}
	return arrayOf(choices).map((choice) => {
		const message = (choice["message"] ?? {}) as Json;
		const said = [...writer.parts(message["content"]), ...writer.parts(message["refusal"])];
		const parts = [...writer.reasoning(message), ...said, ...writer.parts(choice["text"])];
		const calls = writer.calls(message["tool_calls"]);
		return { role: "assistant", parts: [...parts, ...calls], finish_reason: finishOf(choice["finish_reason"]) };
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
		...writer.reasoning({ reasoning }),
		...[content, refusal, text].flatMap((each) => writer.parts(each)),
		...toolCalls.map(({ id, name, arguments: args }) => writer.toolCall(id, name, args)),
	];
	const finished = finishReason ?? (toolCalls.length > 0 ? "tool_calls" : "stop");
	return [{ role: "assistant", parts, finish_reason: isFinished || isAnswered ? finishOf(finished) : "error" }];
}

/** As the conventions call it. */
const finishOf = (reason: unknown): string => (reason === "tool_calls" ? "tool_call" : textOf(reason) || "stop");

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

const arrayOf = (value: unknown): Json[] =>
	Array.isArray(value) ? value.filter((each): each is Json => typeof each === "object" && each !== null) : [];
