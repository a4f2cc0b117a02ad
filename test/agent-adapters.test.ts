/** LoRA adapters as the agent knows them: from a model's arguments, and from what its containers list. */
import { describe, expect, test } from "bun:test";
import { AdapterList, type AdapterListOptions } from "../src/agent/models/adapter-list.ts";
import { agentFile } from "../src/agent/models/agent-file.ts";
import { ModelRegistry } from "../src/agent/models/model-registry.ts";
import type { SpecSettings } from "../src/agent/models/model-spec.ts";
import { specProblem } from "../src/agent/models/spec-problem.ts";
import { adapterNames, mayHaveAdapters } from "../src/agent/vllm/lora-modules.ts";
import { vllmArgs } from "../src/agent/vllm/vllm-args.ts";
import type { AgentModelConfig } from "../src/config/agent-schema.ts";

const MODULES = "--lora-modules";
const model = (name: string, ...args: string[]): AgentModelConfig => ({ model: "a/b", name, load: "on-demand", args });

describe("a model's arguments", () => {
	test.each([
		[[], []],
		[["--enable-lora"], []],
		[
			[MODULES, "sql=/adapters/sql", "chat=org/chat", "--max-loras", "2"],
			["sql", "chat"],
		],
		[["--lora_modules", "sql=/a"], ["sql"]],
		[[`${MODULES}=sql=/a`, "--max-loras=2"], ["sql"]],
		[["--lora-mod", "sql=/a"], ["sql"]],
		[
			[MODULES, '{"name": "sql", "path": "/a", "base_model_name": "b"}', "x=/b"],
			["sql", "x"],
		],
		// vLLM takes the last of them.
		[[MODULES, "one=/a", MODULES, "two=/b"], ["two"]],
		[["--max-lora-rank", "64", "--lora-dtype", "auto"], []],
	] as [string[], string[]][])("%p name the adapters %p", (args, names) => {
		expect([...adapterNames(args)]).toEqual(names);
		expect(specProblem({ name: "base", model: "a/b", args }, "config")).toBeUndefined();
	});

	test.each([
		[[MODULES], 'names no adapter: ["--lora-modules", "sql=/adapters/sql"]'],
		[[MODULES, "sql"], '"sql" of "--lora-modules" is neither name=path nor'],
		[[MODULES, "a=b=c"], "is neither name=path nor"],
		[[MODULES, "sql="], "is neither name=path nor"],
		[[MODULES, '{"name":"sql"}'], "is neither name=path nor"],
		[[MODULES, "../x=/a"], "has no name for calls"],
		[[MODULES, "=/a"], "has no name for calls"],
		[[MODULES, "sql=/a", "sql=/b"], 'two adapters of "--lora-modules" are called "sql"'],
		[[MODULES, "base=/a"], 'the adapter "base" has the name of its own model'],
		[[MODULES, "sql=/a", "--no-enable-lora"], "exclude each other"],
	])("%p are refused: %s", (args, words) => {
		const problem = specProblem({ name: "base", model: "a/b", args }, "api");
		expect(problem).toStartWith("args: ");
		expect(problem).toContain(words);
	});

	test("with adapters get the switch without which vLLM takes none", () => {
		const settings: SpecSettings = {
			agent: "gpu-1",
			command: "docker",
			accelerator: "cpu",
			cacheDir: "/data",
			env: [],
			shutdownTimeoutS: 30,
			sleep: false,
		};
		const argsOf = (...args: string[]) =>
			vllmArgs({ name: "base", model: "a/b", args }, { replica: 0, devices: [], bytes: 0 }, settings, "vllm:1");
		expect(argsOf(MODULES, "sql=/a")).toContain("--enable-lora");
		expect(argsOf(MODULES, "sql=/a", "--enable-lora").filter((word) => word === "--enable-lora")).toHaveLength(1);
		expect(argsOf()).not.toContain("--enable-lora");
	});

	test("say whether adapters may come while it runs", () => {
		expect(mayHaveAdapters(["--enable-lora"])).toBe(true);
		expect(mayHaveAdapters([MODULES, "sql=/a"])).toBe(true);
		expect(mayHaveAdapters(["--max-loras", "1"])).toBe(false);
		expect(mayHaveAdapters()).toBe(false);
	});
});

describe("names that would lead to two", () => {
	/** Keeps nothing. */
	const file = { content: {}, update: () => undefined };
	test.each([
		[
			"an adapter and a model",
			[model("base", MODULES, "sql=/a"), model("sql")],
			'agent.models[1].name: "sql" is the name of an adapter of "base"',
		],
		[
			"a model and an adapter",
			[model("sql"), model("base", MODULES, "sql=/a")],
			'agent.models[1].args: the adapter "sql" has the name of another model',
		],
		[
			"adapters of two models",
			[model("one", MODULES, "sql=/a"), model("two", MODULES, "sql=/b")],
			'agent.models[1].args: the adapter "sql" has the name of an adapter of "one"',
		],
	])("are refused in the configuration: %s", (_, models, words) => {
		expect(() => new ModelRegistry(models, file)).toThrow(words);
	});

	test("are refused by the API, and a model may be described again", () => {
		const registry = new ModelRegistry([model("base", MODULES, "sql=/a"), model("other")], file);
		expect(() => registry.order("sql", "load", { model: "a/b" })).toThrow('is the name of an adapter of "base"');
		const body = (name: string) => ({ model: "a/b", args: [MODULES, `${name}=org/x`] });
		expect(() => registry.order("new", "load", body("other"))).toThrow("has the name of another model");
		expect(() => registry.order("new", "load", body("sql"))).toThrow('has the name of an adapter of "base"');
		registry.order("new", "load", body("free"));
		registry.order("new", "load", body("free"));
		expect(registry.baseOf("free")?.spec.name).toBe("new");
	});
});

describe("the list", () => {
	/** Of models, with the adapters that each of their containers lists. */
	function listOf(models: AgentModelConfig[], containers: [model: string, adapters: string[] | undefined][] = []) {
		const lines: string[] = [];
		const registry = new ModelRegistry(models, agentFile("/nowhere"));
		const items = containers.map(([name, adapters]) => ({ model: name, monitor: { adapters } }));
		const log = { logger: { warn: (_: object, text: string) => lines.push(text) } };
		const options = { registry, inventory: { items }, log } as unknown as AdapterListOptions;
		const list = new AdapterList(options);
		return { list, lines, of: (name: string) => [...list.of(registry.get(name)!)] };
	}

	test("has those that a model is started with, whether it runs or not", () => {
		const { list, of } = listOf([model("base", MODULES, "sql=/a")]);
		expect(of("base")).toEqual(["sql"]);
		expect(list.baseOf("sql")?.spec.name).toBe("base");
		expect([list.baseOf("base"), list.baseOf("none")]).toEqual([undefined, undefined]);
	});

	test("has those that were loaded since, once all containers that have answered list them", () => {
		const base = model("base", "--enable-lora", MODULES, "sql=/a");
		expect(listOf([base], [["base", ["sql", "late"]]]).of("base")).toEqual(["sql", "late"]);
		const uneven: [string, string[]][] = [
			["base", ["sql", "late", "both"]],
			["base", ["sql", "both"]],
		];
		expect(listOf([base], uneven).of("base")).toEqual(["sql", "both"]);
		// One that starts has said nothing yet.
		expect(listOf([base], [...uneven.slice(0, 1), ["base", undefined]]).of("base")).toEqual(["sql", "late", "both"]);
	});

	test("leaves out a loaded one whose name leads elsewhere, and says so once", () => {
		const models = [model("base", "--enable-lora"), model("other", "--enable-lora", MODULES, "sql=/a")];
		const { of, list, lines } = listOf(models, [
			["base", ["other", "sql", "first", "fine", "no/../name"]],
			["other", ["sql", "first"]],
		]);
		for (let turn = 0; turn < 2; turn++) {
			expect(of("base")).toEqual(["first", "fine"]);
			expect(of("other")).toEqual(["sql"]);
		}
		expect(list.baseOf("sql")?.spec.name).toBe("other");
		expect(lines).toEqual([
			'The adapter "other" of "base" is not served: another model has that name. Load it under another one.',
			'The adapter "sql" of "base" is not served: another model has that name. Load it under another one.',
			'The adapter "first" of "other" is not served: another model has that name. Load it under another one.',
		]);
	});
});
