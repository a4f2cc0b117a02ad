/** A failure, as the client sees it. */
import { ERRORS, RouterError } from "../errors.ts";
import { FAILURES } from "./failure.ts";
import type { Failure, Target } from "./provider.ts";

/** Sent where the upstream gave no `Retry-After`, in s: 429 and 503 must carry one (design, failure kinds). */
const DEFAULT_RETRY_AFTER = 2;

/**
 * The RouterError for the last failure of a call. Where the caller is at fault the upstream's own words, type and code
 * are kept; where the upstream or its account is, our code says so and the message names the upstream.
 */
export function errorOf(failure: Failure, target: Target): RouterError {
	const { name } = target.provider;
	const code = failure.isWhole ? "upstream_error" : FAILURES[failure.kind].code;
	const said = failure.isOurs ? `${name} ${failure.message}` : failure.message;
	const named = failure.isOurs ? said : `${name}: ${failure.message}`;
	switch (failure.kind) {
		case "caller":
			if (failure.status === ERRORS.loop_detected.status) return new RouterError("loop_detected", failure.message);
			return new RouterError(code, said, {
				status: failure.status && failure.status >= 400 && failure.status < 500 ? failure.status : 400,
				type: failure.type,
				param: failure.param,
				upstreamCode: failure.code,
				headers: failure.headers,
			});
		case "context_length":
		case "content_filter":
		case "unsupported":
			return new RouterError(code, said, { param: failure.param });
		case "not_found":
			return new RouterError(code, `${name} does not serve "${target.model}": ${said}`, { param: "model" });
		// Upstreams quote parts of the key: their words stay here.
		case "auth":
			return new RouterError(code, `${name} refused the router's key: check ${target.provider.keySetting}.`);
		case "quota":
			return new RouterError(code, `The router's account at ${name} is used up: ${said}`);
		case "rate":
		case "overloaded": {
			const seconds = Math.ceil((failure.retryAfterMs ?? DEFAULT_RETRY_AFTER * 1000) / 1000);
			return new RouterError(code, named, {
				headers: { ...failure.headers, "retry-after": String(seconds) },
			});
		}
		case "internal":
			return new RouterError(code, ERRORS.internal_error.remedy, { cause: failure.cause });
		default:
			return new RouterError(
				failure.status === undefined && failure.kind === "transport" ? "upstream_unreachable" : code,
				named,
			);
	}
}
