/** The facts of a call by some fields of its body, whatever else its schema wants. */
import { requestOf } from "../../src/dialects/openai-chat.ts";
import type { CallFacts } from "../../src/openai/call-facts.ts";
import { fieldsOf } from "../../src/openai/json.ts";
import type { Operation } from "../../src/openai/operations.ts";
import { ParsedBody } from "../../src/openai/parsed-body.ts";
import type { Json } from "./exchange.ts";

/** Those of a call to the model `m` unless the body says another. */
export function factsOf(body: Json, operation: Operation = "chat"): CallFacts {
	const value = { model: "m", ...body };
	const raw = JSON.stringify(value);
	return requestOf(operation, ParsedBody.of(raw, fieldsOf(raw), value)).facts;
}
