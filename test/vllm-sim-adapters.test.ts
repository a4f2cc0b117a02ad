/** The look-alike of vLLM serves LoRA adapters as vLLM does. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { tmpdir } from "node:os";
import type { Json } from "./kit/exchange.ts";
import { chat, choices, error, hi, MODEL, post } from "./kit/vllm-sim-client.ts";
import { type Sim, startSim } from "./kit/vllm-sim-process.ts";

setDefaultTimeout(60_000);

describe("a start ends", () => {
	const failed = async (...args: string[]) => {
		const started = startSim({ args: ["--served-model-name", MODEL, ...args] });
		return String(
			await started.then(
				() => "it served",
				(thrown: Error) => thrown.message,
			),
		);
	};
	test.each([
		[["--lora-modules", "sql=org/sql"], "LoRA is not enabled. Use --enable-lora to enable LoRA."],
		[
			["--enable-lora", "--lora-modules", "sql=/nowhere"],
			"ValueError: Call to add_lora method failed: Loading lora sql failed: No adapter found for /nowhere",
		],
		[["--enable-lora", "--lora-modules", "a=b=c"], "too many values to unpack"],
		[["--enable-lora", "--lora-modules", "sql"], "Invalid JSON format for --lora-modules: sql"],
		[["--enable-lora", "--lora-modules", '{"name":"sql"}'], "Invalid fields for --lora-modules"],
		[["--enable-lora", "--lora-modules"], "argument --lora-modules: expected at least one argument"],
	] as const)("with %p in vLLM's words", async (args, words) => {
		expect(await failed(...args)).toContain(words);
	});
});

describe("adapters", () => {
	let sim: Sim;
	beforeAll(async () => {
		const modules = ["sql=org/sql", JSON.stringify({ name: "chat", path: tmpdir(), base_model_name: "base" })];
		sim = await startSim({
			args: [
				"--served-model-name",
				MODEL,
				"--enable-lora",
				"--lora-modules",
				...modules,
				"--enable-prompt-tokens-details",
			],
			env: { VLLM_ALLOW_RUNTIME_LORA_UPDATING: "1" },
		});
	});
	afterAll(() => sim.stop());
	const list = async () => ((await (await fetch(`${sim.origin}/v1/models`)).json()) as { data: Json[] }).data;
	const says = async (model: string, content = "hi") =>
		choices((await chat(sim, { ...hi(content), model })).json)[0]!.message.content;

	test("are listed with their parent and without a length", async () => {
		expect((await list()).map(({ id, root, parent, max_model_len }) => [id, root, parent, max_model_len])).toEqual([
			[MODEL, MODEL, null, 40_960],
			["sql", "org/sql", MODEL, null],
			["chat", tmpdir(), "base", null],
		]);
	});

	test("answer under their names, and not as their base does", async () => {
		const { status, json } = await chat(sim, { ...hi(), model: "sql" });
		expect([status, json["model"]]).toEqual([200, "sql"]);
		expect(new Set([await says(MODEL), await says("sql"), await says("chat")]).size).toBe(3);
		expect(error((await chat(sim, { ...hi(), model: "none" })).json).message).toBe("The model `none` does not exist.");
	});

	test("share no prefix with the base or each other", async () => {
		const content = "A beginning that fills some blocks of sixteen tokens each. ".repeat(20);
		const cached = async (model: string) => {
			const { json } = await chat(sim, { ...hi(content), model });
			return (
				(json["usage"] as { prompt_tokens_details: { cached_tokens?: number } }).prompt_tokens_details.cached_tokens ??
				0
			);
		};
		expect([await cached(MODEL), await cached("sql"), await cached("chat")]).toEqual([0, 0, 0]);
		expect(await cached("sql")).toBeGreaterThan(100);
	});

	test("are loaded and unloaded while it runs", async () => {
		const load = (body: Json) => post(sim, "/v1/load_lora_adapter", body);
		expect((await load({ lora_name: "late" })).status).toBe(400);
		expect(error((await load({ lora_name: "late", lora_path: "/nowhere" })).json).code).toBe(404);
		expect((await load({ lora_name: "late", lora_path: tmpdir() })).status).toBe(200);
		expect(error((await load({ lora_name: "late", lora_path: tmpdir() })).json).message).toContain(
			"already been loaded",
		);
		expect((await list()).map(({ id }) => id)).toContain("late");
		expect((await post(sim, "/v1/unload_lora_adapter", { lora_name: "late" })).status).toBe(200);
		expect((await post(sim, "/v1/unload_lora_adapter", { lora_name: "late" })).status).toBe(404);
		expect((await list()).map(({ id }) => id)).not.toContain("late");
	});
});

test("without VLLM_ALLOW_RUNTIME_LORA_UPDATING nothing can be loaded", async () => {
	await using sim = await startSim({ args: ["--enable-lora"] });
	expect((await post(sim, "/v1/load_lora_adapter", { lora_name: "a", lora_path: tmpdir() })).status).toBe(404);
});
