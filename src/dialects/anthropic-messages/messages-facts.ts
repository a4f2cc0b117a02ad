/** What routing, limits and the cache read of a request of Anthropic's. */
import {
	type CallFacts,
	type Modalities,
	mayCacheForHour,
	type PromptCacheRequest,
	type PromptContent,
} from "../../openai/call-facts.ts";
import { type EngineField, LARGEST_SCHEMA } from "../../openai/engine-fields.ts";
import { type Field, fieldNamed } from "../../openai/json.ts";
import type { ParsedBody } from "../../openai/parsed-body.ts";
import type { PromptSizes } from "../../openai/prompt-sizes.ts";
import { isReasoning } from "../../openai/reasoning.ts";
import { ARGUMENT_FIELDS, type ToolHistory } from "../../openai/tool-rounds.ts";
import { sentToolName, wholeToolNames } from "../tool-names.ts";
import { isCustom } from "./messages-request.ts";
import type { Block, MessagesRequest, MessagesTool } from "./messages-schema.ts";
import { messagesSizes } from "./messages-sizes.ts";

const TEXT_ONLY: Modalities = { image: false, audio: false };
const NO_MODELS: readonly string[] = [];
/** Bytes of a character, a UTF-16 unit, in UTF-8. */
const MOST_BYTES = 3;
/** What the model reads, in that order. */
const PROMPT = ["tools", "system", "messages"];
/** Where a schema stands. */
const SCHEMAS = new Set(["output_config", "output_format"]);

/** Fields that change an answer of Claude's beyond what the chat request says. */
const CLAUDES = ["thinking", "output_config", "context_management", "container", "inference_geo", "speed"] as const;

const fieldIn = (request: MessagesRequest, name: string): unknown => (request as Record<string, unknown>)[name];

/** The request put into OpenAI's words: its facts, its body. */
export interface ChatForm {
	readonly facts: CallFacts;
	readonly body: ParsedBody;
	/** What it has no form for. */
	readonly leftOut: readonly string[];
}

/** The facts of a request. What takes a pass over its messages is asked of its form in OpenAI's words, which is made for that. */
export class MessagesFacts implements CallFacts {
	readonly model: string;
	readonly user: string | undefined;
	/** Each answer tells its tokens. */
	readonly showsUsage = true;
	readonly temperature: number | undefined;
	readonly maxTokens: number | undefined;
	readonly choices = 1;
	readonly modalities = TEXT_ONLY;
	readonly hasEffects = false;
	readonly fallbackModels = NO_MODELS;

	/**
	 * @param request checked
	 * @param text its JSON
	 * @param fields where its top-level fields stand in that
	 * @param forms what it is in OpenAI's words, made when it is first asked for
	 */
	constructor(
		private readonly request: MessagesRequest,
		private readonly text: string,
		private readonly fields: readonly Field[],
		private readonly forms: { form(form: "others"): ChatForm },
	) {
		const { model, metadata, temperature, max_tokens } = request;
		this.model = model;
		this.user = metadata?.user_id ?? undefined;
		this.temperature = temperature ?? undefined;
		this.maxTokens = max_tokens > 0 ? max_tokens : undefined;
	}

	/** Names of tools that upstreams know by shorter ones; undefined where there are none. */
	get shortToolNames(): ReadonlyMap<string, string> | undefined {
		return wholeToolNames(
			(this.request.tools ?? []).flatMap(({ name }) => name ?? []),
			sentToolName,
		);
	}

	usesLiveData(): boolean {
		const { tools, mcp_servers } = this.request as MessagesRequest & { mcp_servers?: unknown };
		const isServers = (tool: MessagesTool) => !isCustom(tool) && LIVE.test(tool.type!);
		return mcp_servers != null || ((tools ?? []) as MessagesTool[]).some(isServers);
	}

	isReasoning(model: string): boolean {
		const { thinking, output_config } = this.request;
		if (thinking != null) return thinking.type !== "disabled";
		const effort = output_config?.effort;
		return isReasoning(effort == null ? {} : { reasoning_effort: effort }, model);
	}

	cachesForHour(): boolean {
		return mayCacheForHour(this.text);
	}

	promptCache(): PromptCacheRequest {
		const { request } = this;
		const marks = [...cacheMarks([request, request.tools, request.system, request.messages])];
		return { isMarked: marks.length > 0, isForHour: marks.some(({ ttl }) => ttl === "1h"), retention: undefined };
	}

	promptSizes(): PromptSizes {
		return messagesSizes(this.request, this.text, this.fields);
	}

	promptContent(): PromptContent {
		return this.forms.form("others").facts.promptContent();
	}

	history(): readonly string[] {
		return PROMPT.flatMap((name) => {
			const field = fieldNamed(this.fields, name);
			return field ? [this.text.slice(field.start, field.end)] : [];
		});
	}

	toolHistory(): ToolHistory | undefined {
		const messages = this.request.tools?.length ? fieldNamed(this.fields, "messages") : undefined;
		if (!messages) return undefined;
		const list = Buffer.from(this.text.slice(messages.start, messages.end));
		return { list, argumentFields: ARGUMENT_FIELDS.messages };
	}

	routingField(): string | undefined {
		return undefined;
	}

	/** A schema is all that it can have of them. */
	engineField(): EngineField | undefined {
		const isLarge = this.fields.some(
			({ key, start, end }) => SCHEMAS.has(key) && (end - start) * MOST_BYTES > LARGEST_SCHEMA,
		);
		return isLarge ? this.forms.form("others").facts.engineField() : undefined;
	}

	canonical(without: ReadonlySet<string>): Buffer {
		const { facts, leftOut } = this.forms.form("others");
		const chat = facts.canonical(without);
		if (leftOut.length === 0 && !saysMore(this.request)) return chat;
		// Claude gets more than that.
		const own = Object.entries(this.request).filter(([name]) => !without.has(name));
		return Buffer.concat([chat, Buffer.from(JSON.stringify(own))]);
	}

	memory(sent: Buffer): number {
		// Several forms of it may be made, and its own parse.
		return 3 * this.forms.form("others").facts.memory(sent) + 8 * sent.length;
	}
}

/** Marks of what is to be cached: of a block, of the blocks in it, or of the request. */
function* cacheMarks(value: unknown): Iterable<{ readonly ttl?: unknown }> {
	if (Array.isArray(value)) for (const each of value) yield* cacheMarks(each);
	else if (typeof value === "object" && value !== null) {
		const { cache_control: mark, content } = value as Partial<Block>;
		if (typeof mark === "object" && mark !== null) yield mark;
		yield* cacheMarks(content);
	}
}

/** Fields of tools that are in the chat request, too. */
const TOOL_FIELDS = new Set(["type", "name", "description", "input_schema", "cache_control"]);
/** Fields of blocks that are, by their type; blocks of other types are not there as they came. */
const BLOCK_FIELDS: Readonly<Record<string, ReadonlySet<string>>> = {
	text: new Set(["type", "text", "cache_control"]),
	image: new Set(["type", "source", "cache_control"]),
	tool_use: new Set(["type", "id", "name", "input", "cache_control"]),
	tool_result: new Set(["type", "tool_use_id", "content", "cache_control"]),
};

/** Whether Claude, or who goes on with the assistant's words, is told more than the chat request for all others says. */
function saysMore(request: MessagesRequest): boolean {
	const { tools, system, messages } = request;
	return (
		CLAUDES.some((name) => fieldIn(request, name) != null) ||
		(tools ?? []).some((tool) => hasMore(tool, TOOL_FIELDS)) ||
		isMore(system) ||
		// In a turn of the user's such words are marked, as a user may write them.
		messages.some(({ role, content }) => (role as string) === "system" || isMore(content)) ||
		messages.at(-1)?.role === "assistant"
	);
}

/** @param content blocks, or what holds none */
const isMore = (content: unknown): boolean => Array.isArray(content) && (content as Block[]).some(isBlockMore);

function isBlockMore(block: Block): boolean {
	const { type, signature, content } = block;
	// Thoughts that nobody has signed are told to nobody.
	if (type === "thinking" && !signature) return false;
	const fields = Object.hasOwn(BLOCK_FIELDS, type) ? BLOCK_FIELDS[type]! : undefined;
	return fields === undefined || hasMore(block, fields) || isMore(content);
}

const hasMore = (object: object, fields: ReadonlySet<string>): boolean =>
	Object.entries(object).some(([name, value]) => value != null && value !== false && !fields.has(name));

/** Tools that see the web, or run code, as they are now. */
const LIVE = /^(?:web_|code_execution|mcp_)/;
