/** The headers an upstream gets: our own, and the few of the client's that are meant for it. */
import type { Call } from "../openai/call.ts";
import { VERSION } from "../version.ts";
import { isOwnSite } from "./locality.ts";
import type { UpstreamRequest } from "./provider.ts";
import type { Upstream } from "./registry.ts";

/**
 * The client's headers that go on: tracing, idempotency, beta switches, and session headers, by which llm-d and agents keep a
 * conversation on one replica. All others stay here: credentials, cookies, addresses, and an upstream's routing headers
 * (`x-gateway-destination-endpoint*`, llm-d's objective and fairness), which only the router may set.
 */
const FORWARDED =
	/^(?:traceparent|tracestate|idempotency-key|openai-beta|anthropic-beta|session[-_]id|x-session-[a-z-]+|x-[a-z-]+-session-id)$/;

/** Names the routers a call came through, so that one that leads back here is seen. */
export const HOPS = "x-router-hops";

/** Clients send the same dozen names with every call: each is looked at once. Bounded, since clients choose them. */
const known = new Map<string, boolean>();
const MOST_KNOWN = 1000;

function isForwarded(name: string): boolean {
	let is = known.get(name);
	if (is === undefined) {
		is = FORWARDED.test(name);
		if (known.size >= MOST_KNOWN) known.clear();
		known.set(name, is);
	}
	return is;
}

/**
 * The text with everything but printable ASCII percent-encoded as UTF-8 (`模型` → `%E6%A8%A1%E5%9E%8B`): Bun refuses other
 * header values by throwing, and a line end in one would begin a header of its own. Never throws.
 */
export function headerText(text: string): string {
	return text.toWellFormed().replace(/[^\x20-\x7e]/gu, encodeURIComponent);
}

/** The header that holds the upstream's key; none where it has no key. */
function keyHeaders({ apiKey, row }: Upstream): Record<string, string> {
	if (!apiKey) return {};
	return row.keyHeader ? { [row.keyHeader]: apiKey } : { authorization: `Bearer ${apiKey}` };
}

/** The question which models there are, with what its wire puts behind the path; undefined where the upstream is not ready to be asked. */
export function modelsRequest(upstream: Upstream, query = ""): UpstreamRequest | undefined {
	const { state, baseUrl, headers } = upstream;
	if (state !== "ready" || !baseUrl) return undefined;
	const accepted = { accept: "application/json", "accept-encoding": "identity" };
	return { url: `${baseUrl}/models${query}`, headers: { ...headers, ...accepted, ...keyHeaders(upstream) } };
}

/** The question how a vLLM is, which it answers beside its API; undefined where the upstream is not ready to be asked. */
export function healthRequest(upstream: Upstream): UpstreamRequest | undefined {
	const models = modelsRequest(upstream);
	return models && { ...models, url: `${upstream.baseUrl!.replace(/\/v\d[^/]*$/, "")}/health` };
}

/**
 * The headers of an upstream's calls, in lower case. What all of them share is made once. `accept-encoding: identity`: Bun decodes a compressed
 * body but leaves its headers.
 */
export function requestHeaders(upstream: Upstream): (call: Call) => Record<string, string> {
	const { row, headers: configured, baseUrl } = upstream;
	const { forwardedHeaders, callerHeaders } = row;
	const key = keyHeaders(upstream);
	// Vendors at their own address can't lead back, and need not know.
	const tellsHops = isOwnSite(row.site) || baseUrl !== row.baseUrl;
	const shared: Record<string, string> = {
		"content-type": "application/json",
		accept: "application/json",
		"accept-encoding": "identity",
		"user-agent": `router/${VERSION}`,
		"x-request-id": "",
		...configured,
		...key,
	};
	return (call) => {
		const headers = { ...shared };
		if (call.stream && configured["accept"] === undefined) headers["accept"] = "text/event-stream";
		if (configured["x-request-id"] === undefined) headers["x-request-id"] = call.id;
		call.headers.forEach((value, name) => {
			if (isForwarded(name) || forwardedHeaders?.includes(name)) headers[name] = value;
		});
		if (callerHeaders !== undefined && call.key) {
			const caller = headerText(call.key);
			for (const name of callerHeaders) headers[name] = caller;
		}
		if (tellsHops) headers[HOPS] = call.hops;
		return headers;
	};
}
