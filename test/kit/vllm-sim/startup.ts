/** A start, line by line in vLLM's order, over the time it was given. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { adaptersFault } from "./adapters.ts";
import type { Arguments } from "./arguments.ts";
import { fail, serverFailed } from "./failures.ts";
import { api, engine, err } from "./log.ts";
import type { Model } from "./model.ts";
import type { Stage, Switches } from "./switches.ts";

/** What a start needs. */
export interface Start {
	readonly args: Arguments;
	readonly model: Model;
	readonly switches: Switches;
	readonly env: Record<string, string | undefined>;
	/** Claims the GPUs' memory; tells how much of one is free where that isn't enough. */
	readonly claim: () => { readonly free: number } | undefined;
}

/** Which stage a failure ends: what is checked before weights, and what only after. */
const FAILS_AT: Partial<Record<string, Stage>> = {
	"cuda-oom": "weights",
	"kv-cache-too-small": "kv-cache",
	"no-cache-memory": "kv-cache",
};

/** Resolves with an exit code when the start failed, else with nothing. Never resolves where it stalls. */
export async function start({ args, model, switches, env, claim }: Start): Promise<number | undefined> {
	const { startMs, shards, version } = switches;
	const failure = problem({ args, model, switches, env });
	const gpu = switches.gpuGib ?? 80;
	const enter = async (stage: Stage): Promise<number | undefined> => {
		if (switches.stall === stage) await new Promise<never>(() => {});
		return failure && (FAILS_AT[failure] ?? "begin") === stage ? fail(failure, model, gpu) : undefined;
	};
	const seconds = (share: number) => ((startMs * share) / 1000).toFixed(2);
	const given = [...args.given].map(([name, values]) => `'${name.replaceAll("-", "_")}': ${python(name, values)}`);

	api("api_server.py:1772", `vLLM API server version ${version}`);
	api("utils.py:253", `non-default args: {${[`'model_tag': '${args.model}'`, ...given].join(", ")}}`);
	let ended = await enter("begin");
	if (ended !== undefined) return ended;
	await Bun.sleep(startMs * 0.1);
	api("model.py:637", "Resolved architecture: Qwen3ForCausalLM");
	api("model.py:1750", `Using max model len ${model.maxLength}`);
	api("scheduler.py:228", `Chunked prefill is enabled with max_num_batched_tokens=${model.batchTokens}.`);
	engine(
		"core.py:93",
		`Initializing a V1 LLM engine (v${version}) with config: model='${model.root}', speculative_config=None, tokenizer='${model.root}', skip_tokenizer_init=False, dtype=torch.bfloat16, max_seq_len=${model.maxLength}, tensor_parallel_size=${model.tensorParallel}, served_model_name=${model.names[0]}`,
	);
	engine(
		"parallel_state.py:1203",
		`world_size=${model.tensorParallel} rank=0 local_rank=0 distributed_init_method=tcp://172.17.0.2:45391 backend=nccl`,
	);
	const taken = claim();
	if (taken) return fail("gpu-memory-taken", model, gpu, taken.free);
	engine("gpu_model_runner.py:3562", `Starting to load model ${model.root}...`);
	ended = await enter("weights");
	if (ended !== undefined) return ended;
	engine(
		"cuda.py:351",
		"Using FLASH_ATTN attention backend out of potential backends: ('FLASH_ATTN', 'FLASHINFER', 'TRITON_ATTN', 'FLEX_ATTENTION')",
	);
	for (let shard = 0; shard <= shards; shard++) {
		const percent = String(Math.round((shard / shards) * 100)).padStart(3);
		const rate = shard === 0 ? "00:00<?, ?it/s" : `00:0${shard % 10}<00:0${(shards - shard) % 10},  1.04s/it`;
		err(`\rLoading safetensors checkpoint shards: ${percent}% Completed | ${shard}/${shards} [${rate}]`);
		if (shard < shards) await Bun.sleep((startMs * 0.4) / shards);
	}
	err("");
	engine("default_loader.py:308", `Loading weights took ${seconds(0.4)} seconds`);
	engine(
		"gpu_model_runner.py:3659",
		`Model loading took ${(model.weightsGib / model.tensorParallel).toFixed(4)} GiB memory and ${seconds(0.45)} seconds`,
	);
	await enter("compile");
	if (!args.given.has("enforce-eager")) {
		engine(
			"backends.py:643",
			"Using cache directory: /root/.cache/vllm/torch_compile_cache/8f0a3c1b22/rank_0_0/backbone for vLLM's torch.compile",
		);
		engine("backends.py:703", `Dynamo bytecode transform time: ${seconds(0.1)} s`);
		await Bun.sleep(startMs * 0.2);
		engine("monitor.py:34", `torch.compile takes ${seconds(0.2)} s in total`);
	}
	ended = await enter("kv-cache");
	if (ended !== undefined) return ended;
	await Bun.sleep(startMs * 0.1);
	const tokens = model.kvTokens.toLocaleString("en-US");
	engine("gpu_worker.py:375", `Available KV cache memory: ${model.kvGib.toFixed(2)} GiB`);
	engine("kv_cache_utils.py:1291", `GPU KV cache size: ${tokens} tokens`);
	engine(
		"kv_cache_utils.py:1296",
		`Maximum concurrency for ${model.maxLength.toLocaleString("en-US")} tokens per request: ${(model.kvTokens / model.maxLength).toFixed(2)}x`,
	);
	await enter("graphs");
	if (!args.given.has("enforce-eager")) {
		for (const [done, bar] of [
			[0, "          "],
			[34, "█████     "],
			[67, "██████████"],
		] as const) {
			process.stderr.write(
				`\rCapturing CUDA graphs (mixed prefill-decode, PIECEWISE): ${String(Math.round((done / 67) * 100)).padStart(3)}%|${bar}| ${done}/67 [00:0${done % 4}<00:00, 26.13it/s]`,
			);
			await Bun.sleep(startMs * 0.05);
		}
		err("");
		engine(
			"gpu_model_runner.py:4587",
			`Graph capturing finished in ${Math.ceil((startMs * 0.15) / 1000)} secs, took 0.61 GiB`,
		);
	}
	engine("core.py:259", `init engine (profile, create kv cache, warmup model) took ${seconds(0.45)} seconds`);
	await enter("server");
	await Bun.sleep(startMs * 0.05);
	const fault = adaptersFault(args, model.adapters.values());
	if (fault) return serverFailed(fault);
	for (const { name, path } of model.adapters.values()) {
		api("serving.py:174", `Loaded new LoRA adapter: name '${name}', path '${path}'`);
	}
	api("api_server.py:1520", "Supported tasks: ['generate']");
	return undefined;
}

/** Python's way to write an option's value. */
function python(name: string, values: readonly string[]): string {
	const one = (value: string) => {
		if (name === "api-key") return "'***'";
		if (value === "true" || value === "false") return value === "true" ? "True" : "False";
		return /^\d+(\.\d+)?$/.test(value) ? value : `'${value}'`;
	};
	return name === "served-model-name" || name === "api-key" || name === "lora-modules"
		? `[${values.map(one).join(", ")}]`
		: one(values[0]!);
}

/** What this start fails with: as told, or because something doesn't fit. */
function problem({ model, switches, env }: Pick<Start, "args" | "model" | "switches" | "env">) {
	if (switches.fail && starts(switches) <= switches.failTimes) return switches.fail;
	if (switches.device === "cuda" && !env["NVIDIA_VISIBLE_DEVICES"]) return "no-device";
	if (switches.gated && env["HF_TOKEN"] !== switches.gated) return env["HF_TOKEN"] ? "unauthorized" : "gated";
	if (model.root === "serve") return "unknown-model";
	if (model.kvGib <= 0) return "no-cache-memory";
	return model.kvTokens < model.maxLength ? "kv-cache-too-small" : undefined;
}

/** Counts starts in a file, where only some are to fail: the directory outlives the container. */
function starts({ failTimes, stateDir }: Switches): number {
	if (failTimes === Number.POSITIVE_INFINITY) return 1;
	mkdirSync(stateDir, { recursive: true });
	const file = join(stateDir, "sim-starts");
	let before = 0;
	try {
		before = Number(readFileSync(file, "utf8"));
	} catch {
		// The first start.
	}
	writeFileSync(file, String(before + 1));
	return before + 1;
}

/** The lines between a started engine and a server that answers. */
export function sayServing(host: string, port: number, routes: readonly string[]): void {
	api("api_server.py:1847", `Starting vLLM API server 0 on http://${host}:${port}`);
	api("launcher.py:38", "Available routes are:");
	for (const route of routes) api("launcher.py:46", `Route: ${route}`);
	err("(APIServer pid=1) INFO:     Started server process [1]");
	err("(APIServer pid=1) INFO:     Waiting for application startup.");
	err("(APIServer pid=1) INFO:     Application startup complete.");
}
