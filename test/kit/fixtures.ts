/**
 * Exchanges of our own, for every behaviour the recordings show: each scenario as
 * each upstream would answer it, whole and streamed. Written for this project from
 * the vendors' specifications; nothing is copied from the recordings.
 */

import type { Dialect } from "./dialects.ts";
import { DONE, event } from "./events.ts";
import type { Exchange, Json } from "./exchange.ts";
import { type Said, type ScenarioName, scenario } from "./scenarios.ts";

const CREATED = 1_760_000_000;
const PROMPT = 11;
const COMPLETION = 7;
const REASONING = 30;

/** How a fixture is asked for. */
export interface FixtureOptions {
	readonly stream?: boolean;
	/** `stream_options.include_usage`; the field is absent without it. */
	readonly usage?: boolean;
}

/** The exchange, its request as the client writes it (with the client's model name). */
export function fixture(upstream: Dialect, name: ScenarioName, { stream, usage }: FixtureOptions = {}): Exchange {
	const { ask, said } = scenario(name);
	const streamed = stream
		? { stream, ...(usage === undefined ? {} : { stream_options: { include_usage: usage } }) }
		: {};
	return {
		id: `${upstream.name}, ${name}${stream ? `, streamed${usage ? " with usage" : ""}` : ""}`,
		provider: upstream.name,
		request: {
			method: "POST",
			path: `${upstream.base}/chat/completions`,
			headers: { "content-type": "application/json" },
			body: { model: upstream.model, ...ask, ...streamed },
		},
		response: {
			status: 200,
			headers: {
				"content-type": stream ? "text/event-stream" : "application/json",
				"x-ratelimit-remaining-requests": "41",
			},
			...(stream ? { sse: sseOf(upstream, said) } : { body: answerOf(upstream, said) }),
		},
	};
}

/** Usage as this upstream counts it: xAI leaves reasoning out of `completion_tokens`, the total tells. */
export function usageOf(upstream: Dialect, said: Said): Json {
	const reasoning = said.reasoning === undefined ? 0 : REASONING;
	return {
		prompt_tokens: PROMPT,
		completion_tokens: COMPLETION + (upstream.countsReasoning ? reasoning : 0),
		total_tokens: PROMPT + COMPLETION + reasoning,
		prompt_tokens_details: { cached_tokens: 4 },
		completion_tokens_details: { reasoning_tokens: reasoning },
	};
}

function answerOf(upstream: Dialect, said: Said): Json {
	const message = {
		role: "assistant",
		content: said.content,
		refusal: said.refusal ?? null,
		...(said.reasoning === undefined ? {} : { [upstream.reasoning]: said.reasoning }),
		...(said.toolCalls ? { tool_calls: said.toolCalls.map(wholeCall) } : {}),
	};
	return {
		id: "chatcmpl-fixture",
		object: "chat.completion",
		created: CREATED,
		model: upstream.upstreamModel,
		choices: [{ index: 0, message, logprobs: null, finish_reason: said.finish, ...upstream.choiceExtra }],
		usage: usageOf(upstream, said),
		...upstream.extra,
	};
}

const wholeCall = ({ id, name, arguments: text }: NonNullable<Said["toolCalls"]>[number]) => ({
	id,
	type: "function",
	function: { name, arguments: text },
});

function sseOf(upstream: Dialect, said: Said): string {
	const chunk = (choices: unknown[], more: Json = {}) =>
		event({
			id: "chatcmpl-fixture",
			object: "chat.completion.chunk",
			created: CREATED,
			model: upstream.upstreamModel,
			...upstream.extra,
			choices,
			...more,
		});
	const choice = (delta: Json, finish_reason: string | null = null) => [
		{ index: 0, delta, finish_reason, ...upstream.choiceExtra },
	];
	const usage = { usage: usageOf(upstream, said) };
	const ending =
		upstream.usageChunk === "alone"
			? [chunk(choice({}, said.finish)), chunk([], usage)]
			: [chunk(choice({}, said.finish)), chunk(choice({ role: "assistant", content: "" }, said.finish), usage)];
	const deltas = [{ role: "assistant", content: said.content === null ? null : "" }, ...deltasOf(upstream, said)];
	return [upstream.comment ?? "", ...deltas.map((delta) => chunk(choice(delta))), ...ending, DONE].join("");
}

/** The message in pieces, as models stream it: arguments split inside tokens, the calls' pieces interleaved. */
function deltasOf(upstream: Dialect, said: Said): Json[] {
	const words = (text = "") => text.split(/(?<=\s)/).filter(Boolean);
	const calls = said.toolCalls ?? [];
	const halves = (part: (text: string) => string) =>
		calls.map((call, index) => ({ tool_calls: [{ index, function: { arguments: part(call.arguments) } }] }));
	return [
		...words(said.reasoning).map((text) => ({ [upstream.reasoning]: text })),
		...words(said.content ?? undefined).map((content) => ({ content })),
		...words(said.refusal).map((refusal) => ({ refusal })),
		...calls.map(({ id, name }, index) => ({
			tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }],
		})),
		...halves((text) => text.slice(0, 5)),
		...halves((text) => text.slice(5)),
	];
}
