/** Who may steer the inference servers of the user's own: only a key that says so (`engine_fields`). The same for calls, for what is passed on, and for counts. */
import type { Caller } from "../accounts/auth/keys.ts";
import { RouterError } from "../errors.ts";
import type { CallFacts } from "../openai/call-facts.ts";
import type { EngineField } from "../openai/engine-fields.ts";
import type { Route } from "../routing/route.ts";

/** Throws `engine_field_not_allowed` for a call whose caller may not send such a field where it may go. */
export function refuseEngineFields(
	caller: Caller | undefined,
	facts: Pick<CallFacts, "engineField">,
	{ targets }: Pick<Route, "targets">,
): void {
	if (caller?.engineFields) return;
	// Each call comes here, and most have one target.
	for (const { provider } of targets) {
		if (!provider.mayBeEngine) continue;
		const field = facts.engineField();
		if (field) throw refusal(caller, field, provider.name);
		return;
	}
}

function refusal(caller: Caller | undefined, { name, size }: EngineField, provider: string): RouterError {
	const what = size
		? `"${name}" has ${size.is} bytes; of a schema or grammar for "${provider}" this call may send ${size.most}: make it smaller`
		: `"${name}" steers the server behind "${provider}" itself, which this call may not: leave it out`;
	const how =
		caller === undefined
			? "a key may that has `engine_fields: true`"
			: `the key "${caller.name}" may where it has \`engine_fields: true\` (\`router keys create --engine-fields\`)`;
	return new RouterError("engine_field_not_allowed", `${what}; or, ${how}.`, { param: name });
}
