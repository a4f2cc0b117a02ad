/** A conversation's contents as OpenAI's messages. */
import { addDetail, carriesDetails, detailsIn } from "../../openai/thought-details.ts";
import { plainToolName } from "../tool-names.ts";
import { contentsFacts } from "./contents-facts.ts";
import { type ChatPart, codeText, type LeaveOut, mediaPart, type RequestForm } from "./media.ts";
import { OpenCalls, resultPath } from "./open-calls.ts";
import type { GeminiContent, GeminiPart, GenerateRequest } from "./request-schema.ts";

/** A message in OpenAI's words. */
export interface ChatMessage {
	readonly role: "system" | "user" | "assistant" | "tool";
	readonly content: string | readonly ChatPart[] | null;
	readonly [field: string]: unknown;
}

/** Fields of parts that say nothing for a model of another kind. */
const KNOWN = new Set([
	"text",
	"thought",
	"thoughtSignature",
	"inlineData",
	"fileData",
	"functionCall",
	"functionResponse",
	"executableCode",
	"codeExecutionResult",
	"partMetadata",
	"videoMetadata",
	"mediaResolution",
]);

/** The messages. Throws `invalid_value` for the result of a call that nobody made. */
export function chatMessages(
	{ systemInstruction, contents }: Pick<GenerateRequest, "systemInstruction" | "contents">,
	form: RequestForm,
	leaveOut: LeaveOut,
): ChatMessage[] {
	const writer = new MessageWriter(form, leaveOut, contents);
	const system = (systemInstruction?.parts ?? []).flatMap(({ text }) => (text ? [text] : [])).join("\n");
	if (system !== "") writer.messages.push({ role: "system", content: system });
	for (const [index, content] of contents.entries()) writer.add(content, index);
	writer.settle();
	return writer.messages.length > 0 ? writer.messages : [{ role: "user", content: "" }];
}

class MessageWriter {
	readonly messages: ChatMessage[] = [];
	/** The user's turn, until something else follows it. */
	#said: ChatPart[] = [];
	readonly #calls: OpenCalls;

	constructor(
		private readonly form: RequestForm,
		private readonly leaveOut: LeaveOut,
		contents: GenerateRequest["contents"],
	) {
		this.#calls = new OpenCalls(contentsFacts(contents).calls);
	}

	/** @param index its place among the contents */
	add({ role, parts }: GeminiContent, index: number): void {
		const all = (parts ?? []) as readonly GeminiPart[];
		if (role === "model") this.#model(all);
		else this.#user(all, index);
	}

	/** Ends the user's turn. */
	settle(): void {
		const said = this.#said;
		if (said.length > 0) this.messages.push({ role: "user", content: plainContent(said) });
		this.#said = [];
	}

	#user(parts: readonly GeminiPart[], content: number): void {
		if (parts.some(({ functionResponse }) => functionResponse)) this.settle();
		for (const [index, part] of parts.entries()) {
			if (part.functionResponse) this.#result(part.functionResponse, resultPath(content, index));
		}
		for (const part of parts) {
			if (part.functionResponse) continue;
			const made = this.#partOf(part);
			if (made) this.#said.push(made);
		}
	}

	#partOf(part: GeminiPart): ChatPart | undefined {
		const { text, inlineData, fileData } = part;
		const words = text ?? codeText(part);
		if (words != null) return words === "" ? undefined : { type: "text", text: words };
		if (inlineData || fileData) return mediaPart(part, this.form, this.leaveOut);
		const other = Object.keys(part).find((name) => !KNOWN.has(name));
		if (other !== undefined) this.leaveOut(`contents.${other.slice(0, 64)}`);
		return undefined;
	}

	#result(result: NonNullable<GeminiPart["functionResponse"]>, path: string): void {
		const id = this.#calls.end(result, path);
		this.messages.push({ role: "tool", tool_call_id: id, content: resultText(result.response) });
		const files = (result.parts ?? []).flatMap((part) => mediaPart(part, this.form, this.leaveOut) ?? []);
		// Few servers take anything but text in a result.
		if (files.length > 0) this.#said.push({ type: "text", text: `The result ${id} holds:` }, ...files);
	}

	#model(parts: readonly GeminiPart[]): void {
		const isGemini = this.form === "gemini";
		let text = "";
		let signature: string | undefined;
		const calls: object[] = [];
		const images: object[] = [];
		/** What another vendor has signed. */
		const details: unknown[] = [];
		for (const part of parts) {
			const { functionCall, inlineData, thought } = part;
			const thoughtSignature = this.#googlesIn(part, details);
			const extra = isGemini && thoughtSignature ? signedExtra(thoughtSignature) : {};
			if (functionCall) calls.push({ ...this.#call(functionCall), ...extra });
			else if (inlineData) {
				if (isGemini) images.push({ ...mediaPart(part, this.form, this.leaveOut), ...extra });
				else this.leaveOut("contents.inlineData");
			} else {
				signature = thoughtSignature ?? signature;
				// What it thought is no use to another one, and Google itself reads its signature.
				if (!thought) text += wordsOf(this.#partOf(part));
			}
		}
		if (text === "" && calls.length === 0 && images.length === 0) return;
		this.settle();
		this.#answer({
			role: "assistant",
			content: text === "" ? null : text,
			...(calls.length > 0 ? { tool_calls: calls } : {}),
			...(images.length > 0 ? { images } : {}),
			...(isGemini && signature ? signedExtra(signature) : {}),
			...(details.length > 0 ? { reasoning_details: details } : {}),
		});
	}

	/** A part's signature of Google's; another vendor's details, which may stand in its place, go to the list of those. */
	#googlesIn({ thoughtSignature: signature }: GeminiPart, details: unknown[]): string | null | undefined {
		if (!carriesDetails(signature)) return signature;
		for (const detail of detailsIn(signature)) addDetail(details, detail);
		return undefined;
	}

	#call(call: NonNullable<GeminiPart["functionCall"]>): object {
		const { name, args } = call;
		const id = this.#calls.begin(call);
		const sent = this.form === "gemini" ? name : plainToolName(name);
		return { id, type: "function", function: { name: sent, arguments: JSON.stringify(args ?? {}) } };
	}

	/** Puts an answer behind the last one, where two follow each other. */
	#answer(answer: ChatMessage): void {
		const last = this.messages.at(-1);
		if (last?.role !== "assistant") {
			this.messages.push(answer);
			return;
		}
		const content = [last.content, answer.content].filter((each) => typeof each === "string").join("\n");
		const lists = (name: string) => [...((last[name] as object[]) ?? []), ...((answer[name] as object[]) ?? [])];
		const [tool_calls, images] = [lists("tool_calls"), lists("images")];
		// Thoughts have a place in their own answer.
		const { reasoning_details, ...both } = { ...last, ...answer } as ChatMessage;
		this.messages[this.messages.length - 1] = {
			...both,
			content: content === "" ? null : content,
			...(tool_calls.length > 0 ? { tool_calls } : {}),
			...(images.length > 0 ? { images } : {}),
		};
	}
}

/** The `extra_content` that carries a signature, as Google's own OpenAI half names it. */
const signedExtra = (signature: string) => ({ extra_content: { google: { thought_signature: signature } } });

const wordsOf = (part: ChatPart | undefined): string => (part?.type === "text" ? part.text : "");

/** Content as most servers take it: a string where it is text alone. */
function plainContent(parts: readonly ChatPart[]): string | readonly ChatPart[] {
	return parts.every(({ type }) => type === "text") ? parts.map(wordsOf).join("\n") : parts;
}

/** What a function has said: the text of its `output`, where that is all of it, else the JSON. */
function resultText(response: unknown): string {
	const { output, ...rest } = (response ?? {}) as Readonly<Record<string, unknown>>;
	return typeof output === "string" && Object.keys(rest).length === 0 ? output : JSON.stringify(response ?? {});
}
