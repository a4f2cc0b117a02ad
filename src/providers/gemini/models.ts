/**
 * What a Gemini model takes, by its name (ai.google.dev: thinking, thought signatures, function calling; November 2026). A
 * name without a version (`gemini-flash-latest`) is taken for a current model.
 */
import type { Effort } from "../../openai/chat-schema.ts";
import { UnsupportedFields } from "../unsupported-fields.ts";

/** The version, 2.5 as 205; undefined where the name has none. */
export function versionOf(name: string): number | undefined {
	const [, major, minor] = /gemini-(\d+)(?:\.(\d+))?/.exec(name) ?? [];
	return major === undefined ? undefined : Number(major) * 100 + Number(minor ?? 0);
}

/** From 3 on calls in the history must bring their signatures, thinking has levels, and results may hold files. */
export const isThird = (name: string): boolean => (versionOf(name) ?? 300) >= 300;

/**
 * Whether a conversation may end with the model's words, which it then goes on with. From 3.6 on, and with 3.5 Flash-Lite, that is a 400
 * ("Requests ending with a model turn are not supported").
 */
export function takesPrefill(name: string): boolean {
	const version = versionOf(name);
	if (version === undefined) return !/flash(?:-lite)?-latest/.test(name);
	return version < 306 && !(version === 305 && /flash-lite/.test(name));
}

/** Whether it takes `frequencyPenalty` and `presencePenalty`: from 2.5 on they are a 400 ("Penalty is not enabled"). */
export const takesPenalties = (name: string): boolean => (versionOf(name) ?? 300) < 205;

/** Whether it makes several answers to one call: from 3 on that is a 400 ("Multiple candidates is not enabled"). */
export const makesCandidates = (name: string): boolean => !isThird(name);

/** Whether tools and an answer in JSON go together: before 3 they are a 400 ("Function calling with a response mime type"). */
export const joinsToolsAndJson = isThird;

/** Tokens to think with before 3; what Google's own OpenAI half takes for the same words. */
const BUDGETS: Readonly<Record<Exclude<Effort, "none">, number>> = {
	minimal: 1024,
	low: 1024,
	medium: 8192,
	high: 24_576,
	xhigh: 24_576,
	max: 24_576,
};

/** `thinkingConfig` for a `reasoning_effort`; undefined where the caller asks for nothing, or for what the model can't. */
export function thinkingConfig(
	effort: Effort | null | undefined,
	name: string,
	unsupportedFields = new UnsupportedFields(),
): Record<string, unknown> | undefined {
	if (!effort) return undefined;
	const refused = (why: string) => {
		unsupportedFields.add("reasoning_effort", why);
		return undefined;
	};
	const version = versionOf(name);
	if (isThird(name)) {
		if (effort === "none") return refused("this model always thinks");
		return { thinkingLevel: levelFor(effort, name), includeThoughts: true };
	}
	if (version !== undefined && version < 205) {
		if (effort === "none") return undefined;
		return refused("this model does not think");
	}
	if (effort !== "none") return { thinkingBudget: BUDGETS[effort], includeThoughts: true };
	if (/2\.5-pro/.test(name)) return refused("this model always thinks");
	return { thinkingBudget: 0 };
}

function levelFor(effort: Exclude<Effort, "none">, name: string): string {
	if (effort === "minimal") {
		// Flash from 3.7 on, and Pro, begin at LOW.
		const version = versionOf(name) ?? 999;
		const isMinimal = /flash-lite/.test(name) || (/flash/.test(name) && version < 307);
		return isMinimal ? "MINIMAL" : "LOW";
	}
	if (effort === "low") return "LOW";
	return effort === "medium" ? "MEDIUM" : "HIGH";
}
