/** Reads a request's JSON, and says what is wrong with it. */
import { RouterError } from "../../errors.ts";
import { hasLongNumbers, parsedExactly } from "../../openai/exact-numbers.ts";
import { describe } from "../../openai/validation.ts";
import { requestObject } from "../request-object.ts";
import {
	OLLAMA_REQUESTS,
	type OllamaChat,
	type OllamaEmbed,
	type OllamaEmbeddings,
	type OllamaGenerate,
	type OllamaNamed,
} from "./ollama-schema.ts";

interface Requests {
	readonly chat: OllamaChat;
	readonly generate: OllamaGenerate;
	readonly embed: OllamaEmbed;
	readonly embeddings: OllamaEmbeddings;
	readonly named: OllamaNamed;
}

/** The refusal of a field. `why` completes "The field "x" …". */
export function ollamaRefusal(param: string, why: string): RouterError {
	return new RouterError("invalid_value", `The field "${param}" ${why}.`, { param });
}

/** The request, checked. Throws `invalid_json`, `duplicate_key`, `body_too_large` or `invalid_value`; messages never quote the request. */
export function readOllama<Kind extends keyof Requests>(text: string, kind: Kind): Requests[Kind] {
	if (text.trim() === "") throw new RouterError("invalid_json", "missing request body");
	const { value } = requestObject(text);
	if (kind !== "named" && !value["model"]) {
		throw new RouterError("invalid_value", "model is required", { param: "model" });
	}
	const { compiled: check } = OLLAMA_REQUESTS[kind];
	if (!check.Check(value)) {
		const error = check.Errors(value).First();
		const { param, message } = error ? describe(error) : { param: undefined, message: "A field has a wrong type." };
		throw new RouterError("invalid_value", message, { param });
	}
	return (hasLongNumbers(text) ? withExactNumbers(value, text) : value) as Requests[Kind];
}

/** What models read of numbers: arguments of calls, and schemas. Options are numbers of the router's own. */
const READ_BY_MODELS = ["messages", "tools", "format"] as const;

/** The request with those numbers as they were sent. */
function withExactNumbers(request: object, text: string): object {
	const exact = parsedExactly<Readonly<Record<string, unknown>>>(text);
	const fields = READ_BY_MODELS.flatMap((name) => (exact[name] === undefined ? [] : [[name, exact[name]] as const]));
	return { ...request, ...Object.fromEntries(fields) };
}
