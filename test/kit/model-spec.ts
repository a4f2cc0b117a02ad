/** A model of the configuration, and the settings of the agent that runs it. */
import type { ModelSpec, SpecSettings } from "../../src/agent/models/model-spec.ts";

export const SPEC: ModelSpec = { name: "chat", model: "Qwen/Qwen3-8B" };
export const SETTINGS: SpecSettings = {
	agent: "gpu-1",
	command: "docker",
	accelerator: "nvidia",
	cacheDir: "/data/huggingface",
	env: ["VLLM_API_KEY", "HF_TOKEN"],
	shutdownTimeoutS: 600,
	sleep: false,
};
