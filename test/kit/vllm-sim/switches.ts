/**
 * The sim's own settings, from SIM_… variables. Durations are milliseconds. The defaults make a start of 0.4 s and
 * about 2 ms a token: tests wait for nothing else.
 */

/** The lines of ../vllm-sim/failures.ts that a start can end with. */
export const FAILURES = [
	"gpu-memory-taken",
	"kv-cache-too-small",
	"no-cache-memory",
	"cuda-oom",
	"unsupported",
	"not-inspected",
	"no-device",
	"gated",
	"unauthorized",
	"unknown-model",
	"port-taken",
	"traceback",
] as const;
export type Failure = (typeof FAILURES)[number];

/** Where a start can stop for ever, in order. */
export const STAGES = ["begin", "weights", "compile", "kv-cache", "graphs", "server"] as const;
export type Stage = (typeof STAGES)[number];

/** What a sim was told to be. */
export interface Switches {
	/** SIM_SPEED: how much faster than a GPU; 1 is about an 8B model on an H100. */
	readonly speed: number;
	/** SIM_START_MS: from the first line to ready. */
	readonly startMs: number;
	/** SIM_SHARDS: files of weights, each with a line of progress. */
	readonly shards: number;
	/** SIM_FAIL: the start ends with this. SIM_FAIL_TIMES: only so often, counted in SIM_STATE_DIR. */
	readonly fail: Failure | undefined;
	readonly failTimes: number;
	readonly stateDir: string;
	/** SIM_STALL: the start's progress stops there. */
	readonly stall: Stage | undefined;
	/** SIM_CRASH: what dies: the process, or the engine (then /health is 503 for SIM_LINGER_MS before the end). */
	readonly crash: "exit" | "engine";
	readonly lingerMs: number;
	/** SIM_POISON: the engine dies of a call whose prompt has this text, as soon as that comes. */
	readonly poison: string | undefined;
	/** SIM_CRASH_AFTER_MS (since ready), SIM_CRASH_AFTER_REQUESTS, SIM_CRASH_AFTER_TOKENS: when it does; 0 never. */
	readonly crashAfterMs: number;
	readonly crashAfterRequests: number;
	readonly crashAfterTokens: number;
	/** SIM_HANG_AFTER_REQUESTS, SIM_HANG_AFTER_TOKENS: the engine stops there, /health says 200; 0 never. */
	readonly hangAfterRequests: number;
	readonly hangAfterTokens: number;
	/** SIM_DEVICE: `cuda` needs NVIDIA_VISIBLE_DEVICES, as a container has it with `--gpus`; `any` needs nothing. */
	readonly device: "cuda" | "cpu" | "any";
	/** SIM_GPU_GIB: memory of one GPU; given, what doesn't fit fails as in vLLM. */
	readonly gpuGib: number | undefined;
	/** SIM_KV_TOKENS: size of the KV cache, instead of what memory gives. */
	readonly kvTokens: number | undefined;
	/** SIM_ANSWER_TOKENS: length of every answer that isn't limited; else the conversation decides, 12 to 60. */
	readonly answerTokens: number | undefined;
	/** SIM_PACK: tokens of a stream that go out in one chunk at most; each chunk has a number of its own, from 1 on. */
	readonly pack: number;
	/** SIM_GATED: the model is gated, and this is the token that may read it: `HF_TOKEN` has to be it. */
	readonly gated: string | undefined;
	/** SIM_GPU_DIR: directory that stands for the memory of this host's GPUs (./gpu-share.ts). */
	readonly gpuDir: string | undefined;
	/** SIM_VERSION: of vLLM. */
	readonly version: string;
}

/** Throws when a variable isn't what it may be: a typo must not become a test that tests nothing. */
export function readSwitches(env: Record<string, string | undefined>): Switches {
	const known = new Set<string>();
	const text = (name: string) => {
		known.add(name);
		return env[name] || undefined;
	};
	const number = (name: string) => {
		const value = text(name);
		if (value !== undefined && !(Number(value) >= 0))
			throw new Error(`${name} must be a number of at least 0: ${value}`);
		return value === undefined ? undefined : Number(value);
	};
	const choice = <T extends string>(name: string, choices: readonly T[]) => {
		const value = text(name);
		if (value !== undefined && !choices.includes(value as T)) {
			throw new Error(`${name} must be one of ${choices.join(", ")}: ${value}`);
		}
		return value as T | undefined;
	};
	const switches: Switches = {
		speed: number("SIM_SPEED") || 5,
		startMs: number("SIM_START_MS") ?? 400,
		shards: number("SIM_SHARDS") ?? 4,
		fail: choice("SIM_FAIL", FAILURES),
		failTimes: number("SIM_FAIL_TIMES") ?? Number.POSITIVE_INFINITY,
		stateDir: text("SIM_STATE_DIR") ?? "/root/.cache/vllm",
		stall: choice("SIM_STALL", STAGES),
		crash: choice("SIM_CRASH", ["exit", "engine"]) ?? "engine",
		lingerMs: number("SIM_LINGER_MS") ?? 500,
		poison: text("SIM_POISON"),
		crashAfterMs: number("SIM_CRASH_AFTER_MS") ?? 0,
		crashAfterRequests: number("SIM_CRASH_AFTER_REQUESTS") ?? 0,
		crashAfterTokens: number("SIM_CRASH_AFTER_TOKENS") ?? 0,
		hangAfterRequests: number("SIM_HANG_AFTER_REQUESTS") ?? 0,
		hangAfterTokens: number("SIM_HANG_AFTER_TOKENS") ?? 0,
		device: choice("SIM_DEVICE", ["cuda", "cpu", "any"]) ?? "any",
		gpuGib: number("SIM_GPU_GIB"),
		kvTokens: number("SIM_KV_TOKENS"),
		answerTokens: number("SIM_ANSWER_TOKENS"),
		pack: number("SIM_PACK") || 1,
		gated: text("SIM_GATED"),
		gpuDir: text("SIM_GPU_DIR"),
		version: text("SIM_VERSION") ?? "0.33.0",
	};
	const stray = Object.keys(env).filter((name) => name.startsWith("SIM_") && !known.has(name));
	if (stray.length > 0) throw new Error(`no such switch: ${stray.join(", ")}`);
	return switches;
}
