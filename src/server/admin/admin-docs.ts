/** What `/swagger` says of `/admin`. */
import { answer, type Detail, errorResponses } from "../../http/route-docs.ts";

const TAGS = ["Administration"];
const SECURITY = [{ adminKey: [] }];
/** What all of them have. */
export const ADMIN_BASE = { tags: TAGS, security: SECURITY };
/** Errors of those with a body. */
export const BODY_ERRORS = ["invalid_json", "invalid_value", "body_too_large", "unsupported_media_type"] as const;

/** A body in JSON. */
export const bodyOf = (schema: object, example: object) =>
	({ required: true, content: { "application/json": { schema, example } } }) as unknown as NonNullable<
		Detail["requestBody"]
	>;
/** A parameter of a path or a query. */
export const parameter = (name: string, where: "path" | "query", description: string, example: string) =>
	({ name, in: where, required: where === "path", description, example, schema: { type: "string" } }) as const;
/** `GET /admin/usage`. */
export const USAGE: Detail = {
	...ADMIN_BASE,
	operationId: "usage",
	summary: "Usage",
	description:
		"Calls, tokens and cost by key, team, user, model, provider or day. CSV has the header `x-router-partial` where other routers could not be asked.",
	parameters: [
		parameter("by", "query", "What it is summed by, comma separated. Default: key,model.", "key,model,day"),
		parameter("from", "query", "First day (UTC). Default: 30 days before `to`.", "2026-08-01"),
		parameter("to", "query", "Last day. Default: today.", "2026-08-31"),
		parameter(
			"format",
			"query",
			"`csv` for CSV, `focus` for that of FOCUS 1.3 (without `by`); `json` otherwise.",
			"csv",
		),
		parameter(
			"granularity",
			"query",
			"`hour` for `format=focus` by the hour. What single calls are kept no more of stays by day, and what other routers have; the header `x-router-daily` says that there is some, `x-router-granularity` what the rows were made by.",
			"hour",
		),
	],
	responses: {
		200: answer(
			"The sums, of all routers that share a Redis; `partial` where they could not be asked. `unpriced` calls were answered, and are not in `cost_usd`: nobody knows their price. `energy_wh` is of calls at agents that say what their GPUs draw.",
			{
				object: "list",
				data: [
					{
						key: "team-a",
						model: "fast",
						calls: 120,
						failed: 2,
						tokens_in: 41_000,
						tokens_out: 9_000,
						tokens_cached: 20_000,
						tokens_reasoning: 0,
						cost_usd: 0.0312,
						estimated: 1,
						unpriced: 0,
						energy_wh: 3.25,
					},
				],
			},
		),
		...errorResponses("invalid_value", "invalid_admin_key", "internal_error"),
	},
};

/** `GET /admin/shadow`. */
export const SHADOW: Detail = {
	...ADMIN_BASE,
	operationId: "shadowCalls",
	summary: "What copies of calls came to",
	description:
		"Of each model with `shadow`, by this router's ledger: pairs of answers that were compared, their medians, and how many were the same. Where `partial` is there, they are the newest 5,000, or those among its last 100,000 calls.",
	parameters: [
		parameter("from", "query", "The first day (UTC). Default: 29 days before `to`.", "2026-08-01"),
		parameter("to", "query", "The last day. Default: today.", "2026-08-31"),
	],
	responses: {
		200: answer("A row for each model and the one that gets its copies.", {
			object: "list",
			data: [
				{
					model: "fast",
					to: "openai/gpt-5-mini",
					share: 0.05,
					budget: { usd: 1, per: "day", spent: 0.12 },
					pairs: 412,
					failed: 3,
					caller: { ms: 812.5, first_token_ms: 210.4, tokens_out: 180, cost_usd: 0 },
					shadow: { ms: 1440.1, first_token_ms: 330.2, tokens_out: 204, cost_usd: 0.00031 },
					same_finish_reason: { compared: 412, same: 407 },
					same_tool_calls: { compared: 96, same: 88 },
				},
			],
		}),
		...errorResponses("invalid_admin_key", "invalid_value", "internal_error"),
	},
};

/** `GET /admin/calls`. */
export const CALLS: Detail = {
	...ADMIN_BASE,
	operationId: "listCalls",
	summary: "Past calls",
	description:
		"The calls of this router's ledger, newest first, that are all of what is asked for; of several routers each lists its own. One request looks at 20,000 of them at most: where `next` is there, older ones are left, also behind an empty list; ask again with `before` set to it.",
	parameters: [
		parameter("key", "query", "The name or the id of its key.", "team-a"),
		parameter("team", "query", "The key's team.", "research"),
		parameter("user", "query", "The `user` that the call named.", "bob"),
		parameter("model", "query", "The model.", "fast"),
		parameter("provider", "query", "Who served it last.", "openai"),
		parameter("status", "query", "Its status, a class of them, or `failed`: 400 and above.", "5xx"),
		parameter("from", "query", "Those that began then or later: a day (UTC), or a time.", "2026-08-01T09:00:00Z"),
		parameter("to", "query", "Those that began until then; a day is included.", "2026-08-01"),
		parameter("before", "query", "Those before this id: `next` of the answer before.", "req_0198f0c2-…"),
		parameter("limit", "query", "Most calls of an answer, 1 to 200. Default: 50.", "100"),
	],
	responses: {
		200: answer(
			"The calls. `looked_at` is how far back the search has come, `waiting` how many ended calls could not be written yet and are not listed.",
			{
				object: "list",
				data: [
					{
						id: "req_0198f0c2-…",
						at: "2026-08-01T09:30:00.000Z",
						key: "team-a",
						user: "bob",
						model: "fast",
						operation: "chat",
						stream: true,
						ms: 1830.2,
						first_token_ms: 310.4,
						status: 200,
						provider: "openai",
						target: "openai/gpt-5-mini",
						tokens: { input: 200, output: 198 },
						cost_usd: 0.000446,
					},
				],
				next: "req_0198f0c2-…",
				looked_at: "2026-08-01T09:29:58.000Z",
			},
		),
		...errorResponses("invalid_value", "invalid_admin_key", "internal_error"),
	},
};

/** `GET /admin/calls/{id}`. */
export const CALL: Detail = {
	...ADMIN_BASE,
	operationId: "call",
	summary: "A past call",
	description:
		"Why it went where it went, its attempts, and what it cost by which price. Where there were several, `began_ms` is when each began, from when the call came in. An attempt with `hedge: true` was made beside one that was late; one with `paid_by: router` gave an answer that was not used, or failed after its upstream had answered: its cost is counted to no key. One with `paid_by: key` gave an answer that was not of the form that the call asked for: the key pays for it, and `cost_usd` has it, too. Routers of one Redis are asked for a call that this one's ledger does not have; `router` says whose has it, and an error where it was looked for.",
	parameters: [parameter("id", "path", "The call's `x-request-id`.", "req_0198f0c2-…")],
	responses: {
		200: answer("The call.", {
			id: "req_0198f0c2-…",
			at: "2026-08-01T09:30:00.000Z",
			key: "team-a",
			model: "fast",
			operation: "chat",
			stream: true,
			ms: 1830.2,
			first_token_ms: 310.4,
			status: 200,
			provider: "openai",
			target: "openai/gpt-5-mini",
			attempts: [
				{ number: 1, provider: "openai", target: "openai/gpt-5-mini", outcome: "answered", status: 200, ms: 1825 },
			],
			tokens: { input: 200, output: 198 },
			cost_usd: 0.000446,
			price: { source: "list", rates: { input: 0.25, output: 2, cached: 0.025 } },
			decision: { model: "fast", route: "models: fast", candidates: [{ rank: 1, id: "openai/gpt-5-mini" }] },
		}),
		...errorResponses("invalid_admin_key", "call_not_found", "internal_error"),
	},
};

const invitation = { id: "5f0c1a2b3c4d", created_at: "2026-08-01T09:00:00.000Z" };

/** `GET /admin/invitations`. */
export const INVITATIONS: Detail = {
	...ADMIN_BASE,
	operationId: "listInvitations",
	summary: "Invitations of agents",
	description: "Tokens that `router agents invite` has made, never the tokens themselves.",
	responses: {
		200: answer("The invitations.", { object: "list", data: [invitation] }),
		...errorResponses("invalid_admin_key", "internal_error"),
	},
};

/** `POST /admin/invitations/{id}/revoke`. */
export const REVOKE_INVITATION: Detail = {
	...ADMIN_BASE,
	operationId: "revokeInvitation",
	summary: "Revoke an invitation",
	description: "Agents that came with it can't register any more, nor be heard of.",
	parameters: [parameter("id", "path", "The invitation's id.", invitation.id)],
	responses: {
		200: answer("It is not good any more.", invitation),
		...errorResponses("invalid_admin_key", "invitation_not_found", "internal_error"),
	},
};

/** `GET /admin/runaways`. */
export const RUNAWAYS: Detail = {
	...ADMIN_BASE,
	operationId: "listRunaways",
	summary: "Agents that have run away",
	description:
		"Agents that have repeated themselves within the last hour (the same calls of tools with the same results), sessions whose calls were refused since they have spent their budgets, and keys that spend far more than they usually do. Whose they are and how often, never what was said.",
	responses: {
		200: answer("The runaways.", {
			object: "list",
			data: [
				{
					kind: "loop",
					key: "team-a",
					action: "warn",
					session: "6f1c2f0e-6a52-4d3e-9a54-3d5f4f4f8d11",
					model: "fast",
					rounds: 6,
					call: "req_01a20c59-726c-75ae-9dae-61fae9f8d04c",
					last_seen: "2026-11-30T12:00:00.000Z",
				},
			],
		}),
		...errorResponses("invalid_admin_key", "internal_error"),
	},
};

/** `GET /admin/models/retiring`. */
export const RETIRING_MODELS: Detail = {
	...ADMIN_BASE,
	operationId: "listRetiringModels",
	summary: "Models that retire",
	description:
		"Targets of `models:` that their vendors stop offering, as the vendors' lists and the table of list prices say: vendors are asked once a day. Without a `shutdown_date` only that a model is deprecated is known.",
	responses: {
		200: answer("The targets.", {
			object: "list",
			data: [
				{
					name: "fast",
					target: "openai/gpt-4o",
					text: "fast: openai/gpt-4o is retired by OpenAI on 2027-01-14",
					lifecycle: "deprecated",
					shutdown_date: "2027-01-14",
				},
			],
		}),
		...errorResponses("invalid_admin_key", "internal_error"),
	},
};

const configuration = {
	object: "configuration",
	file: "/etc/router/router.yaml",
	has_file: true,
	settings: [{ setting: "server.port", value: "8080", from: "router.yaml:2" }],
	providers: [{ name: "openai", state: "ready", base_url: "https://api.openai.com/v1" }],
	warnings: [],
	opentelemetry: [{ what: "traces", text: "http://collector:4318/v1/traces, 10 % of traces, http/protobuf" }],
	reload: { changes: [{ setting: "models[fast].policy", from: "order", to: "balanced" }], waiting: [], mistakes: [] },
};

/** `GET /admin/configuration`. */
export const CONFIGURATION: Detail = {
	...ADMIN_BASE,
	operationId: "configuration",
	summary: "The configuration in force",
	description:
		"Every setting with where it comes from, secrets masked, and what a reload of the file would do now: `changes`, what only a restart would change (`waiting`), or the `mistakes` for which nothing would. `from` of a setting that waits for a restart is where it stood at the start. `opentelemetry` says where traces and metrics go, and of which keys the contents of calls.",
	responses: {
		200: answer("The configuration.", configuration),
		...errorResponses("invalid_admin_key", "internal_error"),
	},
};

/** `POST /admin/configuration/reload`. */
export const RELOAD: Detail = {
	...ADMIN_BASE,
	operationId: "reloadConfiguration",
	summary: "Load the configuration's file anew",
	description:
		"As when the file changes, or on SIGHUP: once the file has been the same for half a second. A file that can't be used, or is still being written after five, changes nothing.",
	responses: {
		200: answer("It is in force.", configuration),
		...errorResponses("invalid_admin_key", "read_only_key", "configuration_refused", "internal_error"),
	},
};
