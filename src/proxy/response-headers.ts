/** The headers of whole answers. */
import { decimal } from "../openai/usage-edits.ts";
import { headerText } from "../providers/header-text.ts";
import type { Target } from "../providers/provider.ts";
import { answerHeaders } from "./answer-headers.ts";
import type { StartedAnswer } from "./attempt.ts";
import type { CallRecord } from "./call-record.ts";

/** Limits of a caller that are the same for all of its calls. */
const LIMITS = ["x-ratelimit-limit-requests", "x-ratelimit-limit-tokens"] as const;

/** What the answers of one target have in common, as long as these stay as they are. */
interface Prepared {
	readonly attempts: number;
	readonly cache: CallRecord["cache"];
	readonly limits: readonly (string | undefined)[];
	readonly headers: Headers;
}

/** To copy headers takes a third of what it takes to make them: 5 µs of a call with limits. */
const prepared = new WeakMap<Target, Prepared>();

function preparedHeaders(target: Target, { attempts, cache, headers: told }: CallRecord): Headers {
	const before = prepared.get(target);
	if (before?.attempts === attempts && before.cache === cache) {
		if (LIMITS.every((name, at) => told?.[name] === before.limits[at])) return before.headers;
	}
	const headers = new Headers({
		"content-type": "application/json",
		"x-router-provider": target.provider.name,
		"x-router-model": headerText(target.model),
		"x-router-attempts": String(attempts),
	});
	if (target.agent !== undefined) headers.set("x-router-agent", target.agent);
	if (cache) headers.set("x-router-cache", cache);
	const limits = LIMITS.map((name) => told?.[name]);
	for (const [at, limit] of limits.entries()) if (limit !== undefined) headers.set(LIMITS[at]!, limit);
	prepared.set(target, { attempts, cache, limits, headers });
	return headers;
}

/** The answer with all that is said of it. The call is not settled by that. @param body JSON */
export function wholeAnswer(body: string, { head, target }: StartedAnswer, settlement: CallRecord): Response {
	const { id, costUsd: cost, headers: told } = settlement;
	const answer = new Response(body, { headers: preparedHeaders(target, settlement) });
	const { headers } = answer;
	const passed = answerHeaders(head.headers, target.provider.secret);
	// The upstream's own limits are not the caller's.
	for (const name in passed) if (told?.[name] === undefined) headers.set(name, passed[name]!);
	headers.set("x-request-id", id);
	headers.set("x-router-overhead-ms", settlement.overheadText);
	if (cost !== undefined) headers.set("x-router-cost-usd", decimal(cost));
	for (const name in told) if (name !== LIMITS[0] && name !== LIMITS[1]) headers.set(name, told[name]!);
	return answer;
}
