/** A chat's messages in OpenAI's words. */
import { objectIn } from "../../openai/usage.ts";
import { plainToolName } from "../tool-names.ts";
import type { OllamaMessage } from "./ollama-schema.ts";

type Json = Readonly<Record<string, unknown>>;

/** A call of the assistant's whose result has not come yet. */
interface OpenCall {
	readonly id: string;
	readonly name: string;
}

/** Messages, translated. */
export interface TranslatedMessages {
	readonly messages: readonly Json[];
	/** Where each stands in the client's request: `messages[2]`. */
	readonly paths: readonly string[];
}

/**
 * The messages. Calls without an id get one by their place, and results, which name a tool at most, get that of the call they answer. Few
 * servers take pictures in a result: they stand in the user's turn behind all results of one answer.
 */
export function ollamaMessages(sent: readonly OllamaMessage[]): TranslatedMessages {
	const messages: Json[] = [];
	const paths: string[] = [];
	let open: readonly OpenCall[] = [];
	let pictures: string[] = [];
	const taken = new Set(sent.flatMap(({ tool_calls: calls }) => (calls ?? []).map(({ id }) => id)));
	let count = 0;
	const newId = (): string => {
		let id: string;
		do id = `call_${count++}`;
		while (taken.has(id));
		return id;
	};
	const add = (message: Json, index: number) => {
		messages.push(message);
		paths.push(`messages[${index}]`);
	};
	const settle = (behind: number) => {
		if (pictures.length > 0) add({ role: "user", content: withImages("The results hold:", pictures) }, behind);
		pictures = [];
	};
	for (const [index, message] of sent.entries()) {
		const content = message.content ?? "";
		if (message.role === "tool") {
			const call = answeredCall(open, message);
			open = open.filter((each) => each !== call);
			if (call) add({ role: "tool", tool_call_id: call.id, content }, index);
			else {
				// Servers refuse a result without a call.
				settle(index - 1);
				add({ role: "user", content: resultText(message, content) }, index);
			}
			pictures.push(...(message.images ?? []));
			continue;
		}
		settle(index - 1);
		if (message.role === "assistant") {
			const calls = (message.tool_calls ?? []).map(({ id, function: { name, arguments: args } }) => ({
				id: id || newId(),
				type: "function",
				function: { name: plainToolName(name), arguments: argumentsText(args) },
			}));
			open = calls.map(({ id, function: { name } }) => ({ id, name }));
			add(assistantMessage(content, calls, message), index);
		} else add({ role: message.role, content: withImages(content, message.images) }, index);
	}
	settle(sent.length - 1);
	return { messages, paths };
}

/** What a vendor has signed of its thoughts goes back; `thinking` alone is no use to anyone. */
const assistantMessage = (content: string, calls: readonly object[], { reasoning_details: details }: Json): Json => ({
	role: "assistant",
	content: content === "" && calls.length > 0 ? null : content,
	...(calls.length > 0 ? { tool_calls: calls } : {}),
	...(Array.isArray(details) && details.length > 0 ? { reasoning_details: details } : {}),
});

/** The call that a result answers: the one it names by its id, else the first one of its tool, else, where it names none, the first. */
function answeredCall(
	open: readonly OpenCall[],
	{ tool_call_id: id, tool_name: tool, ...rest }: OllamaMessage,
): OpenCall | undefined {
	const byId = id ? open.find((call) => call.id === id) : undefined;
	const name = tool || (typeof rest["name"] === "string" ? rest["name"] : undefined);
	return byId ?? (name ? open.find((call) => call.name === plainToolName(name)) : open[0]);
}

const resultText = ({ tool_name: tool }: OllamaMessage, content: string): string =>
	tool ? `The result of ${tool}:\n${content}` : content;

/** Arguments are an object here, and a text there; texts are taken, too, as some clients send them. */
function argumentsText(args: unknown): string {
	if (typeof args === "string") return args.trim() === "" ? "{}" : args;
	return objectIn(args) ? JSON.stringify(args) : "{}";
}

/** A user's words, with pictures where there are some. */
export function withImages(text: string, images: readonly string[] | null | undefined): string | Json[] {
	if (!images?.length) return text;
	const parts = images.map((data): Json => ({ type: "image_url", image_url: { url: pictureUrl(data) } }));
	return text === "" ? parts : [{ type: "text", text }, ...parts];
}

/** How base64 of a kind of picture begins. */
const BEGINNINGS: readonly (readonly [start: string, type: string])[] = [
	["iVBORw0KGgo", "image/png"],
	["/9j/", "image/jpeg"],
	["R0lGOD", "image/gif"],
	["UklGR", "image/webp"],
	["Qk0", "image/bmp"],
];

/** Base64 as an address, its kind told by its first bytes. */
function pictureUrl(data: string): string {
	if (data.startsWith("data:")) return data;
	const type = BEGINNINGS.find(([start]) => data.startsWith(start))?.[1] ?? "image/jpeg";
	return `data:${type};base64,${data}`;
}
