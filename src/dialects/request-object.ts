/** The JSON object that a request is, in whatever wire. */
import { RouterError } from "../errors.ts";
import { tooLarge } from "../openai/call.ts";
import { JsonTooLarge, type ParsedText, parseWithFields } from "../openai/json.ts";

/** A request's object, and where its top-level fields stand in its text. */
export interface RequestObject extends Pick<ParsedText, "fields"> {
	readonly value: Readonly<Record<string, unknown>>;
}

/** The words of refusals, where a wire has its own. */
export interface ObjectRefusals {
	/** @param cause what the parser says, which may quote the request */
	noJson: (cause: unknown) => string;
	readonly noObject: string;
	repeated: (name: string) => string;
}

const REFUSALS: ObjectRefusals = {
	noJson: () => "The body is no valid JSON.",
	noObject: 'The body must be a JSON object, such as {"model": …}.',
	repeated: (name) => `The field "${name}" stands twice; send it once.`,
};

/** Reads it. Throws RouterError (`invalid_json`, `body_too_large`, `invalid_value`, `duplicate_key`). */
export function requestObject(text: string, refusals: Partial<ObjectRefusals> = {}): RequestObject {
	let parsed: ParsedText;
	try {
		parsed = parseWithFields(text);
	} catch (cause) {
		if (cause instanceof JsonTooLarge) throw tooLarge(cause);
		throw new RouterError("invalid_json", (refusals.noJson ?? REFUSALS.noJson)(cause));
	}
	const { value, fields, repeated } = parsed;
	if (typeof value !== "object" || value === null || Array.isArray(value)) {
		throw new RouterError("invalid_value", refusals.noObject ?? REFUSALS.noObject);
	}
	if (repeated !== undefined) {
		const param = repeated.slice(0, 64);
		throw new RouterError("duplicate_key", (refusals.repeated ?? REFUSALS.repeated)(param), { param });
	}
	return { value: value as RequestObject["value"], fields };
}
