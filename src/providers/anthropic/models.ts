/**
 * What a Claude model takes, by its name (platform.claude.com, models overview, thinking, mid-conversation system messages;
 * November 2026). A name that says nothing is taken for a current model.
 */
import { unsupported } from "../../openai/chat.ts";
import type { Chat, Effort } from "../../openai/chat-schema.ts";

/** One model. */
export interface Claude {
	/** `opus`, `sonnet`, … */
	readonly family: string | undefined;
	/** 4.6 is 406; undefined where the name has none. */
	readonly version: number | undefined;
}

/** Reads a name: `claude-opus-4-7`, `claude-sonnet-4-20250514`, `claude-3-7-sonnet-20250219`, with whatever stands around it. */
export function claude(name: string): Claude {
	const [, before, major, minor, after] =
		/claude-(?:([a-z]+)-)?(\d+)(?:[-.](\d{1,2}))?(?!\d)(?:-([a-z]+))?/.exec(name) ?? [];
	if (major === undefined) return { family: /claude-([a-z]+)/.exec(name)?.[1], version: undefined };
	return { family: before ?? after, version: Number(major) * 100 + Number(minor ?? 0) };
}

const isMythosPreview = ({ family, version }: Claude) => family === "mythos" && version === undefined;

/** `max_tokens` where the caller sets no limit: what the model can say at most, since OpenAI's default is no limit. */
export function defaultMaxTokens(model: Claude): number {
	const { family, version } = model;
	if (version === undefined) return isMythosPreview(model) ? 128_000 : 32_000;
	if (version >= 406) return 128_000;
	if (family === "opus" && version < 405 && version >= 400) return 32_000;
	if (version >= 307) return 64_000;
	return version >= 305 ? 8192 : 4096;
}

/** Whether a last message of the assistant's is the beginning of the answer; from 4.6 on it is a 400 (migration guide, prefill removal). */
export function takesPrefill({ version }: Claude): boolean {
	return version !== undefined && version < 406;
}

/** Whether any `temperature`, `top_p` or `top_k` but the default is a 400. */
export function refusesSampling(model: Claude): boolean {
	return isMythosPreview(model) || (model.version ?? 0) >= 407;
}

/** Whether a system message may stand among the others. */
export function takesSystemTurns({ family, version }: Claude): boolean {
	return version === undefined || (version >= 408 && !(family === "sonnet" && version < 505));
}

/** Whether thinking can't be switched off. */
function alwaysThinks(model: Claude): boolean {
	const { family, version } = model;
	return (
		isMythosPreview(model) || family === "fable" || family === "mythos" || (family === "opus" && (version ?? 0) >= 505)
	);
}

/**
 * Whether thinking that comes back is held against all that stands before it (platform.claude.com, preserved thinking): a client
 * that changed its system prompt, or left old messages out, would get a 400 for thoughts that it never saw.
 */
export function bindsThoughts({ family, version }: Claude): boolean {
	const first = family === "fable" || family === "mythos" ? 501 : 505;
	return version !== undefined && version >= first;
}

/** Tokens to think with, where the model takes a budget. */
const BUDGETS: Readonly<Record<Exclude<Effort, "none">, number>> = {
	minimal: 1024,
	low: 4096,
	medium: 8192,
	high: 16_384,
	xhigh: 32_768,
	max: 49_152,
};
/** The least that the API takes. */
const MIN_BUDGET = 1024;

/** What `thinking` must say for such thoughts to be dropped instead, and the beta it belongs to. */
export const DROPPING = { block_binding: { prefix_mismatch_behavior: "drop_block" } };
/** The beta of that. */
export const BINDING_BETA = "thinking-binding-controls-2026-08-01";

/** The fields that make a model think as hard as asked; none where the caller asks for nothing. */
export interface Thinking {
	readonly thinking?: Readonly<Record<string, unknown>>;
	/** `output_config.effort` */
	readonly effort?: string;
}

/**
 * `reasoning_effort` in the model's words: an effort from 4.6 on, a budget before. `isOpenLoop`: the request goes on with tool
 * calls whose thinking is not known. Models with budgets then refuse to think (`Expected thinking, but found tool_use`), so they
 * go on without until the next turn.
 */
export function thinkingFor(
	effort: Chat["reasoning_effort"],
	model: Claude,
	maxTokens: number,
	isOpenLoop: boolean,
): Thinking {
	if (!effort) return {};
	const { version } = model;
	if (effort === "none") {
		if (alwaysThinks(model)) throw unsupported("reasoning_effort", "this model always thinks");
		return version !== undefined && version >= 500 ? { thinking: { type: "disabled" } } : {};
	}
	if (version === undefined || version >= 406) {
		// Before 4.7 thoughts are shown unless asked not to be, after that the other way round.
		const display = version === 406 ? {} : { display: "summarized" };
		return { thinking: { type: "adaptive", ...display }, effort: levelFor(effort, version) };
	}
	if (version < 307) throw unsupported("reasoning_effort", "this model does not think");
	if (isOpenLoop) return {};
	if (maxTokens <= MIN_BUDGET) {
		throw unsupported(
			"reasoning_effort",
			`thinking needs more than ${MIN_BUDGET} tokens, and the limit is ${maxTokens}`,
		);
	}
	// Thinking counts toward the limit; a fifth of it is left to say something.
	const budget_tokens = Math.max(MIN_BUDGET, Math.min(BUDGETS[effort], Math.floor(maxTokens * 0.8)));
	return { thinking: { type: "enabled", budget_tokens } };
}

function levelFor(effort: Exclude<Effort, "none">, version: number | undefined): string {
	if (effort === "minimal") return "low";
	return effort === "xhigh" && version === 406 ? "high" : effort;
}
