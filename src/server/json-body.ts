/** JSON bodies of the router's own API (agents, administrators), read and checked against a schema. */
import type { Static, TSchema } from "@sinclair/typebox";
import { RouterError } from "../errors.ts";
import { jsonIn, readRequestText } from "../http/request-body.ts";
import { LazyCheck } from "../lazy-check.ts";
import { describe } from "../openai/validation.ts";
import { MAX_REPORT_BYTES } from "../protocol/agent.ts";

/** Reads bodies of one schema. They throw what `readRequestText` does, `invalid_json`, and `invalid_value` naming the field. */
export function bodyReader<S extends TSchema>(schema: S): (request: Request) => Promise<Static<S>> {
	const check = new LazyCheck(schema as TSchema);
	return async (request) => {
		const body = jsonIn(await readRequestText(request, MAX_REPORT_BYTES));
		if (check.Check(body)) return body as Static<S>;
		const error = check.Errors(body).First();
		if (!error || error.path === "") throw new RouterError("invalid_value", "The body must be a JSON object.");
		const { param, message } = describe(error);
		throw new RouterError("invalid_value", message, { param });
	};
}
