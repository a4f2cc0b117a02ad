/**
 * What which Claude model takes, in one table by its name. Read from platform.claude.com (models overview; structured outputs; thinking;
 * mid-conversation system messages; migration guides and "what's new" of 4.6 to 5.5) and from the model tables of pydantic-ai
 * (`profiles/anthropic.py`), vercel/ai (`getModelCapabilities`) and langchain-aws; November 2026. A name that says no version is taken for
 * the newest model, but for what only takes a field away.
 */
import type { Chat, Effort } from "../../openai/chat-schema.ts";
import { UnsupportedFields } from "../unsupported-fields.ts";

/** One model. */
export interface Claude {
	/** `opus`, `sonnet`, … */
	readonly family: string | undefined;
	/** 4.6 is 406; undefined where the name has none. */
	readonly version: number | undefined;
}

/** Reads a name: `claude-opus-4-7`, `claude-sonnet-4-20250514`, `claude-3-7-sonnet-20250219`, with whatever stands around it. */
export function claude(name: string): Claude {
	let model = known.get(name);
	if (!model) {
		model = modelNamed(name);
		if (known.size >= MOST_KNOWN) known.clear();
		known.set(name, model);
	}
	return model;
}

/** Calls name the same few models: each is read once. Bounded, since clients may choose the names. */
const known = new Map<string, Claude>();
const MOST_KNOWN = 1000;

function modelNamed(name: string): Claude {
	const [, before, major, minor, after] =
		/claude-(?:([a-z]+)-)?v?(\d+)(?:[-.](\d{1,2}))?(?!\d)(?:-([a-z]+))?/i.exec(name) ?? [];
	if (major === undefined) return { family: /claude-([a-z]+)/i.exec(name)?.[1]?.toLowerCase(), version: undefined };
	return { family: (before ?? after)?.toLowerCase(), version: Number(major) * 100 + Number(minor ?? 0) };
}

/** From which version on something is so. */
interface Since {
	/** By family, `others` for those that are not named; never, where nothing is said. */
	readonly from: { readonly others?: number; readonly [family: string]: number | undefined };
	/** Of the names without a version it is so of this family alone; absent: of all. */
	readonly unversioned?: "none" | "mythos";
}

const TRAITS = {
	/** Thinks when it is asked to (extended thinking: Sonnet 3.7). */
	thinks: { from: { others: 307 } },
	/** Holds its answer, or a strict tool's input, to a schema (structured outputs: the 4.5 models; Opus 4.1 in a beta only). */
	holdsSchemas: { from: { others: 405 } },
	/** Is told an effort and thinks as it sees fit, beside a forced tool, too; before, it is given a budget (adaptive thinking). */
	takesEffort: { from: { others: 406 } },
	/** Takes no last message of the assistant's: "does not support assistant message prefill" (4.6, migration guide). */
	refusesPrefill: { from: { others: 406 } },
	/** Knows the effort `xhigh` (Opus 4.7). */
	takesHighestEffort: { from: { others: 407 } },
	/** Any `temperature`, `top_p` or `top_k` but the default is a 400: "is deprecated for this model" (Opus 4.7). */
	refusesSampling: { from: { others: 407 }, unversioned: "mythos" },
	/** A system message may stand among the others (Opus 4.8, Fable and Mythos 5; Sonnet 5: "role 'system' is not supported on this model"). */
	takesSystemTurns: { from: { others: 408, sonnet: 505 } },
	/** Thinks unless it is told not to. */
	thinksByDefault: { from: { others: 500 }, unversioned: "none" },
	/** `disabled` is a 400; the least that it thinks is between tool calls, by `between_tools` (Sonnet 5.5). */
	thinksBetweenTools: { from: { sonnet: 505 }, unversioned: "none" },
	/** Thinking can't be switched off at all (Opus 5.5; Fable and Mythos). */
	alwaysThinks: { from: { opus: 505, fable: 0, mythos: 0 }, unversioned: "mythos" },
	/** A forced tool choice is a 400: `type "tool" and "any" are not supported for this model` (Fable and Mythos 5.1, Opus and Sonnet 5.5). */
	refusesForcedTools: { from: { opus: 505, sonnet: 505, fable: 501, mythos: 501 } },
	/**
	 * Thinking that comes back is held against all that stands before it (preserved thinking): a client that changed its system prompt, or
	 * left old messages out, would get a 400 for thoughts that it never saw.
	 */
	bindsThoughts: { from: { others: 505, fable: 501, mythos: 501 }, unversioned: "none" },
} as const satisfies Readonly<Record<string, Since>>;

/** Whether it is so of a model. */
export function hasTrait({ family, version }: Claude, trait: keyof typeof TRAITS): boolean {
	const { from, unversioned }: Since = TRAITS[trait];
	if (version === undefined) return unversioned === undefined || (unversioned === "mythos" && family === "mythos");
	const first = (family === undefined ? undefined : from[family]) ?? from.others;
	return first !== undefined && version >= first;
}

/** `max_tokens` where the caller sets no limit: what the model can say at most, since OpenAI's default is no limit. */
export function defaultMaxTokens({ family, version }: Claude): number {
	if (version === undefined) return family === "mythos" ? 128_000 : 32_000;
	if (version >= 406) return 128_000;
	if (family === "opus" && version < 405 && version >= 400) return 32_000;
	if (version >= 307) return 64_000;
	return version >= 305 ? 8192 : 4096;
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
	readonly thinking?: Readonly<Record<string, unknown>> | undefined;
	/** `output_config.effort` */
	readonly effort?: string;
}

/**
 * `reasoning_effort` in the model's words: an effort from 4.6 on, a budget before. `isOpen`: the request goes on with tool calls whose
 * thinking is not known, or with the assistant's own words. Models with budgets then refuse to think (`Expected thinking, but found
 * tool_use`), so they go on without until the next turn.
 */
export function thinkingFor(
	effort: Chat["reasoning_effort"],
	model: Claude,
	maxTokens: number,
	isOpen: boolean,
	unsupportedFields = new UnsupportedFields(),
): Thinking {
	if (!effort) return {};
	const without = (why: string) => {
		unsupportedFields.add("reasoning_effort", why);
		return {};
	};
	if (effort === "none") {
		if (hasTrait(model, "thinksBetweenTools")) return { thinking: { type: "between_tools" } };
		if (hasTrait(model, "alwaysThinks")) return without("this model always thinks");
		return { thinking: hasTrait(model, "thinksByDefault") ? { type: "disabled" } : undefined };
	}
	if (hasTrait(model, "takesEffort")) {
		// Before 4.7 thoughts are shown unless asked not to be, after that the other way round.
		const display = hasTrait(model, "takesHighestEffort") ? { display: "summarized" } : {};
		return { thinking: { type: "adaptive", ...display }, effort: levelFor(effort, model) };
	}
	if (!hasTrait(model, "thinks")) return without("this model does not think");
	if (isOpen) return {};
	if (maxTokens <= MIN_BUDGET) {
		return without(`thinking needs more than ${MIN_BUDGET} tokens, and the limit is ${maxTokens}`);
	}
	// Thinking counts toward the limit; a fifth of it is left to say something.
	const budget_tokens = Math.max(MIN_BUDGET, Math.min(BUDGETS[effort], Math.floor(maxTokens * 0.8)));
	return { thinking: { type: "enabled", budget_tokens } };
}

function levelFor(effort: Exclude<Effort, "none">, model: Claude): string {
	if (effort === "minimal") return "low";
	return effort === "xhigh" && !hasTrait(model, "takesHighestEffort") ? "high" : effort;
}
