/**
 * The items of a request as messages of a chat: what the assistant said and called one after another is one message, the results of its calls
 * stand behind it, and what instructs the model before anyone has spoken is one system message. Chat templates of open models take a second
 * one, or one later on, for an error, and know no developer: what instructs later stands in the user's turn, marked.
 */

import { markedSystemText, withoutMarks } from "../../openai/system-marks.ts";
import { objectIn } from "../../openai/usage.ts";
import type { EarlierAnswers } from "../dialect.ts";
import { assistantContent, type ChatPart, textsOf, toolContent, userContent } from "./content.ts";
import { checkField, checkOf, invalidField, unsupportedField } from "./field-checks.ts";
import {
	type CallOutputItem,
	type CustomCallItem,
	type FunctionCallItem,
	ITEMS,
	type MessageItem,
} from "./request-schema.ts";
import { SUMMARY_REQUEST, summaryMessage } from "./summary.ts";
import { thoughtIn } from "./thought-item.ts";
import { customArguments, type ToolForms } from "./tools.ts";

/** A message of a chat. */
export type ChatMessage = { readonly role: string } & Readonly<Record<string, unknown>>;

/** The fields of a request that a message was made of. */
export interface MessagePath {
	/** `input[3]`; of several the first. */
	readonly item: string;
	/** Of its parts, where it has some, and of its calls: `input[3].content[0]`, `input[4]`. */
	readonly parts?: readonly string[];
	readonly calls?: readonly string[];
}

/** The conversation. */
export interface Conversation {
	readonly messages: readonly ChatMessage[];
	/** One for each message. */
	readonly paths: readonly MessagePath[];
	/** Kinds of items that are left out, each once: `input.web_search_call`. */
	readonly leftOut: readonly string[];
	/** It ends with what asks for a summary of it. */
	readonly isCompaction: boolean;
	/** Words of the system's stand in turns of the user's. */
	readonly isMarked: boolean;
}

/** What the assistant says in one go, and what its calls come to. */
interface Turn {
	readonly path: string;
	readonly texts: string[];
	refusal: string;
	readonly calls: Record<string, unknown>[];
	readonly callPaths: string[];
	readonly details: unknown[];
	/** The same out of `encrypted_content`: some clients send it with an answer whose calls they have left out, and signatures hold for what stood before. */
	readonly carried: unknown[];
	/** What the vendor wants back with the words. */
	extra?: unknown;
	readonly results: { readonly message: ChatMessage; readonly path: string }[];
	/** What of the results is no text. */
	readonly media: ChatPart[];
}

type UserContent = string | readonly ChatPart[];
const partsOf = (content: UserContent): readonly ChatPart[] =>
	typeof content === "string" ? [{ type: "text", text: content }] : content;

/** What one item says of the user's. */
interface UserWords {
	readonly content: UserContent;
	/** Where it stands. */
	readonly item: string;
}

const partPaths = ({ content, item }: UserWords): string[] =>
	typeof content === "string" ? [`${item}.content`] : content.map((_, at) => `${item}.content[${at}]`);

type Item = { readonly type?: unknown; readonly role?: unknown } & Readonly<Record<string, unknown>>;

/** Items of tools that others run, and that say nothing a model could not do without. */
const LEFT_OUT = new Set(
	(
		"web_search_call file_search_call computer_call computer_call_output image_generation_call code_interpreter_call local_shell_call " +
		"local_shell_call_output shell_call shell_call_output apply_patch_call apply_patch_call_output mcp_list_tools mcp_approval_request " +
		"mcp_approval_response mcp_call tool_search_call tool_search_output additional_tools configuration_update program program_output"
	).split(" "),
);

/**
 * The messages. Throws `invalid_value` or `unsupported_parameter` naming the item at fault.
 * @param input text, which is the user's, or items
 * @param form Claude's translator puts what instructs later where its model takes it
 * @param earlier what stands before the input, and items that it refers to
 */
export function conversationOf(
	input: string | readonly Item[],
	instructions: string | null | undefined,
	tools: ToolForms,
	form: "claude" | "others" = "others",
	earlier?: EarlierAnswers,
): Conversation {
	const items = new ItemReader(tools, form === "claude", earlier?.items);
	if (instructions) items.instruct([instructions], "instructions");
	for (const item of earlier?.conversation ?? []) items.read(item as Item, "previous_response_id", false);
	if (typeof input === "string") items.say({ role: "user", content: input }, "input");
	else for (const [index, item] of input.entries()) items.read(item, `input[${index}]`, index === input.length - 1);
	return items.end();
}

class ItemReader {
	readonly #messages: ChatMessage[] = [];
	readonly #paths: MessagePath[] = [];
	readonly #leftOut: string[] = [];
	#isCompaction = false;
	/** Words of the system's stand in turns of the user's. */
	#isMarked = false;
	/** What the user says, until something else is said. */
	#said: UserWords[] = [];
	/** What instructs before all else. */
	readonly #first: string[] = [];
	#firstPath = "";
	/** The assistant's turn, while it may go on. */
	#turn: Turn | undefined;
	/** Calls by their ids, each with its turn, and those that have no result yet. */
	readonly #turns = new Map<string, Turn>();
	readonly #open = new Map<string, string>();
	/** What stands in the conversation, in its order. */
	readonly #entries: (Turn | { readonly message: ChatMessage; readonly path: string })[] = [];

	constructor(
		private readonly tools: ToolForms,
		private readonly isForClaude: boolean,
		/** What references may lead to. */
		private readonly found: EarlierAnswers["items"],
	) {}

	/** @param isLast nothing follows it */
	read(item: Item, path: string, isLast: boolean): void {
		const kind = item.type ?? (item.role === undefined ? undefined : "message");
		if (kind === "item_reference") {
			const found = typeof item["id"] === "string" ? this.found?.get(item["id"]) : undefined;
			if (found) {
				this.read(found as Item, path, isLast);
				return;
			}
			// Thoughts are left out where they are sent themselves, too.
			if (typeof item["id"] === "string" && item["id"].startsWith("rs_")) return;
			throw unsupportedField(
				path,
				'no item of this id is stored here for this key; send the item itself (clients do with "store": false)',
			);
		}
		if (kind === "compaction_trigger") {
			if (!isLast) throw invalidField(path, "must be the last item");
			this.#isCompaction = true;
			this.say({ role: "user", content: SUMMARY_REQUEST }, path);
			return;
		}
		if (typeof kind === "string" && LEFT_OUT.has(kind)) {
			this.#leaveOut(`input.${kind}`);
			return;
		}
		const check = checkOf(ITEMS, kind);
		if (!check) throw invalidField(`${path}.type`, `must be one of ${Object.keys(ITEMS).join(", ")}`);
		checkField(check, item, path);
		if (kind === "message") this.say(item as unknown as MessageItem, path, item["extra_content"]);
		else if (kind === "function_call") {
			const { call_id, name, namespace, arguments: args } = item as unknown as FunctionCallItem;
			this.#call(call_id, this.tools.sentNameOf(name, namespace), args, item["extra_content"], path);
		} else if (kind === "custom_tool_call") {
			const { call_id, name, namespace, input } = item as unknown as CustomCallItem;
			this.#call(call_id, this.tools.sentNameOf(name, namespace), customArguments(input), undefined, path);
		} else if (kind === "reasoning") this.#think(item, path);
		else if (kind === "compaction") this.#recall(item["encrypted_content"] as string, path);
		else this.#result(item as unknown as CallOutputItem, path);
	}

	/** Words of anyone's. */
	say({ role, content }: MessageItem, path: string, extra?: unknown): void {
		const at = `${path}.content`;
		if (role === "assistant") {
			const { text, refusal } = assistantContent(content, at);
			const turn = this.#turnAt(path);
			if (text !== "") turn.texts.push(text);
			turn.refusal += refusal;
			if (objectIn(extra)) turn.extra = extra;
			return;
		}
		this.#turn = undefined;
		if (role === "user") this.#entries.push({ message: { role, content: userContent(content, at) }, path });
		else this.instruct(textsOf(content, at), path);
	}

	/** Words of whoever made the application. */
	instruct(texts: readonly string[], path: string): void {
		if (this.#entries.length === 0) {
			if (this.#first.length === 0) this.#firstPath = path;
			for (const text of texts) this.#first.push(text);
		} else {
			this.#entries.push({ message: { role: "system", content: texts.join("\n\n") }, path });
			this.#isMarked = !this.isForClaude;
		}
	}

	/** All of it; nothing may be read any more. */
	end(): Conversation {
		for (const path of this.#open.values())
			throw invalidField(path, "is a call without its result: no item of type function_call_output has its call_id");
		if (this.#first.length > 0) {
			this.#push({ role: "system", content: this.#first.join("\n\n") }, { item: this.#firstPath });
		}
		for (const entry of this.#entries) {
			if (!("message" in entry)) this.#pushTurn(entry);
			else if (entry.message.role === "user") this.#pushUsers(this.#plain(entry.message["content"]), entry.path);
			else if (this.#isMarked) this.#pushUsers(markedSystemText(entry.message["content"] as string), entry.path);
			else this.#push(entry.message, { item: entry.path });
		}
		this.#pushUser();
		const [messages, paths, leftOut] = [this.#messages, this.#paths, this.#leftOut];
		return { messages, paths, leftOut, isCompaction: this.#isCompaction, isMarked: this.#isMarked };
	}

	#push(message: ChatMessage, path: MessagePath): void {
		this.#pushUser();
		this.#messages.push(message);
		this.#paths.push(path);
	}

	/** Words of a user's or a tool's, which may be anyone's: none look like the system's. */
	#plain(content: unknown): UserContent {
		const said = content as UserContent;
		if (!this.#isMarked) return said;
		if (typeof said === "string") return withoutMarks(said);
		return said.map((part) => (part.type === "text" ? { ...part, text: withoutMarks(part.text) } : part));
	}

	/** Puts off what the user says until something else is said: several messages are one, as chat templates of open models take turns that alternate. */
	#pushUsers(content: UserContent, item: string): void {
		this.#said.push({ content, item });
	}

	#pushUser(): void {
		const said = this.#said;
		if (said.length === 0) return;
		this.#said = [];
		const isText = said.every(({ content }) => typeof content === "string");
		const content = isText
			? said.map((each) => each.content).join("\n\n")
			: said.flatMap((each) => partsOf(each.content));
		const parts = isText ? [] : said.flatMap(partPaths);
		this.#messages.push({ role: "user", content });
		this.#paths.push({ item: said[0]!.item, parts });
	}

	#pushTurn({ path, texts, refusal, calls, callPaths, details, carried, extra, results, media }: Turn): void {
		const text = texts.join("\n\n");
		const signed = calls.length === 0 ? details : [...details, ...carried];
		if (text === "" && refusal === "" && calls.length === 0) return;
		this.#push(
			{
				role: "assistant",
				content: text === "" && (calls.length > 0 || refusal !== "") ? null : text,
				...(refusal === "" ? {} : { refusal }),
				...(signed.length === 0 ? {} : { reasoning_details: signed }),
				...(extra === undefined ? {} : { extra_content: extra }),
				...(calls.length === 0 ? {} : { tool_calls: calls }),
			},
			{ item: path, calls: callPaths },
		);
		for (const { message, path: at } of results) {
			this.#push({ ...message, content: this.#plain(message["content"]) }, { item: at });
		}
		if (media.length > 0) this.#pushUsers(media, results.at(-1)!.path);
	}

	#turnAt(path: string): Turn {
		if (this.#turn) return this.#turn;
		this.#turn = {
			path,
			texts: [],
			refusal: "",
			calls: [],
			callPaths: [],
			details: [],
			carried: [],
			results: [],
			media: [],
		};
		this.#entries.push(this.#turn);
		return this.#turn;
	}

	#call(id: string, name: string, args: string, extra: unknown, path: string): void {
		// Some servers count their calls anew in each answer: a result is of the last one before it.
		if (this.#open.has(id)) throw invalidField(`${path}.call_id`, "is the id of another call without its result, too");
		// Behind results the model has been asked anew.
		if (this.#turn && this.#turn.results.length > 0) this.#turn = undefined;
		const turn = this.#turnAt(path);
		turn.calls.push({
			id,
			type: "function",
			function: { name, arguments: args },
			...(objectIn(extra) ? { extra_content: extra } : {}),
		});
		turn.callPaths.push(path);
		this.#turns.set(id, turn);
		this.#open.set(id, path);
	}

	#result({ call_id: id, output }: CallOutputItem, path: string): void {
		const turn = this.#turns.get(id);
		if (!turn) throw invalidField(`${path}.call_id`, "is the id of no call before it");
		if (!this.#open.delete(id))
			throw invalidField(`${path}.call_id`, "is the id of a call that has its result already");
		const { text, media } = toolContent(output, `${path}.output`);
		const content = text === "" && media.length > 0 ? "(The output is in the next message.)" : text;
		turn.results.push({ message: { role: "tool", tool_call_id: id, content }, path });
		if (media.length > 0) turn.media.push({ type: "text", text: `The result ${id} holds:` });
		for (const part of media) turn.media.push(part);
		// What the assistant says now it says knowing the result.
		if (this.#turn === turn && this.#open.size === 0) this.#turn = undefined;
	}

	/** What an upstream signed goes back to it; a summary tells a model nothing that it could go on from. */
	#think(item: Item, path: string): void {
		const { details, isCarried } = thoughtIn(item);
		if (details.length === 0) return;
		if (this.#turn && this.#turn.results.length > 0) this.#turn = undefined;
		const turn = this.#turnAt(path);
		for (const detail of details) (isCarried ? turn.carried : turn.details).push(detail);
	}

	/** What a summary stands for. */
	#recall(encrypted: string, path: string): void {
		const content = summaryMessage(encrypted);
		if (content !== undefined) this.say({ role: "user", content }, path);
		else throw unsupportedField(`${path}.encrypted_content`, "it was made elsewhere, where alone it can be read");
	}

	#leaveOut(label: string): void {
		if (!this.#leftOut.includes(label)) this.#leftOut.push(label);
	}
}
