/** What is wrong with a request, said of the field at fault as this wire's clients write it: `input[2].content[0].text`. */
import { RouterError } from "../../errors.ts";
import type { LazyCheck } from "../../lazy-check.ts";
import { describe } from "../../openai/validation.ts";

/** Checks by the kind of what they check. */
export type FieldChecks = Readonly<Record<string, LazyCheck>>;

/** Throws `invalid_value` naming the first field at fault; `path` is where the value stands, "" for the request itself. */
export function checkField({ compiled }: LazyCheck, value: unknown, path: string): void {
	if (compiled.Check(value)) return;
	const error = compiled.Errors(value).First();
	if (!error) throw invalidField(path, "has a wrong type");
	const { param: inner, message } = describe(error);
	const param = path === "" ? inner : inner === "" ? path : `${path}.${inner}`;
	throw new RouterError(
		"invalid_value",
		message.replace(/"[^"]*"/, () => JSON.stringify(param)),
		{ param },
	);
}

/** The check for a kind; undefined where there is none of that name. */
export function checkOf(checks: FieldChecks, kind: unknown): LazyCheck | undefined {
	return typeof kind === "string" && Object.hasOwn(checks, kind) ? checks[kind] : undefined;
}

/** The refusal of a value that is wrong whoever is asked. `why` completes "The field "x" …". */
export function invalidField(param: string, why: string): RouterError {
	return new RouterError("invalid_value", `The field "${param}" ${why}.`, { param });
}

/** The refusal of a field that means something to OpenAI and that the router can't do. `why` completes "The router can't take "x": …". */
export function unsupportedField(param: string, why: string): RouterError {
	return new RouterError("unsupported_parameter", `The router can't take "${param}": ${why}.`, { param });
}
