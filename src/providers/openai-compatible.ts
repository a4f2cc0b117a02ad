/** Every upstream that speaks OpenAI: one implementation, a row of data for what differs (`table.ts`). */
import { RouterError } from "../errors.ts";
import type { Call, Operation } from "../openai/call.ts";
import { splice } from "../openai/json.ts";
import { costOf, tokensOf, type Usage, usageEdit } from "../openai/usage.ts";
import { chunkDecoder } from "./openai-stream.ts";
import type { Answer, Failure, Provider, Target, Transport, UpstreamRequest } from "./provider.ts";
import type { Upstream } from "./registry.ts";
import { requestHeaders } from "./request-headers.ts";
import { splicesFor } from "./splices.ts";
import { failureOf, readError, readErrorObject } from "./upstream-error.ts";

const PATHS: Record<Operation, string> = {
	chat: "/chat/completions",
	completions: "/completions",
	embeddings: "/embeddings",
};

/** The provider for a configured upstream. */
export function openAiCompatible(upstream: Upstream, transport: Transport): Provider {
	const defaults = upstream.keepsSystemPrompt ? undefined : upstream.row.defaults;
	return {
		name: upstream.name,
		transport,
		keySetting: upstream.keySetting,
		secret: upstream.apiKey,
		otherAccounts: upstream.otherKeys?.map((key) =>
			openAiCompatible({ ...upstream, ...key, otherKeys: [] }, transport),
		),
		timeouts: upstream.timeouts,
		ownTimeouts: upstream.ownTimeouts,
		tellsLoading: upstream.type === "local",
		reroutes: upstream.row.reroutes ?? [],
		encode: (call, target) => encode(upstream, defaults, call, target),
		decode: (status, headers, body) => decode(upstream, status, headers, body),
		decoder: (call) => chunkDecoder(upstream, call),
		listRequest: () => listRequest(upstream),
	};
}

function listRequest({ state, baseUrl, headers, apiKey }: Upstream): UpstreamRequest | undefined {
	if (state !== "ready" || !baseUrl || baseUrl.startsWith("dummy:")) return undefined;
	const authorization = apiKey ? { authorization: `Bearer ${apiKey}` } : {};
	return {
		url: `${baseUrl}/models`,
		headers: { ...headers, accept: "application/json", "accept-encoding": "identity", ...authorization },
	};
}

function encode(
	upstream: Upstream,
	defaults: Upstream["row"]["defaults"],
	call: Call,
	target: Target,
): UpstreamRequest {
	if (upstream.state === "no-key") {
		const message = `No key for ${upstream.row.title}: set ${upstream.variable} and restart the router.`;
		throw new RouterError("provider_key_missing", message);
	}
	if (!upstream.baseUrl) {
		const message = `No address for ${upstream.row.title}: set ${upstream.variable} and restart the router.`;
		throw new RouterError("provider_key_missing", message);
	}
	return {
		url: upstream.baseUrl + PATHS[call.operation],
		headers: requestHeaders(upstream, call),
		body: splice(call.raw, splicesFor(call, target.model, defaults)),
		stream: call.stream,
	};
}

/** What the router reads of a whole answer. */
interface Completion {
	usage?: Usage | null;
	choices?: { error?: unknown }[];
}

function decode(upstream: Upstream, status: number, headers: Headers, body: string): Answer | Failure {
	if (status < 200 || status >= 300) return failureOf(upstream, status, readError(body, status), headers);
	let parsed: Completion & Record<string, unknown>;
	try {
		parsed = JSON.parse(body);
	} catch {
		return { kind: "truncated", status, isOurs: true, message: "sent an answer that broke off or is no JSON" };
	}
	if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
		return { kind: "transport", status, isOurs: true, message: "sent an answer that is no JSON object" };
	}
	// A 200 may carry an error: OpenRouter puts it at the top, or inside the first choice.
	const error = readErrorObject(parsed.error ? parsed : { error: parsed.choices?.[0]?.error });
	if (error) return failureOf(upstream, error.status ?? 500, error, headers);
	const { usage } = parsed;
	if (typeof usage !== "object" || usage === null) return { body };
	const edit = usageEdit(body, usage);
	const tokens = tokensOf(edit ? { ...usage, completion_tokens: edit.tokens } : usage);
	return { body: edit ? splice(body, [edit.edit]) : body, tokens, cost: costOf(usage) };
}
