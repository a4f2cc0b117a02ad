/** Names of vLLM's parsers of tool calls and reasoning: a table of ours with another name fails here, as there. */
import { type Arguments, UsageError } from "./arguments.ts";

const words = (text: string) => new Set(text.trim().split(/\s+/));

const TOOLS = words(`
	apertus cohere_command3 cohere_command4 deepseek_v3 deepseek_v31 deepseek_v32 deepseek_v4 ernie45 functiongemma gemma4
	gigachat3 glm45 glm47 granite granite-20b-fc granite4 hermes hunyuan_a13b hy_v3 inkling internlm jamba kimi_k2 kimi_k3
	lfm2 llama3_json llama4_json llama4_pythonic longcat mimo minicpm5 minimax minimax_m2 minimax_m3 mistral olmo3 openai
	phi4_mini_json poolside_v1 pythonic qwen3_coder qwen3_xml seed_oss solar_open2 step3 step3p5 xlam`);
const REASONING = words(`
	cohere_command3 cohere_command4 deepseek_r1 deepseek_v3 deepseek_v4 ernie45 gemma4 glm45 glm47 granite holo2
	hunyuan_a13b hy_v3 inkling kimi_k2 kimi_k3 mimo minimax_m2 minimax_m2_append_think minimax_m3 mistral nemotron_v3 olmo3
	openai_gptoss poolside_v1 qwen3 seed_oss solar_open2 step3 step3p5`);

/** Throws UsageError with exit code 1, as vLLM's own check after its parser. */
export function checkParsers({ given }: Arguments): void {
	const tool = given.get("tool-call-parser")?.[0];
	const reasoning = given.get("reasoning-parser")?.[0];
	if (given.get("enable-auto-tool-choice")?.[0] === "true" && tool === undefined) {
		throw new UsageError("TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser", 1);
	}
	const custom = given.has("tool-parser-plugin") || given.has("reasoning-parser-plugin");
	if (tool !== undefined && !custom && !TOOLS.has(tool)) {
		throw new UsageError(`KeyError: 'invalid tool call parser: ${tool} (chose from { ${[...TOOLS].join(",")} })'`, 1);
	}
	if (reasoning !== undefined && !custom && !REASONING.has(reasoning)) {
		throw new UsageError(
			`KeyError: 'invalid reasoning parser: ${reasoning} (chose from { ${[...REASONING].join(",")} })'`,
			1,
		);
	}
}
