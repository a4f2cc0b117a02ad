/** The headers an upstream gets: our own, and the few of the client's that are meant for it. */
import type { Call } from "../openai/call.ts";
import { VERSION } from "../version.ts";
import type { Upstream } from "./registry.ts";

/**
 * The client's headers that go on: tracing, idempotency, beta switches, and session headers, by which llm-d and agents keep a
 * conversation on one replica. All others stay here: credentials, cookies, addresses, and an upstream's routing headers
 * (`x-gateway-destination-endpoint*`, llm-d's objective and fairness), which only the router may set.
 */
const FORWARDED =
	/^(?:traceparent|tracestate|idempotency-key|openai-beta|anthropic-beta|session[-_]id|x-session-[a-z-]+|x-[a-z-]+-session-id)$/;

/** OpenRouter's attribution: which program made the call. */
const ATTRIBUTION = /^(?:http-referer|x-title)$/;

/** Names the routers a call came through, so that one that leads back here is seen. */
export const HOPS = "x-router-hops";

/** This process, among routers. */
export const INSTANCE = crypto.randomUUID().slice(0, 8);

/** Header names in lower case. `accept-encoding: identity`: Bun decodes a compressed body but leaves its headers. */
export function requestHeaders(upstream: Upstream, call: Call): Record<string, string> {
	const headers: Record<string, string> = {
		"content-type": "application/json",
		accept: call.stream ? "text/event-stream" : "application/json",
		"accept-encoding": "identity",
		"user-agent": `router/${VERSION}`,
		"x-request-id": call.id,
		...upstream.headers,
	};
	const isOpenRouter = upstream.type === "openrouter";
	call.headers.forEach((value, name) => {
		if (FORWARDED.test(name) || (isOpenRouter && ATTRIBUTION.test(name))) headers[name] = value;
	});
	if (upstream.apiKey) headers["authorization"] = `Bearer ${upstream.apiKey}`;
	if (upstream.type === "llm-d" && call.key) headers["x-llm-d-inference-fairness-id"] = call.key;
	// Vendors at their own address can't lead back, and need not know.
	if (upstream.row.isInternal || upstream.baseUrl !== upstream.row.baseUrl) {
		const before = call.headers.get(HOPS);
		headers[HOPS] = before ? `${before},${INSTANCE}` : INSTANCE;
	}
	return headers;
}
