/** How long an answer may be, as far as the client says so. Pure. */
import type { Call } from "../../openai/call.ts";
import { OPERATIONS } from "../../openai/operations.ts";

/** The part of a call that is read. */
export type Limited = Pick<Call, "operation" | "body">;

/**
 * Tokens that each choice may have at most, reasoning among them; undefined where the client sets no limit. 0 is none: many servers
 * read `max_completion_tokens or max_tokens`, to which 0 is as good as absent. Embeddings have no answer to count: 0.
 */
export function answerLimit({ operation, body }: Limited): number | undefined {
	if (!OPERATIONS[operation].generates) return 0;
	return whole(body["max_completion_tokens"]) ?? whole(body["max_tokens"]);
}

/** Answers that are made of a call, and paid for: `n`, or `best_of` where that is more, for each of its prompts. */
export function choicesOf({ operation, body }: Limited): number {
	const each = Math.max(whole(body["n"]) ?? 1, whole(body["best_of"]) ?? 1);
	const prompts = operation === "completions" ? body["prompt"] : undefined;
	// An array of numbers is one prompt, given as tokens.
	const isSeveral = Array.isArray(prompts) && prompts.length > 0 && typeof prompts[0] !== "number";
	return each * (isSeveral ? prompts.length : 1);
}

const whole = (value: unknown): number | undefined =>
	typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
