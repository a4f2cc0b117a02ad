/** A change of a key that was made while the router ran: of its team, models, limits and budget. Pure. */
import type { KeyLimits, StoredKey } from "../../accounts/auth/key-store.ts";
import { RouterError } from "../../errors.ts";
import { KeyChangeBody } from "./key-bodies.ts";

const LIMITS = ["rpm", "tpm", "concurrency", "input", "session_usd"] as const satisfies (keyof KeyLimits)[];

/** The key as it is to be. Throws `invalid_value` where nothing is asked for, and for what a viewer's key has not. */
export function withChange(key: StoredKey, body: KeyChangeBody): StoredKey {
	const asked = Object.keys(body).filter((name) => body[name as keyof KeyChangeBody] !== undefined);
	if (asked.length === 0) {
		const message = `Say what is to change: some of ${Object.keys(KeyChangeBody.properties).join(", ")}.`;
		throw new RouterError("invalid_value", message, {});
	}
	const callers = asked.find((name) => name !== "team");
	if (key.role && callers !== undefined) {
		const message = `${callers} is for keys that make calls, and a viewer's makes none: leave it out.`;
		throw new RouterError("invalid_value", message, { param: callers });
	}
	const limits = { ...key.limits };
	for (const name of LIMITS) {
		const asks = body[name];
		if (asks === null) delete limits[name];
		else if (asks !== undefined) limits[name] = asks;
	}
	return {
		...key,
		limits,
		...(body.team !== undefined && { team: body.team ?? undefined }),
		...(body.models && { models: body.models }),
		...(body.engine_fields !== undefined && { engineFields: body.engine_fields || undefined }),
		...(body.trace_contents !== undefined && { tracesContents: body.trace_contents || undefined }),
		...(body.budget !== undefined && { budget: budgetOf(key, body.budget) }),
	};
}

/** Where no period is said the key keeps its own. */
function budgetOf({ budget: before }: StoredKey, asked: NonNullable<KeyChangeBody["budget"]> | null) {
	return asked ? { usd: asked.usd, per: asked.per ?? before?.per ?? ("month" as const) } : undefined;
}
