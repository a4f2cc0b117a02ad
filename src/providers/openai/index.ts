/** Every upstream that speaks OpenAI: one implementation, a row of data for what differs (`table.ts`). */
import { isPlainUsage, withCounts } from "../../openai/answer-usage.ts";
import type { Call } from "../../openai/call.ts";
import { JsonTooLarge, parseBounded, SHORT, splice } from "../../openai/json.ts";
import { OPERATIONS, type Operation, type OperationRow } from "../../openai/operations.ts";
import { costOf, tokensOf, type Usage, usageEdit } from "../../openai/usage.ts";
import { addressOf } from "../address.ts";
import { oversized, unreadable } from "../answer-object.ts";
import {
	type Answer,
	type EncodeOptions,
	type Failure,
	type ListedModel,
	type ModelPage,
	NO_CHOICE,
	type Provider,
	type Target,
	TRUNCATED,
	type Transport,
	type UpstreamRequest,
} from "../provider.ts";
import { configuredOf, type Upstream } from "../registry.ts";
import { listHeaders, requestHeaders } from "../request-headers.ts";
import { failureOf, readError, readErrorObject } from "../upstream-error.ts";
import { splicesFor } from "./request-edits.ts";
import { ABORTED, chunkDecoder } from "./stream.ts";

/** The provider for a configured upstream. */
export function openAiCompatible(upstream: Upstream, transport: Transport): Provider {
	const defaults = upstream.keepsSystemPrompt ? undefined : upstream.row.defaults;
	return {
		...configuredOf(upstream),
		transport,
		reportsLoading: upstream.row.reportsLoading,
		routesModels: upstream.routesModels,
		encode: (call, target, _, wishes) => encode(upstream, defaults, call, target, wishes),
		continuation: () => upstream.row.continuation ?? "replay",
		decode: (status, headers, body, call) => decode(upstream, status, headers, body, call.operation),
		decoder: (call) => chunkDecoder(upstream, call),
		listRequest: () => listRequest(upstream),
		readList,
	};
}

function listRequest(upstream: Upstream): UpstreamRequest | undefined {
	const { state, baseUrl } = upstream;
	if (state !== "ready" || !baseUrl || baseUrl.startsWith("dummy:")) return undefined;
	return { url: `${baseUrl}/models`, headers: listHeaders(upstream) };
}

/** The models in the answer: entries without a name are passed over. */
function readList(body: unknown): ModelPage | undefined {
	const { data } = (body ?? {}) as { data?: unknown };
	if (!Array.isArray(data)) return undefined;
	return { models: data.filter((each): each is ListedModel => typeof each?.id === "string" && each.id !== "") };
}

function encode(
	upstream: Upstream,
	defaults: Upstream["row"]["defaults"],
	call: Call,
	target: Target,
	wishes: EncodeOptions | undefined,
): UpstreamRequest {
	const counts = wishes?.counts && upstream.row.countsChunks;
	const { edits, names } = splicesFor(call, target.model, defaults, counts, wishes?.without);
	return {
		url: addressOf(upstream) + OPERATIONS[call.operation].path,
		headers: requestHeaders(upstream, call),
		body: splice(call.raw, edits),
		stream: call.stream,
		added: names,
	};
}

/** What the router reads of a whole answer. */
interface Completion {
	usage?: unknown;
	timings?: unknown;
	choices?: { error?: unknown; finish_reason?: unknown; message?: unknown; text?: unknown }[];
}

/** Whether a good status stands over nothing: no choice, or none with a message or text; no embedding. */
function isEmpty({ listField, answerField }: OperationRow, answer: Record<string, unknown>): boolean {
	const list = answer[listField];
	if (!Array.isArray(list) || list.length === 0) return true;
	return (
		answerField !== undefined && !list.some((item) => item?.[answerField] !== undefined && item[answerField] !== null)
	);
}

function decode(
	upstream: Upstream,
	status: number,
	headers: Headers,
	body: string,
	operation: Operation,
): Answer | Failure {
	if (status < 200 || status >= 300) return failureOf(upstream, status, readError(body, status), headers);
	let parsed: Completion & Record<string, unknown>;
	try {
		parsed = parseBounded(body, SHORT) as Completion & Record<string, unknown>;
	} catch (cause) {
		if (cause instanceof JsonTooLarge) return oversized(status, cause);
		return unreadable(status, body);
	}
	if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
		return { kind: "transport", status, isOurs: true, message: "sent an answer that is no JSON object" };
	}
	// A 200 may carry an error: OpenRouter puts it at the top, or inside the first choice.
	const error = readErrorObject(parsed.error ? parsed : { error: parsed.choices?.[0]?.error });
	if (error) return failureOf(upstream, error.status ?? 500, error, headers);
	if (parsed.choices?.some?.((choice) => choice?.finish_reason === ABORTED)) return { ...TRUNCATED, status };
	const row = OPERATIONS[operation];
	if (isEmpty(row, parsed)) return { ...NO_CHOICE, status, message: row.emptyMessage };
	const { usage, timings } = parsed;
	const edit = usageEdit(body, usage);
	const counted = edit ? { ...(usage as Usage), completion_tokens: edit.tokens } : usage;
	const tokens = tokensOf(counted, timings);
	const cost = costOf(usage);
	if (usage == null || !tokens) return { body, tokens, cost };
	// What was not counted at all is put right where it is estimated.
	if (!isPlainUsage(counted)) return { body: withCounts(body, tokens, tokens.uncounted !== undefined), tokens, cost };
	return { body: edit ? splice(body, [edit.edit]) : body, tokens, cost };
}
