/** A request of Anthropic's Messages API in OpenAI's words, and back what can't be said there. */
import { isStrictSchema } from "../../openai/strict-schema.ts";
import { objectIn } from "../../openai/usage.ts";
import { leftOutNames } from "../client-fields.ts";
import { sentToolName } from "../tool-names.ts";
import type { LeaveOut, RequestForm } from "./messages-content.ts";
import type { MessagesRequest, MessagesTool } from "./messages-schema.ts";
import { claudeMessages, plainMessages, systemMessages } from "./messages-turns.ts";

/** A request in OpenAI's words. */
export interface TranslatedRequest {
	/** JSON of a chat request. */
	readonly text: string;
	/** Fields, and types of blocks and tools, that are left out: what those for whom it is written have no form for. */
	readonly leftOut: readonly string[];
}

/** Fields that have a form in OpenAI's words. */
const CARRIED = new Set([
	...[
		"model",
		"messages",
		"max_tokens",
		"system",
		"tools",
		"tool_choice",
		"thinking",
		"output_config",
		"output_format",
	],
	...["stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier", "cache_control"],
]);
/** Fields that go to Claude as they are. */
const CLAUDES = ["container", "context_management", "diagnostics", "inference_geo", "speed", "thinking"] as const;
/** Efforts that OpenAI's clients have, too. */
const EFFORTS = new Set(["none", "minimal", "low", "medium", "high", "xhigh", "max"]);

/** The request as a chat request. It may have been checked in `messages-validation.ts`. */
export function chatRequest(request: MessagesRequest, form: RequestForm): TranslatedRequest {
	const left = new Set<string>();
	const leaveOut: LeaveOut = (name) => left.add(name);
	const isClaude = form === "claude";
	const claudes: readonly string[] = isClaude ? CLAUDES : [];
	for (const [name, value] of Object.entries(request)) {
		if (value !== null && !CARRIED.has(name) && !claudes.includes(name)) leaveOut(name.slice(0, 64));
	}
	const { model, max_tokens, system, messages: turns, stream, temperature, top_p, top_k, stop_sequences } = request;
	const messages = [
		...systemMessages(system, form, leaveOut),
		...(form === "claude" ? claudeMessages(turns, leaveOut) : plainMessages(turns, form, leaveOut)),
	];
	const chat = {
		model,
		messages: messages.length > 0 ? messages : [{ role: "user", content: "" }],
		...toolFields(request, isClaude, leaveOut),
		max_completion_tokens: max_tokens,
		...(stream ? { stream } : {}),
		temperature: temperature ?? undefined,
		top_p: top_p ?? undefined,
		top_k: top_k ?? undefined,
		stop: stop_sequences?.length ? stop_sequences : undefined,
		user: userOf(request, isClaude),
		response_format: formatOf(request),
		...(isClaude ? claudeFields(request) : plainFields(request, leaveOut)),
	};
	return { text: JSON.stringify(chat), leftOut: leftOutNames(left) };
}

/** Longest name of an end user that OpenAI takes, characters. */
const LONGEST_USER = 64;

/** Longer names of users become their hash: the same each time, and nobody's name. */
function userOf({ metadata }: MessagesRequest, isClaude: boolean): string | undefined {
	const user = metadata?.user_id;
	if (!user) return undefined;
	if (isClaude || user.length <= LONGEST_USER) return user;
	return new Bun.SHA256().update(user).digest("hex");
}

function toolFields({ tools, tool_choice: choice }: MessagesRequest, isClaude: boolean, leaveOut: LeaveOut): object {
	const kept: MessagesTool[] = [];
	for (const tool of (tools ?? []) as MessagesTool[]) {
		// All others run at Anthropic's, or are known to Claude alone.
		if (isCustom(tool)) kept.push(tool);
		else leaveOut(tool.type!);
	}
	if (kept.length === 0) return {};
	return {
		tools: kept.map((tool) => toolOf(tool, isClaude)),
		tool_choice: choiceOf(choice, kept, isClaude),
		...(choice?.disable_parallel_tool_use === true ? { parallel_tool_calls: false } : {}),
	};
}

/** Whether the client runs it, and says what it takes. */
export const isCustom = ({ type }: MessagesTool): boolean => type == null || type === "custom";

function toolOf({ name, description, input_schema, strict, cache_control }: MessagesTool, isClaude: boolean): object {
	return {
		type: "function",
		function: {
			name: isClaude ? name : sentToolName(name!),
			description: description || undefined,
			parameters: input_schema ?? undefined,
			// OpenAI's rules for strict schemas are others, and without it answers are nearly the same.
			strict: isClaude && strict ? true : undefined,
		},
		...(isClaude && cache_control != null ? { cache_control } : {}),
	};
}

function choiceOf(choice: MessagesRequest["tool_choice"], tools: readonly MessagesTool[], isClaude: boolean): unknown {
	switch (choice?.type) {
		case "any":
			return "required";
		case "none":
			return "none";
		case "tool": {
			const name = (choice as { name?: unknown }).name;
			const chosen = tools.find((tool) => tool.name === name)?.name;
			if (chosen === undefined) return undefined;
			return { type: "function", function: { name: isClaude ? chosen : sentToolName(chosen) } };
		}
		default:
			return undefined;
	}
}

/** `output_config.format`, and the beta's `output_format`. */
function formatOf({ output_config, output_format }: MessagesRequest): object | undefined {
	const format = objectIn(output_config?.format) ?? objectIn(output_format);
	const schema = objectIn(format?.["schema"]);
	if (format?.["type"] !== "json_schema" || !schema) return undefined;
	return {
		type: "json_schema",
		json_schema: { name: "output", schema, strict: isStrictSchema(schema) ? true : undefined },
	};
}

/** What Claude alone has words for. */
function claudeFields(request: MessagesRequest): object {
	const own = Object.fromEntries(
		CLAUDES.flatMap((name) => (fieldOf(request, name) == null ? [] : [[name, fieldOf(request, name)]])),
	);
	const { format, ...output } = request.output_config ?? {};
	const anthropic = { ...own, ...(Object.keys(output).length > 0 ? { output_config: output } : {}) };
	return {
		cache_control: fieldOf(request, "cache_control") ?? undefined,
		service_tier: request.service_tier ?? undefined,
		...(Object.keys(anthropic).length > 0 ? { anthropic } : {}),
	};
}

const fieldOf = (request: MessagesRequest, name: string): unknown => (request as Record<string, unknown>)[name];

function plainFields(request: MessagesRequest, leaveOut: LeaveOut): object {
	// Standard is what all others have.
	if (request.service_tier != null && request.service_tier !== "auto") leaveOut("service_tier");
	return { reasoning_effort: effortOf(request, leaveOut) };
}

/** Budgets of thinking up to which an effort is low or medium, tokens. */
const LOW_BUDGET = 4096;
const MEDIUM_BUDGET = 12_288;

/** How hard the model is to think; undefined where that is left to it. Who asks for no thinking gets none where a model has a choice: `none` is refused by many. */
function effortOf({ thinking, output_config }: MessagesRequest, leaveOut: LeaveOut): string | undefined {
	const asked = output_config?.effort;
	if (thinking?.type === "disabled") return undefined;
	if (asked != null) {
		if (EFFORTS.has(asked)) return asked;
		leaveOut("output_config.effort");
	}
	const budget = thinking?.type === "enabled" ? thinking.budget_tokens : undefined;
	if (budget == null) return undefined;
	return budget <= LOW_BUDGET ? "low" : budget <= MEDIUM_BUDGET ? "medium" : "high";
}
