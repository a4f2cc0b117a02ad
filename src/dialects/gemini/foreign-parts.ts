/** What other vendors' models have said in a conversation that goes on with Gemini, and Google refuses. */
import type { GenerateRequest } from "./request-schema.ts";

/** Models that take calls without a signature: from the third generation on these are a 400. */
const UNSIGNED = /gemini-[12](?:\.|-|$)/;

/**
 * Whether a request can go to this model as its client has sent it. Not where calls in it lack their signatures, as those of other vendors' models do: of calls
 * made together the first has one. Nor where the body names a model, too, which might be another one.
 */
export function isGoogles(request: GenerateRequest, model: string): boolean {
	if (request["model"] != null) return false;
	if (UNSIGNED.test(model)) return true;
	return request.contents.every(({ role, parts }) => {
		const first = role === "model" ? parts?.find(({ functionCall }) => functionCall) : undefined;
		return first === undefined || Boolean(first.thoughtSignature);
	});
}
