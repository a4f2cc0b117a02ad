/** The arguments of `vllm serve`: a model's own, and what the agent adds where they do not set it. Pure. */

import { argumentProblem } from "../../config/agent-args.ts";
import type { Finding } from "../../config/config-error.ts";
import { shortText } from "../../short-text.ts";
import type { ModelSpec, Placement, SpecSettings } from "../models/model-spec.ts";
import { adapterNames } from "./lora-modules.ts";
import { parsersOf } from "./tool-parsers.ts";
import { acceleratorOf, isAtLeast } from "./vllm-image.ts";

/** vLLM's short forms. */
const SHORT_FLAGS: Record<string, string> = {
	"-tp": "--tensor-parallel-size",
	"-pp": "--pipeline-parallel-size",
	"-dp": "--data-parallel-size",
};

/** Most of a word that a message repeats, characters. */
const MAX_SHOWN = 100;

/** Flags that are the agent's, with what to use instead. */
const RESERVED_FLAGS: Record<string, string> = {
	"--port": "the agent chooses the port",
	"--host": "the agent publishes it on loopback",
	"--uds": "the agent talks to it over TCP",
	"--model": "set `model`",
	"--served-model-name": "set `name`",
	"--api-key": "the agent makes one for each container",
	"--hf-token": "set HF_TOKEN in the agent's environment",
	"--config": "write its options into `args`",
	"--root-path": "the agent calls it at the root",
	"--ssl-keyfile": "the agent talks to it on loopback",
	"--ssl-certfile": "the agent talks to it on loopback",
	"--headless": "the agent needs its HTTP server",
	"--grpc": "the agent needs its HTTP server",
};

/** Flags that are nothing without a value, of those that people set. Others are left to vLLM. */
const VALUE_FLAGS = new Set([
	...Object.values(SHORT_FLAGS),
	"--max-model-len",
	"--max-num-seqs",
	"--max-num-batched-tokens",
	"--gpu-memory-utilization",
	"--kv-cache-memory-bytes",
	"--kv-cache-dtype",
	"--block-size",
	"--dtype",
	"--quantization",
	"--tokenizer",
	"--tokenizer-mode",
	"--revision",
	"--load-format",
	"--seed",
	"--chat-template",
	"--tool-call-parser",
	"--reasoning-parser",
	"--hf-overrides",
	"--speculative-config",
	"--limit-mm-per-prompt",
	"--max-loras",
	"--max-lora-rank",
	"--swap-space",
	"--cpu-offload-gb",
	"--shutdown-timeout",
	"--max-num-queued-reqs",
	"--max-num-queued-tokens",
	"--sse-keep-alive-interval",
]);

/** `--max_model_len=4096`, `-tp 2` → flags in vLLM's spelling and their values (empty for a switch); the last one counts. */
export function flagsOf(args: readonly string[]): ReadonlyMap<string, string> {
	const flags = new Map<string, string>();
	args.forEach((word, index) => {
		const [, written, inline] = /^\s*(--?[A-Za-z][^=\s]*)(?:=(.*)|\s.*)?$/s.exec(word) ?? [];
		if (!written) return;
		const next = args[index + 1] ?? "";
		// `--max-model-len -1` has a value, `--enforce-eager -tp 2` has none.
		const value = inline ?? (/^--?[A-Za-z]/.test(next) ? "" : next);
		flags.set(SHORT_FLAGS[written] ?? written.replaceAll("_", "-"), value);
	});
	return flags;
}

/** Why these arguments can't be taken: a finding for each that can't. No value is repeated. */
export function argsProblems(args: readonly string[]): Finding[] {
	return args.flatMap((word, index) => {
		const message = reservedProblem(word) ?? wordProblem(word, index) ?? valueProblem(word, args[index + 1]);
		return message === undefined ? [] : [{ path: ["args"], at: ["args", index], message }];
	});
}

function reservedProblem(word: string): string | undefined {
	const [flag = ""] = flagsOf([word]).keys();
	// Python's argparse takes every beginning of a flag for the flag.
	const reserved = Object.keys(RESERVED_FLAGS).find(
		(name) => name === flag || (flag.length > 3 && name.startsWith(flag)),
	);
	return reserved && `"${flag}" is not yours to set: ${RESERVED_FLAGS[reserved]}`;
}

function wordProblem(word: string, index: number): string | undefined {
	const problem = argumentProblem(word);
	if (problem !== undefined) return `number ${index + 1} ${problem}`;
	if (word.includes("\0")) return "a NUL character can't be passed to a program";
	if (index > 0 || word.startsWith("-")) return undefined;
	return `"${shortText(word, MAX_SHOWN)}" comes before any flag, which begins with --: the model is named by \`model\`, and \`serve\` is the image's own`;
}

/** Python's argparse takes what begins with a dash and is no number for the next flag. */
function valueProblem(word: string, next: string | undefined): string | undefined {
	const flag = SHORT_FLAGS[word] ?? word.replaceAll("_", "-");
	if (!VALUE_FLAGS.has(flag) || (next !== undefined && !/^--?[A-Za-z]/.test(next))) return undefined;
	return `"${word}" has no value: it is the next entry, or behind a =`;
}

/** Whether an entry of `devices` is a MIG device. */
export const isMig = (device: number | string): boolean => typeof device === "string" && device.startsWith("MIG-");

/** How many GPUs one replica spans: by its arguments, else `gpus`, else its share of `devices`, else 1. 0: the CPU. */
export function gpusPerReplica({ gpus, devices, replicas = 1, args = [] }: ModelSpec): number {
	const flags = flagsOf(args);
	const sizes = Object.values(SHORT_FLAGS).map((flag) => Number(flags.get(flag) ?? 0));
	const given = sizes.filter((size) => size >= 1);
	if (given.length > 0) return given.reduce((product, size) => product * size);
	if (devices?.some(isMig)) return gpus ?? 1;
	return gpus ?? (devices ? Math.max(1, Math.floor(devices.length / replicas)) : 1);
}

/**
 * Calls that one vLLM may have, those that wait in it included, before it refuses more (503); by default it takes any number. The agent's own
 * limit (`agent.queue.running`) is far below: only who else calls that port, or asks for many answers in one call, meets this one.
 */
const MAX_QUEUED_REQS = 4096;
/** A stream of vLLM's that is silent for so long, s, gets a comment: proxies and NAT between agent and router see that it lives. */
const KEEP_ALIVE_S = 15;

/** Flags that only the versions know which are pinned from 0.32 on: an older vLLM ends with a usage error. */
function newerArgs(image: string): [flag: string, value: string][] {
	if (!isAtLeast(image, 0, 32)) return [];
	return [
		["--max-num-queued-reqs", String(MAX_QUEUED_REQS)],
		["--sse-keep-alive-interval", String(KEEP_ALIVE_S)],
	];
}

/** All arguments after the image's name; the first is the model. `image` may be of a version that lacks some flags. */
export function vllmArgs(spec: ModelSpec, placement: Placement, settings: SpecSettings, image: string): string[] {
	const args = spec.args ?? [];
	const given = flagsOf(args);
	const added: string[] = [];
	const add = (unless: readonly string[], ...words: string[]) => {
		if (!unless.some((flag) => given.has(flag))) added.push(...words);
	};
	const gpus = placement.devices.length;
	const { tools, reasoning } = parsersOf(spec.model);
	if (gpus > 1) add(Object.values(SHORT_FLAGS), "--tensor-parallel-size", String(gpus));
	if (placement.share !== undefined) {
		// Given the size of the KV cache, vLLM ignores the share.
		const unless = ["--gpu-memory-utilization", "--kv-cache-memory-bytes", "--kv-cache-memory"];
		add(unless, "--gpu-memory-utilization", String(placement.share));
	}
	if (placement.maxModelLen !== undefined) add(["--max-model-len"], "--max-model-len", String(placement.maxModelLen));
	if (tools) {
		const unless = ["--tool-call-parser", "--enable-auto-tool-choice", "--no-enable-auto-tool-choice"];
		add(unless, "--enable-auto-tool-choice", "--tool-call-parser", tools);
	}
	if (reasoning) add(["--reasoning-parser"], "--reasoning-parser", reasoning);
	if (adapterNames(args).length > 0) add(["--enable-lora"], "--enable-lora");
	add(["--shutdown-timeout"], "--shutdown-timeout", String(settings.shutdownTimeoutS));
	for (const [flag, value] of newerArgs(image)) add([flag], flag, value);
	if (canSleep(spec, settings)) add(["--enable-sleep-mode", "--no-enable-sleep-mode"], "--enable-sleep-mode");
	return [spec.model, "--served-model-name", spec.name, ...added, ...args];
}

/** Whether its container gets `--enable-sleep-mode`: vLLM has it for CUDA alone. */
export function canSleep(spec: ModelSpec, settings: SpecSettings): boolean {
	return settings.sleep && acceleratorOf(spec, settings) === "nvidia";
}

/** Seconds between SIGTERM and SIGKILL: what vLLM gives its running requests, and 10 to end. */
export function stopGraceS({ args = [] }: ModelSpec, { shutdownTimeoutS }: SpecSettings): number {
	return (Number(flagsOf(args).get("--shutdown-timeout") || Number.NaN) || shutdownTimeoutS) + 10;
}
