/** Chat requests of every kind that OpenAI's schema allows, with a mark in each text, so that a test can see what was lost. */
import type { Json } from "./exchange.ts";
import type { Random } from "./random.ts";
import { PIXEL } from "./scenarios.ts";

/** A request and the marks in it, those of messages in their order. */
export interface MarkedChat {
	readonly body: Json & { messages: Json[] };
	readonly marks: readonly string[];
	/** Marks of tools: their order is the tools' own. */
	readonly toolMarks: readonly string[];
	/** Marks of files in tool results, which may stand behind all results of their turn. */
	readonly fileMarks: readonly string[];
}

const TEXTS = ["Grüße 你好 🙂", 'a "quoted" \\ one', "line\nline\ttab", "{}", " "];

/** One request. Some hold fields that one vendor or both must refuse. */
export function randomChat(random: Random): MarkedChat {
	const marks: string[] = [];
	const toolMarks: string[] = [];
	const fileMarks: string[] = [];
	let count = 0;
	const newMark = () => `m${++count}x`;
	const mark = (into = marks) => {
		const one = newMark();
		into.push(one);
		return one;
	};
	const text = () => `${mark()} ${random.pick(TEXTS)}`;
	const maybe = (chance: number) => random.below(chance) === 0;
	const cache = () => (maybe(6) ? { cache_control: { type: "ephemeral" } } : {});
	const textPart = () => ({ type: "text", text: text(), ...cache() });
	const part = (): Json => {
		switch (random.below(9)) {
			case 0:
				return { type: "image_url", image_url: { url: `${PIXEL}${mark()}` }, ...cache() };
			case 1:
				return { type: "file", file: { file_data: `data:application/pdf;base64,${mark()}` } };
			case 2:
				return maybe(4) ? { type: "input_audio", input_audio: { data: mark(), format: "wav" } } : textPart();
			default:
				return textPart();
		}
	};
	const resultPart = (): Json =>
		maybe(3) ? { type: "image_url", image_url: { url: `${PIXEL}${mark(fileMarks)}` } } : textPart();
	const content = (one: () => Json) => (maybe(2) ? text() : Array.from({ length: 1 + random.below(3) }, one));

	const toolNames = Array.from({ length: random.below(4) }, (_, index) => `tool_${index}`);
	const tools = toolNames.map((name) => ({
		type: "function",
		function: {
			name,
			...(maybe(3) ? {} : { description: mark(toolMarks) }),
			...(maybe(5)
				? {}
				: {
						parameters: {
							type: "object",
							properties: {
								at: { type: "string", description: mark(toolMarks), ...(maybe(2) ? { minLength: 2 } : {}) },
							},
							required: ["at"],
							additionalProperties: false,
						},
					}),
			...(maybe(4) ? { strict: maybe(2) } : {}),
		},
		...cache(),
	}));

	const messages: Json[] = [];
	for (let i = random.below(3); i > 0; i--) {
		messages.push({ role: random.pick(["system", "developer"]), content: content(textPart) });
	}
	const turns = 1 + random.below(4);
	for (let turn = 0; turn < turns; turn++) {
		// A name stands before the text.
		const name = maybe(30) ? { name: mark() } : {};
		messages.push({ role: "user", ...name, content: content(part) });
		if (maybe(40)) messages.push({ role: "system", content: text() });
		if (turn === turns - 1 && maybe(2)) break;
		const calls = Array.from({ length: toolNames.length > 0 ? random.below(3) : 0 }, () => ({
			id: `call_${newMark()}`,
			type: "function",
			function: { name: random.pick(toolNames), arguments: "" },
		}));
		const said = calls.length > 0 && maybe(2) ? null : text();
		for (const { function: fn } of calls)
			fn.arguments = maybe(4) ? "" : `{"at": "${mark()}", "n": 12345678901234567890}`;
		messages.push({
			role: "assistant",
			content: said,
			refusal: null,
			...(calls.length > 0 ? { tool_calls: calls } : {}),
			...(maybe(4) ? { annotations: [], parsed: null } : {}),
		});
		for (const { id } of calls) {
			const result = maybe(2) ? text() : maybe(2) ? `{"found":"${mark()}"}` : content(resultPart);
			messages.push({ role: "tool", tool_call_id: id, content: result });
		}
	}
	return {
		body: { model: "m", messages, ...(tools.length > 0 ? { tools } : {}), ...options(random, toolNames) },
		marks,
		toolMarks,
		fileMarks,
	};
}

/** Fields that a request may have, and values for them. */
function options(random: Random, tools: readonly string[]): Json {
	const choices: Record<string, readonly unknown[]> = {
		temperature: [0, 0.5, 1, 1.7, null],
		top_p: [0.1, 1],
		top_k: [5],
		n: [1, 2],
		seed: [7],
		stop: ["END", ["A", "B"]],
		max_tokens: [100, 2000],
		max_completion_tokens: [3000, null],
		frequency_penalty: [0, 0.5],
		presence_penalty: [0, -1],
		logit_bias: [{}, { "50256": -100 }],
		logprobs: [false, true],
		top_logprobs: [0],
		user: ["someone"],
		safety_identifier: ["hash"],
		service_tier: ["auto", "default", "flex", "scale"],
		parallel_tool_calls: [true, false],
		reasoning_effort: ["none", "minimal", "low", "medium", "high", "xhigh", "max", null],
		response_format: [
			{ type: "text" },
			{ type: "json_object" },
			{
				type: "json_schema",
				json_schema: { name: "s", schema: { type: "object", properties: { a: { type: "string" } } } },
			},
			{ type: "json_schema", json_schema: { name: "s", schema: { type: "object" } } },
		],
		tool_choice: [
			"auto",
			"none",
			"required",
			...tools.map((name) => ({ type: "function", function: { name } })),
			{ type: "function", function: { name: "nobody" } },
			{
				type: "allowed_tools",
				allowed_tools: { mode: "auto", tools: tools.map((name) => ({ type: "function", function: { name } })) },
			},
			{ type: "grammar" },
		],
		metadata: [{ a: "b" }],
		store: [false, true],
		modalities: [["text"], ["text", "audio"]],
		verbosity: ["medium", "low"],
		web_search_options: [{}],
		prompt_cache_key: ["key"],
		prediction: [{ type: "content", content: "x" }],
		functions: [[], [{ name: "old" }]],
		something_new: [true, null],
	};
	const picked: Json = {};
	for (const [name, values] of Object.entries(choices)) {
		// Most requests have few fields; what nobody takes is rarer still.
		if (random.below(16) === 0) picked[name] = random.pick(values);
	}
	return picked;
}
