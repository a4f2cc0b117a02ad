/** What `/swagger` says of the keys under `/admin`. */
import { answer, type Detail, errorResponses } from "../../http/route-docs.ts";
import { ADMIN_BASE, BODY_ERRORS, bodyOf, parameter } from "./admin-docs.ts";
import { KeyChangeBody, NewKeyBody, RotateBody } from "./key-bodies.ts";

const key = {
	id: "key_0f8d…",
	name: "team-a",
	team: "research",
	prefix: "rk-a1b2",
	models: ["fast", "local/*"],
	limits: { rpm: 600, tpm: 1_000_000 },
	use: { rpm: 12, tpm: 41_300 },
	budget: { usd: 50, per: "month", spent: 12.5 },
	source: "made",
	created_at: "2026-08-01T09:00:00.000Z",
};
const which = parameter("key", "path", "The key's id or name.", "team-a");

/** `GET /admin/keys`. */
export const KEYS: Detail = {
	...ADMIN_BASE,
	operationId: "listKeys",
	summary: "The keys",
	description:
		"Those of the configuration, and those that were made; revoked ones, too. `use` is what is taken of a key's limits now: calls and tokens of the last minute, and calls under way, of all routers of a Redis.",
	responses: {
		200: answer("The keys, never their secrets.", { object: "list", data: [key] }),
		...errorResponses("invalid_admin_key", "internal_error"),
	},
};

/** `POST /admin/keys`. */
export const CREATE_KEY: Detail = {
	...ADMIN_BASE,
	operationId: "createKey",
	summary: "Make a key",
	requestBody: bodyOf(NewKeyBody, { name: "team-a", models: ["fast", "local/*"], rpm: 600, budget: { usd: 50 } }),
	responses: {
		201: answer("The key. Its secret is shown this once.", { key, secret: "rk-a1b2…" }),
		...errorResponses(...BODY_ERRORS, "invalid_admin_key", "key_name_taken", "internal_error"),
	},
};

/** `POST /admin/keys/{key}/rotate`. */
export const ROTATE_KEY: Detail = {
	...ADMIN_BASE,
	operationId: "rotateKey",
	summary: "Give a key a new secret",
	description: "The old one stays good for `overlap`; without it, it is not any more.",
	parameters: [which],
	requestBody: { ...bodyOf(RotateBody, { overlap: "24h" }), required: false } as NonNullable<Detail["requestBody"]>,
	responses: {
		200: answer("The new secret, shown this once. `warning` as of a key that is revoked.", { key, secret: "rk-c3d4…" }),
		...errorResponses(...BODY_ERRORS, "invalid_admin_key", "key_not_found", "internal_error"),
	},
};

/** `POST /admin/keys/{key}/change`. */
export const CHANGE_KEY: Detail = {
	...ADMIN_BASE,
	operationId: "changeKey",
	summary: "Change what a key may do",
	description:
		"What is absent stays as it is, what is null goes. It holds from the next call on; calls under way go on.",
	parameters: [which],
	requestBody: bodyOf(KeyChangeBody, { rpm: 1200, tpm: null, budget: { usd: 80, per: "month" } }),
	responses: {
		200: answer("The key. `warning` as of a key that is revoked.", key),
		...errorResponses(...BODY_ERRORS, "invalid_admin_key", "key_not_found", "internal_error"),
	},
};

/** `POST /admin/keys/{key}/revoke`. */
export const REVOKE_KEY: Detail = {
	...ADMIN_BASE,
	operationId: "revokeKey",
	summary: "Revoke a key",
	parameters: [which],
	responses: {
		200: answer(
			"It is not good any more. `warning` where that is not on the disk yet: what a restart before that would undo.",
			{ ...key, revoked_at: "2026-08-02T09:00:00.000Z" },
		),
		...errorResponses("invalid_admin_key", "key_not_found", "internal_error"),
	},
};
