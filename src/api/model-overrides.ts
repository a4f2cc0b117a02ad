/** Keeps a key that may use some models only from leaving them by what its upstream would make of the call. */

import type { Caller } from "../accounts/auth/keys.ts";
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { routingField, routingSuffix } from "../providers/model-routing.ts";
import type { Route } from "../routing/route.ts";

/** Throws `model_not_allowed` naming the field, where an upstream that the call may reach could heed it. */
export function refuseReroutes(
	caller: Caller | undefined,
	{ fields, body }: Pick<Call, "fields" | "body">,
	{ targets }: Route,
): void {
	if (!caller?.isRestricted) return;
	const target = targets.find(({ provider }) => provider.routesModels);
	if (!target) return;
	const { name } = target.provider;
	const field = routingField(fields, body);
	if (field !== undefined) throw refusal(caller, `send "${field.slice(0, 100)}" to "${name}"`, field, name);
	const suffix = routingSuffix(body.model);
	// A star stands for models, not for what chooses among them.
	if (suffix === undefined || caller.mentions?.(suffix)) return;
	throw refusal(caller, `put "${suffix.slice(0, 100)}" behind a model's name at "${name}"`, "model", name);
}

function refusal(caller: Caller, what: string, param: string, provider: string): RouterError {
	const message =
		`The key "${caller.name}" may use some models only, so it may not ${what}: another model could answer. Leave it out; where that ` +
		`upstream knows nothing of the kind, \`providers.${provider}.model_routing: false\` says so.`;
	return new RouterError("model_not_allowed", message, { param: param.slice(0, 100) });
}
