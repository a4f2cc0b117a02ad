/** The headers of the answers to clients: those of the upstream's that are passed on, and what the router says of the call itself. */
import type { Dialect } from "../dialects/dialect.ts";
import { decimal } from "../openai/usage-edits.ts";
import { REPLICA_HEADER } from "../protocol/agent.ts";
import { type Lifecycles, lifecycleHeaders } from "../providers/model-lifecycle.ts";
import type { AnswerHeaders, Target } from "../providers/provider.ts";
import { headerText } from "../providers/request-headers.ts";
import type { CallRecord } from "./call-record.ts";
import type { StartedAnswer } from "./started-answer.ts";

/** Of a caller's limits what is the same for nearly all of its calls: a window that has just been counted in ends in a minute. */
const LIMITS = [
	"x-ratelimit-limit-requests",
	"x-ratelimit-limit-tokens",
	"x-ratelimit-reset-requests",
	"x-ratelimit-reset-tokens",
];

/** What the answers of one target have in common, as long as these stay as they are. */
interface Prepared {
	readonly contentType: string;
	readonly attempts: number;
	readonly cache: CallRecord["cache"];
	readonly limits: readonly (string | undefined)[];
	readonly lifecycles: Lifecycles | undefined;
	readonly headers: Headers;
}

/** To copy headers takes a third of what it takes to make them. */
const prepared = new WeakMap<Target, Prepared>();

function preparedHeaders(target: Target, { attempts, cache, headers: own }: CallRecord, contentType: string): Headers {
	const before = prepared.get(target);
	if (
		before?.attempts === attempts &&
		before.cache === cache &&
		before.contentType === contentType &&
		before.lifecycles === target.provider.lifecycles &&
		hasLimits(own, before.limits)
	) {
		return before.headers;
	}
	const headers = new Headers({
		"content-type": contentType,
		"x-router-provider": target.provider.name,
		"x-router-model": headerText(target.model),
		"x-router-attempts": String(attempts),
	});
	if (target.agent !== undefined) headers.set("x-router-agent", target.agent);
	if (cache) headers.set("x-router-cache", cache);
	const { lifecycles } = target.provider;
	const lifecycle = lifecycles?.get(target.model);
	if (lifecycle) setAll(headers, lifecycleHeaders(lifecycle));
	const limits = LIMITS.map((name) => own?.[name]);
	for (const [at, limit] of limits.entries()) if (limit !== undefined) headers.set(LIMITS[at]!, limit);
	prepared.set(target, { contentType, attempts, cache, limits, lifecycles, headers });
	return headers;
}

function hasLimits(own: CallRecord["headers"], limits: Prepared["limits"]): boolean {
	for (let at = 0; at < LIMITS.length; at++) if (own?.[LIMITS[at]!] !== limits[at]) return false;
	return true;
}

/**
 * The whole answer with all that is said of it. The call is not settled by that.
 * @param body in the client's wire
 */
export function wholeAnswer(
	body: string | Uint8Array | ReadableStream<Uint8Array>,
	{ head, target, dropped }: StartedAnswer,
	record: CallRecord,
	{ contentType, headers: headersOf }: Pick<Dialect, "contentType" | "headers"> = JSON_BODY,
): Response {
	const { id, costUsd, energyJ, headers: own } = record;
	const answer = new Response(body as string, { headers: preparedHeaders(target, record, contentType) });
	const { headers } = answer;
	if (dropped) headers.set(DROPPED_HEADER, dropped.join(", "));
	const passed = passedHeaders(head.headers, target.provider.secret);
	// The upstream's own limits are not the caller's.
	for (const name in passed) if (own?.[name] === undefined) headers.set(name, passed[name]!);
	if (target.provider.namesReplica) {
		const replica = head.headers.get(REPLICA_HEADER);
		if (replica !== null) headers.set(REPLICA_HEADER, replica);
	}
	headers.set("x-request-id", id);
	if (headersOf) setAll(headers, headersOf(id, own));
	headers.set("x-router-overhead-ms", overheadText(record));
	if (costUsd !== undefined) {
		const text = String(costUsd);
		headers.set("x-router-cost-usd", text.includes("e") ? decimal(costUsd) : text);
	}
	if (energyJ !== undefined) headers.set("x-router-energy-j", decimal(Number(energyJ.toPrecision(4))));
	for (const name in own) if (!LIMITS.includes(name)) headers.set(name, own[name]!);
	return answer;
}

/** Names the fields of a call that it was made without. */
export const DROPPED_HEADER = "x-router-dropped";

function setAll(headers: Headers, more: Readonly<Record<string, string>>): void {
	for (const name in more) headers.set(name, more[name]!);
}

const JSON_BODY = { contentType: "application/json" };

/**
 * The headers of a stream.
 * @param opened undefined where its client could not wait: there is no upstream to speak of yet, and the end of the stream says it
 */
export function streamHeaders(
	opened: StartedAnswer | undefined,
	record: CallRecord,
	{ streamContentType, headers: headersOf }: Dialect,
): Record<string, string> {
	const headers: Record<string, string> = opened
		? passedHeaders(opened.head.headers, opened.target.provider.secret)
		: {};
	headers["x-request-id"] = record.id;
	if (headersOf) Object.assign(headers, headersOf(record.id, record.headers));
	if (opened) {
		const { provider, model, agent } = opened.target;
		const lifecycle = provider.lifecycles?.get(model);
		// What the upstream says of it itself goes before.
		if (lifecycle) Object.assign(headers, { ...lifecycleHeaders(lifecycle), ...headers });
		headers["x-router-provider"] = provider.name;
		headers["x-router-model"] = headerText(model);
		if (agent !== undefined) headers["x-router-agent"] = agent;
		const replica = provider.namesReplica ? opened.head.headers.get(REPLICA_HEADER) : null;
		if (replica !== null) headers[REPLICA_HEADER] = replica;
		headers["x-router-attempts"] = String(record.attempts);
		headers["x-router-overhead-ms"] = overheadText(record);
		if (opened.dropped) headers[DROPPED_HEADER] = opened.dropped.join(", ");
	}
	// In the place of the upstream's own limits, which are not the caller's.
	Object.assign(headers, record.headers);
	headers["content-type"] = streamContentType;
	if (record.cache) headers["x-router-cache"] = record.cache;
	headers["cache-control"] = "no-cache";
	// nginx buffers streams unless this header is sent.
	headers["x-accel-buffering"] = "no";
	return headers;
}

/** What the router itself has taken of the call's time so far, ms, with two decimals at most. */
export function overheadText({ startedAt, waitedMs }: CallRecord): string {
	const ms = Math.max(0, performance.now() - startedAt - waitedMs);
	return String(Math.round(ms * 100) / 100);
}

/**
 * What stays behind: hop-by-hop headers (RFC 9110, 7.6.1), framing and encoding (the body is re-framed, and identity was asked
 * for), cookies, what speaks of the upstream's own server and origin, and the names the router fills itself.
 */
const NOT_PASSED = new Set([
	"connection",
	"keep-alive",
	"proxy-authenticate",
	"proxy-authorization",
	"proxy-connection",
	"te",
	"trailer",
	"transfer-encoding",
	"upgrade",
	"content-encoding",
	"content-length",
	"content-type",
	"set-cookie",
	"set-cookie2",
	"www-authenticate",
	"date",
	"server",
	"via",
	"vary",
	"alt-svc",
	"nel",
	"report-to",
	"strict-transport-security",
	"content-security-policy",
	"x-request-id",
	"clear-site-data",
	"refresh",
	"openai-organization",
	"anthropic-organization-id",
	"openai-project",
]);

/** Upstreams send the same dozen names with every answer: each is looked at once. Bounded, since they choose them. */
const known = new Map<string, boolean>();
const MOST_KNOWN = 1000;

function isPassed(name: string): boolean {
	let is = known.get(name);
	if (is === undefined) {
		is = !NOT_PASSED.has(name) && !name.startsWith("access-control-") && !name.startsWith("x-router-");
		if (known.size >= MOST_KNOWN) known.clear();
		known.set(name, is);
	}
	return is;
}

/** The upstream's headers to pass on, but for those that hold `secret`; lower case: rate limits, timings, versions, whatever a vendor adds. */
export function passedHeaders(upstream: AnswerHeaders, secret?: string): Record<string, string> {
	const headers: Record<string, string> = {};
	const connection = upstream.get("connection");
	const hops = connection === null || connection === "keep-alive" ? NONE : connection.toLowerCase().split(/\s*,\s*/);
	upstream.forEach((value, name) => {
		if (!isPassed(name) || hops.includes(name)) return;
		if (secret === undefined || !value.includes(secret)) headers[name] = value;
	});
	return headers;
}

const NONE: readonly string[] = [];
