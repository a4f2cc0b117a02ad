/**
 * The errors of the product, in one place: those that a client gets, with code, HTTP status, OpenAI `type` and the sentence that says
 * what to do, and the one that keeps a role from starting. The table that users read is checked against this one.
 */

/** The `type` values that OpenAI's clients know, and the router's own for failures of an upstream. */
export type ErrorType =
	| "invalid_request_error"
	| "authentication_error"
	| "permission_error"
	| "rate_limit_error"
	| "insufficient_quota"
	| "upstream_error"
	| "api_error";

interface CatalogueRow {
	readonly status: number;
	readonly type: ErrorType;
	/** What a person does about it; shown in errors.md. */
	readonly remedy: string;
}

const INVALID = "invalid_request_error";

/** The catalogue. The keys are the `code` a client sees. */
export const ERRORS = {
	invalid_host: { status: 400, type: INVALID, remedy: "Send one `Host` header." },
	invalid_json: { status: 400, type: INVALID, remedy: "Send a body that is valid UTF-8 JSON." },
	invalid_value: { status: 400, type: INVALID, remedy: "Correct the field that `param` names." },
	duplicate_key: { status: 400, type: INVALID, remedy: "Send each field once." },
	unsupported_parameter: {
		status: 400,
		type: INVALID,
		remedy:
			"Leave the named field out (`unsupported: drop` does it for those that only tune an answer), or use a model whose upstream takes it.",
	},
	previous_response_not_found: {
		status: 400,
		type: INVALID,
		remedy:
			"It was deleted, has lapsed (`responses.keep`, `responses.size`), was made with `store: false`, or is another key's: send the whole conversation in `input`, without `previous_response_id`.",
	},
	context_length_exceeded: {
		status: 400,
		type: INVALID,
		remedy: "Shorten the prompt, or use a model with a larger context.",
	},
	content_filter: { status: 400, type: INVALID, remedy: "The upstream's filter refused the prompt; reword it." },
	invalid_api_key: {
		status: 401,
		type: "authentication_error",
		remedy: "Send one of the router's own keys as `Authorization: Bearer …`.",
	},
	invalid_admin_key: {
		status: 401,
		type: "authentication_error",
		remedy: "Send one of the keys of `admin.keys` (or `ROUTER_ADMIN_KEYS`) as `Authorization: Bearer …`.",
	},
	read_only_key: {
		status: 403,
		type: "permission_error",
		remedy: "Use an admin key whose `role` is `admin`: one of `viewer` sees all and changes nothing.",
	},
	cross_site_request: {
		status: 403,
		type: "permission_error",
		remedy:
			"The console's cookie is good on the console's own page alone: elsewhere send an admin key as `Authorization: Bearer …`.",
	},
	model_not_allowed: {
		status: 403,
		type: "permission_error",
		remedy: "Use a model this key may use, or have its `models` widened.",
	},
	engine_field_not_allowed: {
		status: 400,
		type: "invalid_request_error",
		remedy: "Leave the field out or make it smaller, or use a key that has `engine_fields: true`.",
	},
	price_unknown: {
		status: 403,
		type: "permission_error",
		remedy: "Set the model's price under `prices:`, or use a key without a budget.",
	},
	invalid_agent_token: {
		status: 401,
		type: "authentication_error",
		remedy: "Send `ROUTER_AGENT_TOKEN`, or a token from `router agents invite`, as `Authorization: Bearer …`.",
	},
	endpoint_not_allowed: {
		status: 403,
		type: "permission_error",
		remedy: "Register the agent's own address (`--advertise`), or list it under `agents.allow`.",
	},
	foreign_origin: {
		status: 403,
		type: "permission_error",
		remedy: "Add the web page's origin to `CORS_ORIGINS`, or give the router keys.",
	},
	foreign_host: {
		status: 403,
		type: "permission_error",
		remedy: "Without keys the router answers to localhost only: call it so, or give it keys.",
	},
	model_not_found: { status: 404, type: INVALID, remedy: "Pick a name from `GET /v1/models`." },
	operation_not_served: {
		status: 404,
		type: INVALID,
		remedy: "Ask for a model whose upstream has this operation; `GET /v1/models` lists them.",
	},
	object_not_found: { status: 404, type: INVALID, remedy: "Name a file or a batch that was made with this key." },
	agent_not_found: { status: 404, type: INVALID, remedy: "Register the agent first: `POST /register`." },
	key_not_found: { status: 404, type: INVALID, remedy: "See `GET /admin/keys` for the keys there are." },
	call_not_found: {
		status: 404,
		type: INVALID,
		remedy: "Check the id; calls are kept for `usage.keep`, and as long as `usage.size` has room.",
	},
	response_not_found: {
		status: 404,
		type: INVALID,
		remedy:
			"It was deleted, has lapsed (`responses.keep`, `responses.size`), was made with `store: false`, or is another key's.",
	},
	invitation_not_found: { status: 404, type: INVALID, remedy: "See `GET /admin/invitations` for those there are." },
	unknown_path: { status: 404, type: INVALID, remedy: "See `/swagger` for the paths there are." },
	method_not_allowed: { status: 405, type: INVALID, remedy: "Use a method that the `allow` header lists." },
	agent_name_taken: {
		status: 409,
		type: INVALID,
		remedy: "Give the agent another `name`, or wait 15 s if it is the same one.",
	},
	configuration_refused: { status: 409, type: INVALID, remedy: "Mend the file as the message says, and load it anew." },
	key_name_taken: { status: 409, type: INVALID, remedy: "Give the key another `name`, or rotate the one there is." },
	body_too_large: {
		status: 413,
		type: INVALID,
		remedy: "Send less, or raise `server.body_limit`; no body may have more than 100,000 fields, objects and lists.",
	},
	input_too_large: { status: 413, type: INVALID, remedy: "Shorten the prompt, or have the key's `input` raised." },
	url_too_long: { status: 414, type: INVALID, remedy: "Send a URL of at most 8 KB; prompts belong in the body." },
	runaway_stopped: {
		status: 400,
		type: INVALID,
		remedy:
			"The agent repeats itself, or its key spends far more than it usually does, and `runaway` says `stop`: tell it something new, or change that setting.",
	},
	unsupported_media_type: { status: 415, type: INVALID, remedy: "Send `content-type: application/json`." },
	poisonous_request: {
		status: 422,
		type: INVALID,
		remedy:
			"An engine died of this very call twice: change it, or wait until `poisonous_requests` is over; its log has the engine's reason.",
	},
	websocket_unavailable: {
		status: 426,
		type: INVALID,
		remedy:
			"Send the same as `POST /v1/responses`, with `stream: true` for its events; Codex does so of its own accord.",
	},
	insufficient_quota: {
		status: 429,
		type: "insufficient_quota",
		remedy:
			"The key's budget is spent (wait for the next period, or have it raised), or calls under way hold the rest: send a smaller `max_tokens`, or try again when they are over.",
	},
	rate_limit_exceeded: { status: 429, type: "rate_limit_error", remedy: "Wait for `Retry-After`, then call again." },
	model_busy: {
		status: 429,
		type: "rate_limit_error",
		remedy: "Wait for `Retry-After`, then call again; or raise the model's `concurrency` or `queue`.",
	},
	upstream_refused: {
		status: 400,
		type: INVALID,
		remedy: "The upstream found the request wrong; its message says why. Its own 4xx status is kept.",
	},
	cancelled: { status: 499, type: "api_error", remedy: "The client left before the answer; seen in logs only." },
	internal_error: {
		status: 500,
		type: "api_error",
		remedy: "A fault of the router: look for the request id in its log and report it.",
	},
	upstream_auth: {
		status: 502,
		type: "upstream_error",
		remedy: "The upstream refused the router's provider key: correct the variable the message names.",
	},
	upstream_quota: {
		status: 502,
		type: "upstream_error",
		remedy: "The router's account at the upstream is out of credit: top it up.",
	},
	upstream_unreachable: {
		status: 502,
		type: "upstream_error",
		remedy: "Check that the upstream runs and that its base URL is right.",
	},
	upstream_error: { status: 502, type: "upstream_error", remedy: "The upstream failed; call again." },
	upstream_truncated: {
		status: 502,
		type: "upstream_error",
		remedy: "The upstream broke off before the answer was complete; call again.",
	},
	provider_key_missing: {
		status: 503,
		type: "upstream_error",
		remedy: "Set the variable the message names and restart the router.",
	},
	model_unavailable: {
		status: 503,
		type: "upstream_error",
		remedy: "Wait for `Retry-After`; the message says what keeps each agent from serving the model.",
	},
	engine_died: {
		status: 503,
		type: "upstream_error",
		remedy:
			"The engine died under this call, or under another one while this one had no token yet: wait for `Retry-After`, then call again.",
	},
	upstream_overloaded: { status: 503, type: "upstream_error", remedy: "Wait for `Retry-After`, then call again." },
	responses_unavailable: {
		status: 503,
		type: "api_error",
		remedy: "Stored responses lie in Redis, which the router can't reach: wait for `Retry-After`, then call again.",
	},
	shutting_down: { status: 503, type: "api_error", remedy: "This router is stopping: call again, elsewhere or later." },
	upstream_timeout: {
		status: 504,
		type: "upstream_error",
		remedy:
			"Call again, or raise `timeouts`; where the call sent `x-router-timeout-ms`, `x-router-first-token-ms` or `x-router-stall-ms`, raise that.",
	},
	loop_detected: {
		status: 508,
		type: "api_error",
		remedy: "A base URL leads back to this router: correct it.",
	},
} as const satisfies Record<string, CatalogueRow>;

/**
 * Longest `Retry-After`, s, that every client respects. OpenAI's older clients take a longer one for a mistake and call again within a
 * second, the newer ones sleep for up to two minutes: `x-should-retry: false` makes all of them report the error instead.
 */
const LONGEST_WAIT = 60;

/** A `code` of the catalogue. */
export type ErrorCode = keyof typeof ERRORS;

/** The body of every failed call: OpenAI's Error object, of whose spec (v2.3.0) all four fields are required. */
export interface ErrorBody {
	error: { message: string; type: string; param: string | null; code: string | null };
}

/** What may differ from the catalogue's row for one error. */
export interface ErrorOptions {
	/** JSON path of the field at fault, `messages[0].role`. */
	param?: string | undefined;
	/** An upstream's own 4xx, for `upstream_refused`. */
	status?: number | undefined;
	/** An upstream's own `type` or `code`, where the request is at fault. */
	type?: string | undefined;
	upstreamCode?: string | undefined;
	/** Extra answer headers: `retry-after`, `allow`. Lower-case names. */
	headers?: Record<string, string> | undefined;
	cause?: unknown;
}

/** What a client is told. To make the error itself takes a look at the stack. */
export function errorBody(
	errorCode: ErrorCode,
	message: string,
	{ type, param, upstreamCode }: Pick<ErrorOptions, "type" | "param" | "upstreamCode"> = {},
): ErrorBody {
	return {
		error: { message, type: type ?? ERRORS[errorCode].type, param: param ?? null, code: upstreamCode ?? errorCode },
	};
}

/** An error that a client gets. `errorCode`, not `code`: Elysia would route by an error's `code`. */
export class RouterError extends Error {
	override readonly name = "RouterError";
	readonly errorCode: ErrorCode;
	readonly status: number;
	readonly headers: Record<string, string>;
	readonly body: ErrorBody;

	constructor(errorCode: ErrorCode, message: string, options: ErrorOptions = {}) {
		super(message, options.cause === undefined ? undefined : { cause: options.cause });
		const row = ERRORS[errorCode];
		this.errorCode = errorCode;
		this.status = options.status ?? row.status;
		this.headers = options.headers ?? {};
		this.body = errorBody(errorCode, message, options);
	}

	/** The JSON answer for this error. A new Response each time: a body is read once. */
	response(extra?: Record<string, string>): Response {
		const isLong = Number(this.headers["retry-after"]) > LONGEST_WAIT && this.headers["x-should-retry"] === undefined;
		return new Response(JSON.stringify(this.body), {
			status: this.status,
			headers: {
				"content-type": "application/json",
				...this.headers,
				...(isLong ? { "x-should-retry": "false" } : undefined),
				...extra,
			},
		});
	}
}

/** Any thrown value as a RouterError; of other errors an `internal_error` that says nothing of them. */
export function asRouterError(thrown: unknown): RouterError {
	if (thrown instanceof RouterError) return thrown;
	return new RouterError(
		"internal_error",
		"The router failed on this call. Its log has the details under this request id.",
		{
			cause: thrown,
		},
	);
}

/**
 * A role can't start for a reason that a person can correct (port taken, no key on a public address). The message is one line for that
 * person: what was wrong, where, what to do.
 */
export class StartError extends Error {
	override readonly name = "StartError";
}
