/**
 * Families of models → vLLM's tool-call and reasoning parsers. Without the first, vLLM answers 400 to every call that
 * brings tools; without the second, a model's reasoning is part of its answer. Pure.
 *
 * From vLLM's own pages (docs/features/tool_calling.md, reasoning_outputs.md) for the pinned image. A model's own
 * arguments win, and a model that no row knows gets neither: a wrong parser is worse than none.
 */

/** The parsers of a family; absent: none. */
export interface Parsers {
	readonly tools?: string;
	readonly reasoning?: string;
}

/** The first pattern that matches the lower-case name wins, so exceptions come before their family. */
const PARSERS: readonly (readonly [pattern: RegExp, parsers: Parsers])[] = [
	// They answer with vectors or scores.
	[/embed|rerank|reward|bge-|e5-|\bgte-/, {}],
	[/qwen3-?coder/, { tools: "qwen3_xml" }],
	[/qwen3\.[5-9]/, { tools: "qwen3_coder", reasoning: "qwen3" }],
	// These do not reason, and a reasoning parser would take the whole answer for reasoning.
	[/qwen3-.*(?:instruct|base)/, { tools: "hermes" }],
	[/qwen3-/, { tools: "hermes", reasoning: "qwen3" }],
	[/qwq-/, { tools: "hermes", reasoning: "deepseek_r1" }],
	// Distilled into Qwen and Llama: they reason as R1 does, and were not trained for tools.
	[/deepseek-r1.*(?:distill|qwen|llama)/, { reasoning: "deepseek_r1" }],
	[/deepseek-r1-0528/, { tools: "deepseek_v3", reasoning: "deepseek_r1" }],
	[/deepseek-r1/, { reasoning: "deepseek_r1" }],
	[/deepseek-v4/, { tools: "deepseek_v4", reasoning: "deepseek_v4" }],
	[/deepseek-v3\.2/, { tools: "deepseek_v32", reasoning: "deepseek_v3" }],
	[/deepseek-v3\.1/, { tools: "deepseek_v31", reasoning: "deepseek_v3" }],
	[/deepseek-v3/, { tools: "deepseek_v3" }],
	[/hermes-[2-4]/, { tools: "hermes" }],
	[/qwen2\.5-/, { tools: "hermes" }],
	[/llama-?4/, { tools: "llama4_pythonic" }],
	[/llama-?3\.[1-3]/, { tools: "llama3_json" }],
	[/magistral/, { tools: "mistral", reasoning: "mistral" }],
	[/mistral|ministral|devstral|mixtral/, { tools: "mistral" }],
	[/gpt-oss/, { tools: "openai", reasoning: "openai_gptoss" }],
	[/functiongemma/, { tools: "functiongemma" }],
	[/gemma-?4/, { tools: "gemma4", reasoning: "gemma4" }],
	[/granite-4/, { tools: "granite4" }],
	[/granite-3\.[2-3]/, { tools: "granite", reasoning: "granite" }],
	[/granite-3/, { tools: "granite" }],
	[/kimi-k2-thinking|kimi-k2\.[5-9]/, { tools: "kimi_k2", reasoning: "kimi_k2" }],
	[/kimi-k2/, { tools: "kimi_k2" }],
	[/glm-4\.7/, { tools: "glm47", reasoning: "glm47" }],
	[/glm-4\.[5-6]/, { tools: "glm45", reasoning: "glm45" }],
	[/minimax-m2/, { tools: "minimax_m2", reasoning: "minimax_m2" }],
	[/phi-4-mini/, { tools: "phi4_mini_json" }],
	[/seed-oss/, { tools: "seed_oss", reasoning: "seed_oss" }],
	[/olmo-3.*think/, { tools: "olmo3", reasoning: "olmo3" }],
	[/olmo-3/, { tools: "olmo3" }],
	[/hunyuan-a13b/, { tools: "hunyuan_a13b", reasoning: "hunyuan_a13b" }],
];

/** The parsers of a model, from its id or the last part of its path; both absent where no row knows it. */
export function parsersOf(model: string): Parsers {
	const name = model.slice(model.lastIndexOf("/") + 1).toLowerCase();
	return PARSERS.find(([pattern]) => pattern.test(name))?.[1] ?? {};
}

/** vLLM's 400 to a call with tools, when it was started without a parser for them. */
const NO_PARSER =
	/tool choice requires --enable-auto-tool-choice and\/?(?:or)? --tool-call-parser|requires --tool-call-parser/i;

/** A message in place of vLLM's own for a call with tools; undefined for any other message. `model`: its id. */
export function toolParserHint(message: string, model: string): string | undefined {
	if (!NO_PARSER.test(message)) return undefined;
	return `${model} runs without a tool-call parser, so it takes no tools: add to its \`args\` ["--enable-auto-tool-choice", "--tool-call-parser", "NAME"]; vLLM's page on tool calling lists the names`;
}
