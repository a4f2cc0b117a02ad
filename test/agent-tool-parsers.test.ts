/** Which parsers a model's family needs, and what is said where they are missing. */
import { describe, expect, test } from "bun:test";
import { parsersOf, toolParserHint } from "../src/agent/vllm/tool-parsers.ts";
import { startSim } from "./kit/vllm-sim-process.ts";

describe("a family's parsers", () => {
	test.each([
		["Qwen/Qwen3-8B", { tools: "hermes", reasoning: "qwen3" }],
		["unsloth/Qwen3-8B-AWQ", { tools: "hermes", reasoning: "qwen3" }],
		["Qwen/Qwen3-30B-A3B-Instruct-2507", { tools: "hermes" }],
		["Qwen/Qwen3-Coder-30B-A3B-Instruct", { tools: "qwen3_xml" }],
		["Qwen/Qwen3-Embedding-8B", {}],
		["Qwen/Qwen2.5-7B-Instruct", { tools: "hermes" }],
		["meta-llama/Llama-3.1-8B-Instruct", { tools: "llama3_json" }],
		["meta-llama/Llama-4-Scout-17B-16E-Instruct", { tools: "llama4_pythonic" }],
		["deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", { reasoning: "deepseek_r1" }],
		["deepseek-ai/DeepSeek-V3.1", { tools: "deepseek_v31", reasoning: "deepseek_v3" }],
		["mistralai/Mistral-Small-3.2-24B-Instruct-2506", { tools: "mistral" }],
		["openai/gpt-oss-20b", { tools: "openai", reasoning: "openai_gptoss" }],
		["zai-org/GLM-4.6", { tools: "glm45", reasoning: "glm45" }],
		["/models/qwen3-8b", { tools: "hermes", reasoning: "qwen3" }],
		["facebook/opt-125m", {}],
	])("of %s", (model, parsers) => {
		expect(parsersOf(model)).toEqual(parsers);
	});

	test("whose lack makes vLLM answer 400 are explained, and nothing else is", () => {
		const said = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set';
		expect(toolParserHint(said, "facebook/opt-125m")).toContain(
			'["--enable-auto-tool-choice", "--tool-call-parser", "NAME"]',
		);
		expect(toolParserHint("the prompt is too long", "facebook/opt-125m")).toBeUndefined();
	});

	test("whose lack the look-alike answers as vLLM does", async () => {
		await using sim = await startSim({ args: ["--served-model-name", "chat"] });
		const answer = await fetch(`${sim.origin}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({
				model: "chat",
				messages: [{ role: "user", content: "hi" }],
				tools: [{ type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } }],
			}),
		});
		expect(answer.status).toBe(400);
		const { error } = (await answer.json()) as { error: { message: string } };
		expect(toolParserHint(error.message, "chat")).toStartWith("chat runs without a tool-call parser");
	});
});
