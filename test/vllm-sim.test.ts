/** The look-alike of vLLM behaves as vLLM does, as far as the agent and the router can tell. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Json } from "./kit/exchange.ts";
import { FAILURES } from "./kit/vllm-sim/switches.ts";
import { type Sim, type SimOptions, startSim } from "./kit/vllm-sim-process.ts";

// Each starts a process or three, which is nothing on an idle machine.
setDefaultTimeout(60_000);

const MODEL = "Qwen/Qwen3-0.6B";
const hi = (content = "hi") => ({ model: MODEL, messages: [{ role: "user", content }] });

async function post(sim: Sim, path: string, body: unknown, headers: Record<string, string> = {}) {
	const answer = await fetch(`${sim.origin}${path}`, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: typeof body === "string" ? body : JSON.stringify(body),
	});
	const text = await answer.text();
	const isJson = answer.headers.get("content-type")?.includes("json");
	return { status: answer.status, text, json: (isJson ? JSON.parse(text) : {}) as Json, headers: answer.headers };
}
const chat = (sim: Sim, body: Json, headers?: Record<string, string>) =>
	post(sim, "/v1/chat/completions", body, headers);

/** A stream's events without the mark of the end, and whether that came. */
async function stream(sim: Sim, body: Json, path = "/v1/chat/completions") {
	const { text, status, headers } = await post(sim, path, { ...body, stream: true });
	const events = text.split("\n\n").filter(Boolean);
	const done = events.at(-1) === "data: [DONE]";
	return {
		status,
		headers,
		done,
		chunks: (done ? events.slice(0, -1) : events).map((event) => JSON.parse(event.slice("data: ".length)) as Json),
	};
}
interface Choice {
	readonly index: number;
	readonly finish_reason: string | null;
	readonly delta: { content?: string; reasoning?: string; role?: string; tool_calls?: readonly ToolCall[] };
	readonly message: { content: string | null; reasoning: string | null; tool_calls: readonly ToolCall[] };
	readonly text: string;
}
interface ToolCall {
	readonly id?: string;
	readonly function: { readonly name?: string; readonly arguments: string };
}
const choices = (json: Json) => json["choices"] as readonly Choice[];
const textOf = (chunks: readonly Json[]) =>
	chunks
		.flatMap(choices)
		.map(({ delta, text }) => delta?.content ?? text ?? "")
		.join("");
const error = (json: Json) => json["error"] as { message: string; type: string; param: string | null; code: number };

/** Starts one that isn't expected to serve, and waits for its end. */
async function ends(options: SimOptions) {
	await using sim = await startSim({ ...options, ready: false });
	const code = await sim.exited;
	// Its pipes end with it; their last lines come a moment later.
	for (let look = 0; look < 50 && sim.output() === ""; look++) await Bun.sleep(10);
	return { code, output: sim.output() };
}

describe("answers", () => {
	let sim: Sim;
	let other: Sim;
	beforeAll(async () => {
		const args = ["--served-model-name", MODEL, "alias", "--enable-auto-tool-choice", "--tool-call-parser", "hermes"];
		[sim, other] = await Promise.all([
			startSim({ args: [...args, "--enable-prompt-tokens-details"] }),
			startSim({ args: ["--served-model-name", MODEL] }),
		]);
	});
	afterAll(async () => {
		await Promise.all([sim.stop(), other.stop()]);
	});

	test("are the same for the same conversation, from every replica, and others for others", async () => {
		const [first, again, elsewhere, different] = await Promise.all([
			chat(sim, hi()),
			chat(sim, hi()),
			chat(other, hi()),
			chat(sim, hi("ho")),
		]);
		const content = (answer: { json: Json }) => choices(answer.json)[0]!.message.content;
		expect(first.status).toBe(200);
		expect(content(first)!.length).toBeGreaterThan(20);
		expect(content(again)).toBe(content(first));
		expect(content(elsewhere)).toBe(content(first));
		expect(content(different)).not.toBe(content(first));
	});

	test("streamed have the same text, a role first, a reason last, and usage where it is asked for", async () => {
		const whole = await chat(sim, hi());
		const { status, chunks, done, headers } = await stream(sim, { ...hi(), stream_options: { include_usage: true } });
		expect([status, done, headers.get("content-type")]).toEqual([200, true, "text/event-stream; charset=utf-8"]);
		expect(textOf(chunks)).toBe(choices(whole.json)[0]!.message.content!);
		expect(choices(chunks[0]!)[0]!.delta.role).toBe("assistant");
		const last = chunks.at(-1)!;
		const { prompt_tokens, completion_tokens } = whole.json["usage"] as Record<string, number>;
		expect(last["choices"]).toEqual([]);
		expect(last["usage"]).toMatchObject({ prompt_tokens, completion_tokens });
		const reasons = chunks.slice(0, -1).map((chunk) => choices(chunk)[0]!.finish_reason);
		expect(reasons.filter(Boolean)).toEqual(["stop"]);
		expect(reasons.at(-1)).toBe("stop");
		// A role, every token, and usage.
		expect(chunks.length).toBe(completion_tokens! + 2);
	});

	test("end at max_tokens, and go on to there with ignore_eos", async () => {
		const short = await chat(sim, { ...hi(), max_tokens: 3 });
		expect(choices(short.json)[0]!.finish_reason).toBe("length");
		expect((short.json["usage"] as Json)["completion_tokens"]).toBe(3);
		const long = await chat(sim, { ...hi(), max_tokens: 200, ignore_eos: true });
		expect((long.json["usage"] as Json)["completion_tokens"]).toBe(200);
		expect(choices(long.json)[0]!.message.content).toStartWith(choices(short.json)[0]!.message.content!);
	});

	test("stop before a stop string, which is told", async () => {
		const content = choices((await chat(sim, hi())).json)[0]!.message.content!;
		const stop = content.split(" ")[3]!;
		const cut = choices((await chat(sim, { ...hi(), stop: [stop] })).json)[0]!;
		expect(cut).toMatchObject({ finish_reason: "stop", stop_reason: stop });
		expect(cut.message.content).toBe(content.slice(0, content.indexOf(stop)));
	});

	test("continue a partial answer exactly, wherever it was cut", async () => {
		const content = choices((await chat(sim, hi())).json)[0]!.message.content!;
		for (const at of [0, 1, 9, 17, content.length - 1, content.length]) {
			const messages = [...hi().messages, { role: "assistant", content: content.slice(0, at) }];
			const body = { model: MODEL, messages, add_generation_prompt: false, continue_final_message: true };
			const { chunks } = await stream(sim, body);
			expect(content.slice(0, at) + textOf(chunks)).toBe(content);
			expect(chunks.flatMap(choices).at(-1)!.finish_reason).toBe("stop");
		}
	});

	test("go on in other words after a beginning that isn't theirs", async () => {
		const messages = [...hi().messages, { role: "assistant", content: "Once upon a time" }];
		const body = { model: MODEL, messages, add_generation_prompt: false, continue_final_message: true };
		const content = choices((await chat(sim, body)).json)[0]!.message.content!;
		expect(content).toMatch(/^ \S+/);
		const both = await chat(sim, { ...body, add_generation_prompt: true });
		expect([both.status, error(both.json).message]).toEqual([
			400,
			"Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
		]);
	});

	test("come n at a time", async () => {
		const { json } = await chat(sim, { ...hi(), n: 3, max_tokens: 5 });
		const texts = choices(json).map(({ message }) => message.content);
		expect(new Set(texts).size).toBe(3);
		const { chunks } = await stream(sim, { ...hi(), n: 3, max_tokens: 5 });
		const streamed = texts.map((_, index) =>
			textOf(chunks.map((chunk) => ({ choices: choices(chunk).filter((choice) => choice.index === index) }))),
		);
		expect(streamed).toEqual(texts as string[]);
	});

	const tools = [
		{
			type: "function",
			function: {
				name: "get_weather",
				parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } },
			},
		},
	];
	const args = { city: "river", days: 7 };

	test("call a tool that the message names, streamed too, and talk otherwise", async () => {
		const body = { ...hi("use get_weather"), tools };
		const called = choices((await chat(sim, body)).json)[0]!;
		expect(called).toMatchObject({ finish_reason: "tool_calls", message: { content: null } });
		expect(JSON.parse(called.message.tool_calls[0]!.function.arguments)).toEqual(args);
		const { chunks } = await stream(sim, body);
		const deltas = chunks.flatMap(choices).flatMap(({ delta }) => delta.tool_calls ?? []);
		expect(deltas.map((delta) => delta.function.name).filter(Boolean)).toEqual(["get_weather"]);
		expect(JSON.parse(deltas.map((delta) => delta.function.arguments).join(""))).toEqual(args);
		const talk = choices((await chat(sim, { ...hi(), tools })).json)[0]!;
		expect(talk).toMatchObject({ finish_reason: "stop", message: { tool_calls: [] } });
		const required = choices((await chat(sim, { ...hi(), tools, tool_choice: "required" })).json)[0]!;
		expect(required.message.tool_calls).toHaveLength(1);
	});

	test("are JSON of the schema that is asked for", async () => {
		const schema = tools[0]!.function.parameters;
		const response_format = { type: "json_schema", json_schema: { name: "w", schema } };
		const { json } = await chat(sim, { ...hi(), response_format });
		expect(JSON.parse(choices(json)[0]!.message.content!)).toEqual(args);
	});

	test("to a plain prompt, one or several", async () => {
		const one = await post(sim, "/v1/completions", { model: MODEL, prompt: "Once" });
		expect(one.json).toMatchObject({ object: "text_completion", usage: { completion_tokens: 16 } });
		const two = await post(sim, "/v1/completions", { model: MODEL, prompt: ["Once", "Twice"] });
		expect(choices(two.json).map(({ index }) => index)).toEqual([0, 1]);
		expect(choices(two.json)[0]!.text).toBe(choices(one.json)[0]!.text);
		const { chunks, done } = await stream(sim, { model: MODEL, prompt: "Once" }, "/v1/completions");
		expect([textOf(chunks), done]).toEqual([choices(one.json)[0]!.text, true]);
	});

	test("list every name, and take each", async () => {
		const { data } = (await (await fetch(`${sim.origin}/v1/models`)).json()) as { data: Json[] };
		expect(
			data.map(({ id, object, owned_by, root, parent, max_model_len }) => [
				id,
				object,
				owned_by,
				root,
				parent,
				max_model_len,
			]),
		).toEqual([
			[MODEL, "model", "vllm", MODEL, null, 40_960],
			["alias", "model", "vllm", MODEL, null, 40_960],
		]);
		expect((await chat(sim, { ...hi(), model: "alias" })).json["model"]).toBe("alias");
	});

	test("count tokens", async () => {
		const { json } = await post(sim, "/tokenize", hi());
		expect(json["count"]).toBe(((await chat(sim, hi())).json["usage"] as Json)["prompt_tokens"]);
		expect((json["tokens"] as number[]).length).toBe(json["count"] as number);
	});
});

describe("refusals", () => {
	let sim: Sim;
	beforeAll(async () => {
		sim = await startSim({ args: ["--max-model-len", "100", "--api-key", "key-1"] });
	});
	afterAll(() => sim.stop());
	const key = { authorization: "Bearer key-1" };

	test.each([
		["another model", { ...hi(), model: "nope" }, 404, "The model `nope` does not exist.", "NotFoundError"],
		[
			"a long prompt",
			hi("word ".repeat(120)),
			400,
			"This model's maximum context length is 100 tokens. However, your request has 133 input tokens. Please reduce the length of the input messages.",
			"BadRequestError",
		],
		[
			"too long an answer",
			{ ...hi(), max_tokens: 95 },
			400,
			"'max_tokens' or 'max_completion_tokens' is too large: 95. This model's maximum context length is 100 tokens and your request has 10 input tokens (95 > 100 - 10).",
			"BadRequestError",
		],
		[
			"tools without a parser",
			{ ...hi(), tools: [{ type: "function", function: { name: "f" } }] },
			400,
			'"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
			"BadRequestError",
		],
		["no messages", { model: MODEL }, 400, "'loc': ('body', 'messages'), 'msg': 'Field required'", "Bad Request"],
		["no JSON", "{", 400, "JSON decode error", "Bad Request"],
	] as [string, Json | string, number, string, string][])("%s", async (_, body, status, message, type) => {
		const { status: got, json } = await post(sim, "/v1/chat/completions", body, key);
		expect(got).toBe(status);
		expect(error(json)).toMatchObject({ type, code: status });
		expect(error(json).message).toContain(message);
	});

	test("a missing or wrong key, below /v1 only", async () => {
		for (const headers of [undefined, { authorization: "Bearer key-2" }]) {
			const { status, json } = await chat(sim, hi(), headers);
			expect([status, json]).toEqual([401, { error: "Unauthorized" }]);
		}
		expect((await chat(sim, { ...hi(), max_tokens: 2 }, key)).status).toBe(200);
		expect((await post(sim, "/tokenize", { prompt: "hi" })).status).toBe(200);
		expect((await fetch(`${sim.origin}/health`)).status).toBe(200);
	});

	test("paths and methods it hasn't, the sleep routes among them", async () => {
		const status = async (path: string, method = "GET") => (await fetch(`${sim.origin}${path}`, { method })).status;
		expect(await status("/nope")).toBe(404);
		expect(await status("/health", "POST")).toBe(405);
		expect(await status("/sleep?level=1", "POST")).toBe(404);
	});

	test("embeddings by a model that generates, and the other way round", async () => {
		const body = { model: MODEL, input: "hi" };
		expect((await post(sim, "/v1/embeddings", body, key)).status).toBe(400);
		await using pooling = await startSim({ model: "Qwen/Qwen3-Embedding-0.6B" });
		const input = { model: "Qwen/Qwen3-Embedding-0.6B", input: ["hi", "ho", "hi"] };
		const { status, json } = await post(pooling, "/v1/embeddings", input);
		const [a, b, c] = (json["data"] as { embedding: number[] }[]).map(({ embedding }) => embedding);
		expect([status, a!.length]).toEqual([200, 384]);
		expect(c).toEqual(a!);
		expect(b).not.toEqual(a!);
		expect((await chat(pooling, { ...hi(), model: input.model })).status).toBe(400);
	});
});

describe("the command line", () => {
	test.each([
		[
			"an unknown option",
			["--tensor-paralel-size", "2"],
			2,
			"vllm: error: unrecognized arguments: --tensor-paralel-size",
		],
		["`serve` twice", ["serve", "x"], 2, "vllm: error: unrecognized arguments: serve"],
		[
			"a number that is none",
			["--max-num-seqs", "many"],
			2,
			"vllm serve: error: argument --max-num-seqs: invalid int value: 'many'",
		],
		["an option without its value", ["--tool-call-parser"], 2, "argument --tool-call-parser: expected one argument"],
		["JSON that is none", ["--hf-overrides", "{"], 2, "argument --hf-overrides: Value { cannot be converted"],
		[
			"more context than the model has",
			["--max-model-len", "1M"],
			1,
			"User-specified max_model_len (1048576) is greater than the derived max_model_len",
		],
		[
			"a parser that isn't there",
			["--enable-auto-tool-choice", "--tool-call-parser", "qwen"],
			1,
			"invalid tool call parser: qwen",
		],
		[
			"tools without a parser",
			["--enable-auto-tool-choice"],
			1,
			"--enable-auto-tool-choice requires --tool-call-parser",
		],
		[
			"a cache for less than one request",
			["--kv-cache-memory-bytes", "10M"],
			1,
			"KV cache is needed, which is larger than the available KV cache memory",
		],
	] as [string, string[], number, string][])("%s ends it as in vLLM", async (_, args, code, words) => {
		const ended = await ends({ args });
		expect(ended.output).toContain(words);
		expect(ended.code).toBe(code);
	});

	test("takes what the agent gives, in every way it may be written", async () => {
		await using sim = await startSim({
			args: [
				...["-tp", "2", "--gpu_memory_utilization=0.5", "--max-model-len", "16k", "--dtype", "auto"],
				...[
					"--reasoning-parser",
					"qwen3",
					"--trust-remote-code",
					"--no-enable-prefix-caching",
					"-O3",
					"--swap-space",
					"4",
				],
				...["--enable-sleep-mode", "--cpu-offload-gb", "0", "--shutdown-timeout", "30", "--quantization", "fp8"],
				...["--limit-mm-per-prompt.image", "2", "--hf-overrides", '{"a":1}', "--served-model-name", "a", "b"],
			],
		});
		const { data } = (await (await fetch(`${sim.origin}/v1/models`)).json()) as { data: Json[] };
		expect(data.map(({ id, max_model_len }) => [id, max_model_len])).toEqual([
			["a", 16_000],
			["b", 16_000],
		]);
	});

	test("takes no switch of ours that isn't one", async () => {
		expect(await ends({ env: { SIM_FIAL: "gated" } })).toMatchObject({
			code: 70,
			output: "no such switch: SIM_FIAL\n",
		});
	});
});

describe("a start", () => {
	test("says how far it is, in vLLM's order", async () => {
		await using sim = await startSim({ env: { SIM_SHARDS: "2" } });
		const marks = [
			"vLLM API server version",
			"Starting to load model Qwen/Qwen3-0.6B",
			"torch.compile takes",
			"GPU KV cache size: 163,840 tokens",
			"Graph capturing finished in",
			"init engine (profile, create kv cache, warmup model) took",
			"Starting vLLM API server 0 on http://127.0.0.1:",
		];
		const places = marks.map((mark) => sim.output().indexOf(mark));
		expect(places).toEqual(places.toSorted((a, b) => a - b));
		expect(places[0]).toBeGreaterThan(-1);
		// These come on standard error.
		for (const percent of ["  0% Completed | 0/2", " 50% Completed | 1/2", "100% Completed | 2/2"]) {
			expect(sim.output()).toContain(`Loading safetensors checkpoint shards: ${percent}`);
		}
		expect(sim.output()).toContain("INFO:     Application startup complete.");
	});

	/** What a person has to find in the log: the table of log lines in the agent's design. */
	const LINES: Record<(typeof FAILURES)[number], string> = {
		"gpu-memory-taken": "GiB) on startup is less than desired GPU memory utilization (0.9,",
		"kv-cache-too-small": "the estimated maximum model length is",
		"no-cache-memory": "No available memory for the cache blocks",
		"cuda-oom": "CUDA out of memory",
		unsupported: "are not supported for now",
		"not-inspected": "failed to be inspected",
		"no-device": "Failed to infer device type",
		gated: "gated repo",
		unauthorized: "401 Client Error",
		"unknown-model": "is not a valid model identifier",
		"port-taken": "[Errno 98]",
		traceback: "CUDA error: an illegal instruction was encountered",
	};
	test.each([...FAILURES])("fails as told: %s", async (failure) => {
		const { code, output } = await ends({ env: { SIM_FAIL: failure } });
		expect(code).toBe(1);
		expect(output).toContain(LINES[failure]);
		const inEngine = ["gpu-memory-taken", "kv-cache-too-small", "no-cache-memory", "cuda-oom", "traceback"];
		expect(output.includes("Engine core initialization failed. See root cause above")).toBe(inEngine.includes(failure));
		expect(output).not.toContain("Application startup complete.");
	});

	test("fails where memory doesn't do, and tells the length that would", async () => {
		const { output } = await ends({ model: "Qwen/Qwen3-8B", env: { SIM_GPU_GIB: "24" } });
		const length = /estimated maximum model length is (\d+)/.exec(output)?.[1];
		expect(Number(length)).toBeGreaterThan(10_000);
		await using sim = await startSim({
			model: "Qwen/Qwen3-8B",
			env: { SIM_GPU_GIB: "24" },
			args: ["--max-model-len", length!],
		});
		expect(await sim.metric("vllm:num_requests_running")).toBe(0);
		expect((await ends({ model: "Qwen/Qwen3-32B", env: { SIM_GPU_GIB: "24" } })).output).toContain(
			"No available memory for the cache blocks",
		);
	});

	test("fails at a port that is taken", async () => {
		await using sim = await startSim();
		const port = Number(new URL(sim.origin).port);
		expect((await ends({ port })).output).toContain(`[Errno 98] error while attempting to bind on address`);
	});

	test("fails only so often, where it is told", async () => {
		const SIM_STATE_DIR = mkdtempSync(join(tmpdir(), "router-test-"));
		try {
			const env = { SIM_STATE_DIR, SIM_FAIL: "cuda-oom", SIM_FAIL_TIMES: "2" };
			expect((await ends({ env })).code).toBe(1);
			expect((await ends({ env })).code).toBe(1);
			await using sim = await startSim({ env });
			expect((await fetch(`${sim.origin}/health`)).status).toBe(200);
		} finally {
			rmSync(SIM_STATE_DIR, { recursive: true, force: true });
		}
	});

	test("stops on its way where it is told, and answers nobody", async () => {
		await using sim = await startSim({ env: { SIM_STALL: "graphs" }, ready: false });
		for (let look = 0; look < 4000 && !sim.output().includes("Maximum concurrency"); look++) await Bun.sleep(10);
		expect(sim.output()).toContain("GPU KV cache size");
		expect(sim.output()).not.toContain("Capturing CUDA graphs");
		expect(await sim.kill("SIGTERM")).toBe(0);
	});

	test("needs a GPU in the container only", async () => {
		expect((await ends({ env: { SIM_DEVICE: "cuda" } })).output).toContain("Failed to infer device type");
		await using sim = await startSim({ env: { SIM_DEVICE: "cuda", NVIDIA_VISIBLE_DEVICES: "0" } });
		expect((await fetch(`${sim.origin}/health`)).status).toBe(200);
	});
});

describe("an engine", () => {
	test("counts what it does, with Python's numbers and vLLM's labels", async () => {
		await using sim = await startSim({ args: ["--data-parallel-size", "2"] });
		await Promise.all([chat(sim, { ...hi(), max_tokens: 4 }), chat(sim, { ...hi("ho"), max_tokens: 4 })]);
		const text = await (await fetch(`${sim.origin}/metrics`)).text();
		expect(text).toContain(`vllm:num_requests_running{engine="1",model_name="${MODEL}"} 0.0\n`);
		expect(text).toContain("# TYPE vllm:prefix_cache_hits_total counter\n");
		expect(await sim.metric("vllm:generation_tokens_total")).toBe(8);
		expect(await sim.metric("vllm:prefix_cache_queries_total")).toBe(20);
		expect(await sim.metric("vllm:time_to_first_token_seconds_count")).toBe(2);
		expect(await sim.metric("vllm:kv_cache_usage_perc")).toBe(0);
		for (const line of text.split("\n").filter((each) => each && !each.startsWith("#"))) {
			expect(line).toMatch(/^vllm:\w+\{([a-z_]+="[^"]*",?)+\} [\d.e+-]+$/);
		}
	});

	test("knows a conversation's beginning again, by blocks of 16 tokens", async () => {
		await using sim = await startSim({ args: ["--enable-prompt-tokens-details"] });
		const messages = [{ role: "user", content: "A long beginning. ".repeat(40) }];
		const cached = (answer: { json: Json }) =>
			answer.json["usage"] as { prompt_tokens_details: { cached_tokens: number }; prompt_tokens: number };
		const first = await chat(sim, { model: MODEL, messages });
		expect(cached(first).prompt_tokens_details.cached_tokens).toBe(0);
		const content = choices(first.json)[0]!.message.content!;
		const next = [...messages, { role: "assistant", content }, { role: "user", content: "and then?" }];
		const second = cached(await chat(sim, { model: MODEL, messages: next }));
		const whole =
			cached(first).prompt_tokens + (first.json["usage"] as Json as { completion_tokens: number }).completion_tokens;
		// The prompt and the answer are there, but for their last block.
		expect(second.prompt_tokens_details.cached_tokens).toBeGreaterThan(whole - 32);
		expect(second.prompt_tokens_details.cached_tokens % 16).toBe(0);
		expect(await sim.metric("vllm:prefix_cache_hits_total")).toBe(second.prompt_tokens_details.cached_tokens);
	});

	test("forgets the oldest when its cache is full", async () => {
		await using sim = await startSim({ args: ["--max-model-len", "512"], env: { SIM_KV_TOKENS: "1024" } });
		const ask = (name: string) => chat(sim, { ...hi(`${name} says hello. `.repeat(50)), max_tokens: 1 });
		const hits = async (name: string) => {
			const before = await sim.metric("vllm:prefix_cache_hits_total");
			await ask(name);
			return (await sim.metric("vllm:prefix_cache_hits_total")) - before;
		};
		expect(await hits("a")).toBe(0);
		expect(await hits("a")).toBeGreaterThan(100);
		for (const name of ["b", "c", "d", "e", "f"]) await ask(name);
		expect(await hits("a")).toBe(0);
		expect(await hits("a")).toBeGreaterThan(100);
	});

	test("runs so many at a time, lets the others wait, and refuses those beyond its queue", async () => {
		await using sim = await startSim({ args: ["--max-num-seqs", "2", "--max-num-queued-reqs", "5"] });
		await sim.control({ hang: true });
		const calls = Array.from({ length: 5 }, (_, at) => chat(sim, { ...hi(String(at)), max_tokens: 2 }));
		for (let look = 0; look < 4000 && (await sim.metric("vllm:num_requests_waiting")) < 5; look++) await Bun.sleep(5);
		const refused = await chat(sim, hi());
		expect([refused.status, error(refused.json).code]).toEqual([503, 503]);
		await sim.control({ speed: 0.05, hang: false });
		for (let look = 0; look < 4000 && (await sim.metric("vllm:num_requests_running")) < 2; look++) await Bun.sleep(5);
		expect(await sim.metric("vllm:num_requests_running")).toBe(2);
		expect(await sim.metric("vllm:num_requests_waiting")).toBe(3);
		expect(await sim.metric("vllm:kv_cache_usage_perc")).toBeGreaterThan(0);
		await sim.control({ speed: 50 });
		expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
		expect(await sim.metric("vllm:kv_cache_usage_perc")).toBe(0);
	});

	test("sends the youngest back to the queue when memory runs out, and answers all", async () => {
		await using sim = await startSim({ args: ["--max-model-len", "256"], env: { SIM_KV_TOKENS: "256" } });
		const bodies = ["a", "b", "c"].map((name) => ({ ...hi(name), max_tokens: 150, ignore_eos: true }));
		const crowded = await Promise.all(bodies.map((body) => chat(sim, body)));
		expect(await sim.metric("vllm:num_preemptions_total")).toBeGreaterThan(0);
		const alone = await Promise.all(bodies.map((body) => chat(sim, body)));
		const texts = (answers: readonly { json: Json }[]) => answers.map(({ json }) => choices(json)[0]!.message.content);
		expect(texts(crowded)).toEqual(texts(alone));
		expect(await sim.metric("vllm:kv_cache_usage_perc")).toBe(0);
	});

	test("drops a call whose client left", async () => {
		await using sim = await startSim({ env: { SIM_SPEED: "0.5" } });
		const leave = new AbortController();
		const answer = await fetch(`${sim.origin}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({ ...hi(), stream: true, max_tokens: 4000, ignore_eos: true }),
			signal: leave.signal,
		});
		await answer.body!.getReader().read();
		expect(await sim.metric("vllm:num_requests_running")).toBe(1);
		leave.abort();
		for (let look = 0; look < 4000 && (await sim.metric("vllm:num_requests_running")) > 0; look++) await Bun.sleep(5);
		expect(await sim.metric("vllm:num_requests_running")).toBe(0);
		expect(await sim.metric("vllm:request_success_total")).toBe(1);
	});

	test("thinks before it speaks, where a parser tells thoughts apart", async () => {
		await using sim = await startSim({ args: ["--reasoning-parser", "qwen3"] });
		const { message } = choices((await chat(sim, hi())).json)[0]!;
		expect(message.reasoning!.length).toBeGreaterThan(5);
		const { chunks } = await stream(sim, hi());
		const deltas = chunks.flatMap(choices).map(({ delta }) => delta);
		expect(deltas.map(({ reasoning }) => reasoning ?? "").join("")).toBe(message.reasoning!);
		expect(textOf(chunks)).toBe(message.content!);
		const plain = await chat(sim, { ...hi(), chat_template_kwargs: { enable_thinking: false } });
		expect(choices(plain.json)[0]!.message).toMatchObject({ reasoning: null, content: message.content });
	});
});

describe("trouble", () => {
	test("an engine that hangs: no byte moves, and /health says 200", async () => {
		await using sim = await startSim({ env: { SIM_HANG_AFTER_TOKENS: "5" } });
		const answer = await fetch(`${sim.origin}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({ ...hi(), stream: true }),
		});
		const reader = answer.body!.getReader();
		let text = "";
		while (text.split("\n\n").length < 7) text += new TextDecoder().decode((await reader.read()).value);
		expect((await fetch(`${sim.origin}/health`)).status).toBe(200);
		expect(await sim.metric("vllm:num_requests_running")).toBe(1);
		expect(await sim.metric("vllm:generation_tokens_total")).toBe(5);
		await reader.cancel();
	});

	test("an engine that dies: an error in the stream, 500 and 503 after it, then the end", async () => {
		await using sim = await startSim({ env: { SIM_CRASH_AFTER_TOKENS: "5" } });
		const { chunks, done, status } = await stream(sim, hi());
		expect([status, done]).toEqual([200, true]);
		expect(error(chunks.at(-1)!)).toEqual({
			message: "EngineCore encountered an issue. See stack trace (above) for the root cause.",
			type: "InternalServerError",
			param: null,
			code: 500,
		});
		expect((await fetch(`${sim.origin}/health`)).status).toBe(503);
		expect((await chat(sim, hi())).status).toBe(500);
		expect(await sim.exited).toBe(1);
		expect(sim.output()).toContain("EngineCore encountered a fatal error.");
	});

	test("a process that dies: the connection breaks", async () => {
		await using sim = await startSim({ env: { SIM_CRASH: "exit", SIM_CRASH_AFTER_REQUESTS: "2" } });
		expect((await chat(sim, hi())).status).toBe(200);
		expect(await chat(sim, hi()).catch(() => "broken")).toBe("broken");
		expect(await sim.exited).toBe(137);
	});

	/** A stream that has begun, and what becomes of it. */
	async function begun(sim: Sim) {
		const answer = await fetch(`${sim.origin}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({ ...hi(), stream: true }),
		});
		const reader = answer.body!.getReader();
		await reader.read();
		const rest = (async () => {
			let text = "";
			for (;;) {
				const { value, done } = await reader.read();
				if (done) return text;
				text += new TextDecoder().decode(value);
			}
		})();
		// Wrapped: a promise would be waited for.
		return { rest: rest.catch(() => "broken") };
	}

	test("SIGTERM breaks what runs", async () => {
		await using sim = await startSim({ env: { SIM_SPEED: "0.2" } });
		const { rest } = await begun(sim);
		expect(await sim.kill("SIGTERM")).toBe(0);
		expect(await rest).toBe("broken");
	});

	test("SIGTERM waits with --shutdown-timeout, and takes no new call", async () => {
		await using sim = await startSim({ args: ["--shutdown-timeout", "30"], env: { SIM_SPEED: "1" } });
		const { rest } = await begun(sim);
		const ended = sim.kill("SIGTERM");
		for (let look = 0; look < 4000 && !sim.output().includes("Shutting down"); look++) await Bun.sleep(5);
		expect(await chat(sim, hi()).catch(() => "refused")).toBe("refused");
		expect(await rest).toContain("data: [DONE]");
		expect(await ended).toBe(0);
		expect(sim.output()).toContain("Finished server process");
	});

	test("aborted calls: a stream without a reason, and with nothing where nothing was said yet", async () => {
		await using sim = await startSim({ env: { SIM_SPEED: "0.2" } });
		const { rest } = await begun(sim);
		await sim.control({ abort: true });
		expect(await rest).toContain("[DONE]");
		expect(await rest).not.toContain('"finish_reason":"');
		await sim.control({ hang: true });
		const { headers, body } = await fetch(`${sim.origin}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({ ...hi(), stream: true }),
		});
		await sim.control({ abort: true });
		expect(headers.get("content-type")).toStartWith("text/event-stream");
		expect(await new Response(body).text()).toBe("data: [DONE]\n\n");
	});

	test("a model that is gated needs the right token", async () => {
		const env = { SIM_GATED: "hf_allowed" };
		expect((await ends({ env })).output).toContain("gated repo");
		expect((await ends({ env: { ...env, HF_TOKEN: "hf_wrong" } })).output).toContain("401 Client Error");
		await using sim = await startSim({ env: { ...env, HF_TOKEN: "hf_allowed" } });
		expect(sim.output()).not.toContain("hf_allowed");
	});
});

describe("sleep", () => {
	const env = { VLLM_SERVER_DEV_MODE: "1" };
	const args = ["--enable-sleep-mode"];
	const call = async (sim: Sim, path: string, method = "POST") => fetch(`${sim.origin}${path}`, { method });

	test("and waking leave an empty prefix cache", async () => {
		await using sim = await startSim({ args, env });
		await chat(sim, hi("x ".repeat(100)));
		expect((await call(sim, "/sleep?level=1")).status).toBe(200);
		expect(await (await call(sim, "/is_sleeping", "GET")).json()).toEqual({ is_sleeping: true });
		expect((await call(sim, "/health", "GET")).status).toBe(200);
		expect((await call(sim, "/wake_up")).status).toBe(200);
		expect(await (await call(sim, "/is_sleeping", "GET")).json()).toEqual({ is_sleeping: false });
		await chat(sim, hi("x ".repeat(100)));
		expect(await sim.metric("vllm:prefix_cache_hits_total")).toBe(0);
	});

	test("is for models that were started for it, and no time for calls", async () => {
		await using plain = await startSim({ env });
		expect((await call(plain, "/sleep?level=1")).status).toBe(500);
		await using sim = await startSim({ args, env });
		await call(sim, "/sleep?level=1");
		expect((await chat(sim, hi())).status).toBe(500);
		expect(await sim.exited).toBe(1);
	});

	test("gives a GPU's memory to another, and a GPU has no more than its memory", async () => {
		const SIM_GPU_DIR = mkdtempSync(join(tmpdir(), "router-test-"));
		const on = (share: string, NVIDIA_VISIBLE_DEVICES: string) => ({
			args: [...args, "--gpu-memory-utilization", share],
			env: { ...env, SIM_GPU_DIR, NVIDIA_VISIBLE_DEVICES },
		});
		try {
			await using one = await startSim(on("0.5", "0,1"));
			const two = await startSim(on("0.5", "0"));
			const refused = await ends(on("0.6", "1,2"));
			expect(refused.output).toContain("Free memory on device (39.60/79.20 GiB) on startup is less than desired");
			// What a refused one had claimed before is free again.
			await using three = await startSim(on("1", "2"));
			expect((await ends(on("0.1", "0"))).code).toBe(1);
			// A process that is killed leaves nothing taken, and one that sleeps little.
			await two.kill("SIGKILL");
			expect((await call(one, "/sleep?level=1")).status).toBe(200);
			await using four = await startSim(on("1", "0,1"));
			expect((await call(one, "/wake_up")).status).toBe(500);
			expect(await one.exited).toBe(1);
			expect([await three.metric("vllm:num_requests_running"), await four.metric("vllm:num_requests_running")]).toEqual(
				[0, 0],
			);
		} finally {
			rmSync(SIM_GPU_DIR, { recursive: true, force: true });
		}
	});
});
