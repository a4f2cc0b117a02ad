/** A call of the playground: its body, and what comes of it. */
import { ask } from "./api.ts";
import { eventsAndComments } from "./event-lines.ts";

/** What was typed. */
export interface ChatDraft {
	readonly system: string;
	readonly prompt: string;
	/** Data URLs. */
	readonly images: readonly string[];
	readonly isStreamed: boolean;
	readonly temperature: string;
	readonly maxTokens: string;
	/** JSON: an array of tools, as the API takes them. */
	readonly tools: string;
	/** JSON: an object of further fields. */
	readonly further: string;
}

/** The body of a call. @throws {Error} naming the field that is no JSON of its kind */
export function chatBody(draft: ChatDraft, model: string): Record<string, unknown> {
	const { system, prompt, images, isStreamed, temperature, maxTokens, tools, further } = draft;
	const parts = images.map((url) => ({ type: "image_url", image_url: { url } }));
	const content = parts.length > 0 ? [{ type: "text", text: prompt }, ...parts] : prompt;
	return {
		model,
		messages: [...(system.trim() === "" ? [] : [{ role: "system", content: system }]), { role: "user", content }],
		...(isStreamed && { stream: true, stream_options: { include_usage: true } }),
		...(temperature.trim() !== "" && { temperature: Number(temperature) }),
		...(maxTokens.trim() !== "" && { max_tokens: Number(maxTokens) }),
		...(tools.trim() !== "" && { tools: jsonOf(tools, "Tools", Array.isArray, "an array") }),
		...(further.trim() !== "" && (jsonOf(further, "Further fields", isObject, "an object") as object)),
	};
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);

function jsonOf(text: string, name: string, isIt: (value: unknown) => boolean, kind: string): unknown {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch (error) {
		throw new Error(`${name}: this is no JSON (${error instanceof Error ? error.message : String(error)}).`);
	}
	if (!isIt(value)) throw new Error(`${name} must be ${kind} in JSON.`);
	return value;
}

/** What has come of a call so far. Times are ms since it was sent. */
export interface ChatReply {
	readonly text: string;
	/** What the model thought before it answered. */
	readonly reasoning: string;
	readonly tools: readonly ToolCall[];
	readonly firstMs?: number;
	readonly endMs?: number;
	readonly finish?: string;
	/** Why it is no answer, or not all of it. */
	readonly problem?: string;
	readonly id?: string;
	readonly provider?: string;
	readonly answeredBy?: string;
	readonly attempts?: number;
	readonly tokensIn?: number;
	readonly tokensOut?: number;
	readonly costUsd?: number;
}

interface ToolCall {
	readonly name: string;
	readonly arguments: string;
}

/** Of a call that was just sent. */
export const NO_REPLY: ChatReply = { text: "", reasoning: "", tools: [] };

interface ToolPart {
	readonly index?: number;
	readonly function?: { readonly name?: string; readonly arguments?: string };
}
interface Spoken {
	readonly content?: string | null;
	readonly reasoning_content?: string | null;
	readonly reasoning?: string | null;
	readonly tool_calls?: readonly ToolPart[];
}
interface Chunk {
	readonly choices?: readonly { readonly delta?: Spoken; readonly message?: Spoken; readonly finish_reason?: string }[];
	readonly usage?: {
		readonly prompt_tokens?: number;
		readonly completion_tokens?: number;
		readonly cost?: number;
	} | null;
	readonly error?: { readonly message?: string };
}

/** The reply with a chunk more, or with a whole answer. @param ms since the call was sent */
export function withChunk(reply: ChatReply, chunk: Chunk, ms: number): ChatReply {
	const choice = chunk.choices?.[0];
	const spoken = choice?.delta ?? choice?.message ?? {};
	const text = spoken.content ?? "";
	const reasoning = spoken.reasoning_content ?? spoken.reasoning ?? "";
	const tools = spoken.tool_calls ?? [];
	const isFirst = reply.firstMs === undefined && (text !== "" || reasoning !== "" || tools.length > 0);
	const { usage, error } = chunk;
	return {
		...reply,
		text: reply.text + text,
		reasoning: reply.reasoning + reasoning,
		tools: withTools(reply.tools, tools),
		...(isFirst && { firstMs: ms }),
		...(choice?.finish_reason && { finish: choice.finish_reason }),
		...(usage?.prompt_tokens !== undefined && { tokensIn: usage.prompt_tokens }),
		...(usage?.completion_tokens !== undefined && { tokensOut: usage.completion_tokens }),
		...(usage?.cost !== undefined && { costUsd: usage.cost }),
		...(error && { problem: error.message ?? "The stream ended with an error." }),
	};
}

function withTools(before: readonly ToolCall[], parts: readonly ToolPart[]): readonly ToolCall[] {
	if (parts.length === 0) return before;
	const calls = [...before];
	for (const [at, { index = at, function: part = {} }] of parts.entries()) {
		const known = calls[index] ?? { name: "", arguments: "" };
		calls[index] = { name: known.name + (part.name ?? ""), arguments: known.arguments + (part.arguments ?? "") };
	}
	return calls;
}

/** The reply with what the comment at a stream's end says: `router {…}`. Other comments say nothing. */
export function withComment(reply: ChatReply, comment: string): ChatReply {
	if (!comment.startsWith("router {")) return reply;
	const { provider, model, attempts, cost_usd } = JSON.parse(comment.slice("router ".length)) as {
		readonly provider?: string;
		readonly model?: string;
		readonly attempts?: number;
		readonly cost_usd?: number;
	};
	return {
		...reply,
		...(provider !== undefined && { provider }),
		...(model !== undefined && { answeredBy: model }),
		...(attempts !== undefined && { attempts }),
		...(cost_usd !== undefined && { costUsd: cost_usd }),
	};
}

function withHeaders(reply: ChatReply, headers: Headers): ChatReply {
	const text = (name: string) => headers.get(name) ?? undefined;
	const [id, provider, answeredBy] = [text("x-request-id"), text("x-router-provider"), text("x-router-model")];
	const [attempts, cost] = [text("x-router-attempts"), text("x-router-cost-usd")];
	return {
		...reply,
		...(id !== undefined && { id }),
		...(provider !== undefined && { provider }),
		...(answeredBy !== undefined && { answeredBy }),
		...(attempts !== undefined && { attempts: Number(attempts) }),
		...(cost !== undefined && { costUsd: Number(cost) }),
	};
}

/** Makes the call, and tells of each step of its reply. Throws what {@link ask} throws. @param bearer the key that pays */
export async function chatCall(
	body: Record<string, unknown>,
	bearer: string,
	signal: AbortSignal,
	seen: (reply: ChatReply) => void,
): Promise<void> {
	const began = performance.now();
	const ms = () => performance.now() - began;
	const answer = await ask("v1/chat/completions", { method: "POST", body, key: bearer, signal });
	let reply = withHeaders(NO_REPLY, answer.headers);
	const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream");
	if (!isStream) {
		reply = withChunk(reply, (await answer.json()) as Chunk, ms());
	} else {
		for await (const { data, comment } of eventsAndComments(answer.body!)) {
			if (comment !== undefined) reply = withComment(reply, comment);
			else if (data !== undefined && data !== "[DONE]") reply = withChunk(reply, JSON.parse(data) as Chunk, ms());
			seen(reply);
		}
	}
	seen({ ...reply, endMs: ms() });
}
