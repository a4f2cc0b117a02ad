/** HTTP requests to one vLLM: health, models, metrics, sleep, tokens. */
import type { Transport } from "../../providers/provider.ts";
import { readText } from "../../proxy/net/read-body.ts";
import { parseVllmMetrics, type VllmMetrics } from "./vllm-metrics.ts";

/** Longest answer read, bytes. */
const MAX_ANSWER = 8 * 1024 * 1024;
/** How long an answer may take, ms: an API server may be busy. */
const PROBE_TIMEOUT_MS = 5000;

/** One vLLM. */
export interface VllmEndpoint {
	/** `http://127.0.0.1:8000` */
	readonly origin: string;
	readonly key?: string | undefined;
	readonly http: Transport;
}

/** `GET /health`: `up`; `unhealthy` for any other status (503: its engine died); `unreachable` without an answer. */
export async function probeHealth(vllm: VllmEndpoint): Promise<"up" | "unhealthy" | "unreachable"> {
	const answer = await request(vllm, "/health");
	if (!answer) return "unreachable";
	return answer.status === 200 ? "up" : "unhealthy";
}

/** One model that it serves. */
export interface ServedModel {
	readonly id: string;
	/** Tokens. */
	readonly maxModelLen?: number | undefined;
	/** Of a LoRA adapter: the model that it changes. */
	readonly parent?: string | undefined;
}

function servedModel({ id, ...more }: { id: string; max_model_len?: unknown; parent?: unknown }): ServedModel {
	const { max_model_len: length, parent } = more;
	return {
		id,
		maxModelLen: Number.isSafeInteger(length) ? Number(length) : undefined,
		parent: typeof parent === "string" && parent !== "" ? parent : undefined,
	};
}

/** What it serves, or the status it answered; undefined where it did not answer. */
export async function probeModels(vllm: VllmEndpoint): Promise<{ models?: ServedModel[]; status: number } | undefined> {
	const answer = await request(vllm, "/v1/models");
	if (answer?.status !== 200) return answer && { status: answer.status };
	try {
		const { data } = JSON.parse(answer.text) as { data?: { id?: unknown; [field: string]: unknown }[] };
		const named = (data ?? []).filter((each): each is { id: string } => typeof each?.id === "string");
		return { models: named.map(servedModel), status: 200 };
	} catch {
		return { status: 200 };
	}
}

/** Whether it sleeps; false where it can't. */
export async function probeSleeping(vllm: VllmEndpoint): Promise<boolean> {
	const answer = await request(vllm, "/is_sleeping");
	try {
		return answer?.status === 200 && (JSON.parse(answer.text) as { is_sleeping?: unknown }).is_sleeping === true;
	} catch {
		return false;
	}
}

/** `/metrics`, parsed and as text; undefined without an answer. */
export async function probeMetrics(vllm: VllmEndpoint): Promise<{ metrics: VllmMetrics; text: string } | undefined> {
	const answer = await request(vllm, "/metrics");
	return answer?.status === 200 ? { metrics: parseVllmMetrics(answer.text), text: answer.text } : undefined;
}

/** Puts it to sleep (level 1: weights to host memory) or wakes it. Throws an error whose message is one sentence. */
export async function setSleep(vllm: VllmEndpoint, what: "sleep" | "wake", ms: number): Promise<void> {
	const path = what === "sleep" ? "/sleep?level=1" : "/wake_up";
	const answer = await request(vllm, path, { body: "", ms });
	if (answer?.status !== 200) throw new Error(`it answered ${answer?.status ?? "nothing"} to ${path}`);
}

/** The tokens of a prompt, as the engine makes them of the same fields of a call; undefined where it does not say. @param body JSON */
export async function probeTokens(vllm: VllmEndpoint, body: string): Promise<number[] | undefined> {
	const answer = await request(vllm, "/tokenize", { body });
	if (answer?.status !== 200) return undefined;
	try {
		const { tokens } = JSON.parse(answer.text) as { tokens?: unknown };
		return Array.isArray(tokens) && tokens.every(Number.isInteger) ? (tokens as number[]) : undefined;
	} catch {
		return undefined;
	}
}

/**
 * Has it compute a prompt of these tokens, which stays in its prefix cache. The status; undefined where it did not answer, or the signal was
 * aborted, which has it stop. @param model as it serves it
 */
export async function prefill(
	vllm: VllmEndpoint,
	model: string,
	tokens: Uint32Array,
	signal: AbortSignal,
): Promise<number | undefined> {
	const body = JSON.stringify({ model, prompt: Array.from(tokens), max_tokens: 1, temperature: 0 });
	return (await request(vllm, "/v1/completions", { body, signal }))?.status;
}

async function request(
	{ origin, key, http }: VllmEndpoint,
	path: string,
	{ body, ms = PROBE_TIMEOUT_MS, signal }: { body?: string; ms?: number; signal?: AbortSignal } = {},
): Promise<{ status: number; text: string } | undefined> {
	try {
		const headers: Record<string, string> = {
			...(key && { authorization: `Bearer ${key}` }),
			...(body && { "content-type": "application/json" }),
		};
		const sent = { url: origin + path, headers, ...(body !== undefined && { body }) };
		const answer = await http.send(sent, signal ?? AbortSignal.timeout(ms));
		return { status: answer.status, text: await readText(answer, MAX_ANSWER) };
	} catch {
		return undefined;
	}
}
