/** The look-alike of vLLM schedules, caches, breaks and sleeps as vLLM does. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Json } from "./kit/exchange.ts";
import { chat, choices, ends, error, hi, MODEL, stream, textOf } from "./kit/vllm-sim-client.ts";
import { type Sim, startSim } from "./kit/vllm-sim-process.ts";

// Each starts a process or three, which is nothing on an idle machine.
setDefaultTimeout(60_000);

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
		const { status, json } = await chat(sim, hi());
		expect([status, error(json).message]).toEqual([500, "cannot schedule new futures after shutdown"]);
		expect((await fetch(`${sim.origin}/health`)).status).toBe(200);
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
