/** The Response object, as far as it is the same for whole answers and streams (Open Responses 2026-04-24, ResponseResource: all that it requires). */
import { objectText } from "../../openai/json.ts";
import { MAX_TOKENS, MAX_USD, numberIn, objectIn, type Tokens } from "../../openai/usage.ts";
import { decimal } from "../../openai/usage-edits.ts";
import type { AnswerStorage } from "../dialect.ts";
import type { ResponsesRequest } from "./request.ts";
import type { ResponsesBody } from "./request-schema.ts";

/** How far a response is. */
export type ResponseStatus = "in_progress" | "completed" | "incomplete" | "failed";

/** What differs from one response to the next. */
export interface ResponseFacts {
	readonly id: string;
	/** Unix time, s. */
	readonly createdAt: number;
	readonly completedAt?: number | undefined;
	readonly model: string;
	readonly status: ResponseStatus;
	readonly error?: { readonly code: string; readonly message: string } | undefined;
	/** Why it is incomplete. */
	readonly reason?: "max_output_tokens" | "content_filter" | undefined;
	/** Items, each as JSON. */
	readonly output: readonly string[];
	/** As JSON. */
	readonly usage?: string | undefined;
	readonly serviceTier?: string | undefined;
}

/** A response as JSON. `request` is what `requestText` makes of the call. */
export function responseText(facts: ResponseFacts, request: string): string {
	const { id, createdAt, completedAt, model, status, error, reason, output, usage, serviceTier } = facts;
	const head = objectText({
		id: JSON.stringify(id),
		object: '"response"',
		created_at: String(createdAt),
		completed_at: completedAt === undefined ? "null" : String(completedAt),
		status: `"${status}"`,
		error: error === undefined ? "null" : JSON.stringify(error),
		incomplete_details: reason === undefined ? "null" : `{"reason":"${reason}"}`,
		model: JSON.stringify(model),
		output: `[${output.join(",")}]`,
		usage: usage ?? "null",
		service_tier: serviceTier === undefined ? undefined : JSON.stringify(serviceTier),
	});
	const tier = serviceTier === undefined ? `,"service_tier":"default"` : "";
	return `${head.slice(0, -1)}${tier},${request}}`;
}

/**
 * What a response says of its request: fields as JSON, without the braces around them. Made once a call.
 * @param storage where the response is stored
 */
export function requestText(
	{ body, isCompaction }: Pick<ResponsesRequest, "body" | "isCompaction">,
	storage: AnswerStorage | undefined,
): string {
	const fields = {
		instructions: body.instructions ?? null,
		max_output_tokens: body.max_output_tokens ?? null,
		max_tool_calls: body.max_tool_calls ?? null,
		parallel_tool_calls: body.parallel_tool_calls ?? true,
		previous_response_id: body.previous_response_id || null,
		reasoning: { effort: body.reasoning?.effort ?? null, summary: body.reasoning?.summary ?? null },
		temperature: body.temperature ?? 1,
		top_p: body.top_p ?? 1,
		presence_penalty: body.presence_penalty ?? 0,
		frequency_penalty: body.frequency_penalty ?? 0,
		top_logprobs: body.top_logprobs ?? 0,
		text: textOf(body),
		// Whoever puts a conversation in short calls no tool, whatever was asked for.
		tool_choice: isCompaction ? "none" : shownChoice(body.tool_choice),
		tools: (body.tools ?? []).map(shownTool),
		truncation: "disabled",
		// As it is, whatever was asked for.
		store: storage?.isLasting ?? false,
		background: false,
		metadata: body.metadata ?? {},
		user: body.user ?? null,
		safety_identifier: body.safety_identifier ?? null,
		prompt_cache_key: body.prompt_cache_key ?? null,
	};
	return JSON.stringify(fields).slice(1, -1);
}

function textOf({ text }: ResponsesBody): object {
	const format = objectIn(text?.format) ?? { type: "text" };
	const shown =
		format["type"] === "json_schema" ? { description: null, strict: false, ...withoutNulls(format) } : format;
	return { format: shown, ...(text?.verbosity ? { verbosity: text.verbosity } : {}) };
}

/** With all that the wire asks of one. */
function shownChoice(choice: ResponsesBody["tool_choice"]): unknown {
	const isAllowing = typeof choice === "object" && choice?.type === "allowed_tools";
	return isAllowing ? { mode: "auto", ...withoutNulls(choice) } : (choice ?? "auto");
}

/** A function with all that the wire asks of one; other tools as they came, without the secrets of servers, which clients may write to their logs. */
function shownTool(tool: { readonly type: string } & Readonly<Record<string, unknown>>): object {
	if (tool.type === "function") return { description: null, parameters: null, strict: false, ...withoutNulls(tool) };
	if (tool.type !== "mcp") return tool;
	const { authorization: _, headers: __, ...shown } = tool;
	return shown;
}

const withoutNulls = (fields: Readonly<Record<string, unknown>>): object =>
	Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));

/** The `usage` of a chat in this wire's words, as JSON; undefined where there is none. @param costUsd added where the client is told it */
export function chatUsageText(sent: unknown, costUsd: number | undefined): string | undefined {
	const usage = objectIn(sent);
	if (!usage) return undefined;
	const count = (value: unknown): number => numberIn(value, MAX_TOKENS) ?? 0;
	const read = objectIn(usage["prompt_tokens_details"]) ?? {};
	const written = objectIn(usage["completion_tokens_details"]) ?? {};
	const tokens: Tokens = {
		input: count(usage["prompt_tokens"]),
		output: count(usage["completion_tokens"]),
		cached: count(read["cached_tokens"]),
		cacheWrite: count(read["cache_write_tokens"]),
		reasoning: count(written["reasoning_tokens"]),
	};
	return usageOf(tokens, usage["estimated"] === true, numberIn(usage["cost"], MAX_USD) ?? costUsd);
}

/** Counts as JSON. @param costUsd told where it is there */
export function usageOf(
	{ input, output, cached, cacheWrite, reasoning }: Tokens,
	isEstimated: boolean,
	costUsd: number | undefined,
): string {
	const fields = JSON.stringify({
		input_tokens: input,
		input_tokens_details: { cached_tokens: cached ?? 0, ...(cacheWrite ? { cache_write_tokens: cacheWrite } : {}) },
		output_tokens: output,
		output_tokens_details: { reasoning_tokens: reasoning ?? 0 },
		total_tokens: input + output,
		...(isEstimated ? { estimated: true } : {}),
	});
	return costUsd === undefined ? fields : `${fields.slice(0, -1)},"cost":${decimal(costUsd)}}`;
}
