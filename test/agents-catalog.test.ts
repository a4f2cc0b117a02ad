/** Agents' models among the other names: what leads to them, what never does, and what is said where none serves. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createKeyAuth } from "../src/accounts/auth/keys.ts";
import { isAllowed, permittedRoute } from "../src/api/model-access.ts";
import { listModels, oneModel } from "../src/api/model-queries.ts";
import { RouterError } from "../src/errors.ts";
import { createCatalog } from "../src/routing/catalog.ts";
import { directory } from "./kit/cli.ts";
import type { Json } from "./kit/exchange.ts";
import { type FleetRig, fleetRig } from "./kit/fleet.ts";
import { configOf, entriesOf } from "./kit/pipeline.ts";

let home: ReturnType<typeof directory>;
let rig: FleetRig;
beforeEach(() => {
	home = directory();
	rig = fleetRig(home.path);
});
afterEach(() => {
	rig.close();
	home[Symbol.dispose]();
});

/** The agents' catalog, with these settings beside them. */
function catalog(settings: Json = {}, env: Record<string, string> = {}) {
	const config = configOf(settings, env);
	return createCatalog(config, entriesOf(config, env), rig.fleet);
}
const ids = (name: string, from = catalog()) => from.find(name)?.targets.map(({ id }) => id);
function refusal(name: string, from = catalog(), isVisible?: (name: string) => boolean): RouterError {
	try {
		from.resolve(name, isVisible);
	} catch (thrown) {
		if (thrown instanceof RouterError) return thrown;
	}
	throw new Error(`${name} resolved`);
}

describe("an agent's model", () => {
	beforeEach(async () => {
		await rig.register("gpu-1", ["qwen3-8b", "Qwen/Qwen3-8B"]);
		await rig.register("gpu-2", ["qwen3-8b"]);
	});

	test.each([
		["local/qwen3-8b", ["local/gpu-1/qwen3-8b", "local/gpu-2/qwen3-8b"]],
		["qwen3-8b", ["local/gpu-1/qwen3-8b", "local/gpu-2/qwen3-8b"]],
		["local/Qwen/Qwen3-8B", ["local/gpu-1/Qwen/Qwen3-8B"]],
		["Qwen/Qwen3-8B", ["local/gpu-1/Qwen/Qwen3-8B"]],
		["local/gpu-2/qwen3-8b", ["local/gpu-2/qwen3-8b"]],
		["local", ["local/gpu-1/qwen3-8b", "local/gpu-2/qwen3-8b"]],
		["local-anything", ["local/gpu-1/qwen3-8b", "local/gpu-2/qwen3-8b"]],
	])("answers to %s", (name, targets) => expect(ids(name)).toEqual(targets));

	test("comes with what its agent said of it, for the choice", async () => {
		await rig.register("gpu-3", [
			{ name: "qwen3-8b", state: "stopped", load: "on-demand", max_model_len: 32_768, waiting: 3 },
		]);
		const { targets } = catalog({ models: [{ name: "fast", targets: ["local/qwen3-8b", "dummy"] }] }).find("fast")!;
		expect(
			targets.map(({ kind, position: place, readiness, isReplica }) => [kind, place, readiness, isReplica]),
		).toEqual([
			["local", 0, 0, true],
			["local", 0, 0, true],
			["local", 0, 4, true],
			["cloud", 1, undefined, false],
		]);
		expect(targets[2]).toMatchObject({ context: 32_768, reportedWaiting: 3, agent: "gpu-3" });
	});

	test("is called by its own name in the metrics", () => {
		expect(catalog().find("local")).toMatchObject({ label: "qwen3-8b", reason: "2 agents" });
	});

	test("is a 404 with the close names where no agent has it", () => {
		const error = refusal("local/qwen3-8");
		expect([error.status, error.errorCode]).toEqual([404, "model_not_found"]);
		expect(error.message).toContain('Did you mean "local/qwen3-8b"');
	});

	test.each([
		["gpu-1/qwen3-8b", "local/gpu-1/qwen3-8b"],
		["qwen3-8bb", "qwen3-8b"],
	])("is a 404 with how it is called where somebody asks for %s", (name, meant) => {
		expect(refusal(name).message).toContain(`Did you mean "${meant}"`);
		expect(refusal(name, catalog(), () => false).message).not.toContain("Did you mean");
	});

	test("is listed as local/…, owned by local, and shown under each of its names", async () => {
		const config = configOf();
		const snapshot = { config, catalog: catalog(), auth: createKeyAuth([]) };
		const context = { current: { snapshot } } as unknown as Parameters<typeof oneModel>[0];
		const request = new Request("http://localhost/v1/models");
		const { data } = await listModels(context, request);
		expect(data.filter(({ owned_by }) => owned_by === "local").map(({ id }) => id)).toEqual([
			"local/qwen3-8b",
			"local/Qwen/Qwen3-8B",
		]);
		for (const id of ["local/qwen3-8b", "qwen3-8b", "local", "local/gpu-2/qwen3-8b"]) {
			expect(await oneModel(context, request, id)).toEqual({
				id,
				object: "model",
				created: 0,
				owned_by: "local",
			});
		}
	});

	test.each([
		[["local/*"], "qwen3-8b", true],
		[["local/*"], "local/qwen3-8b", true],
		[["local/*"], "local", true],
		[["local/qwen3-8b"], "local/qwen3-8b", true],
		[["local/qwen3-8b"], "qwen3-8b", true],
		[["local/qwen3-8b"], "local/Qwen/Qwen3-8B", false],
		[["local/gpu-2/*"], "local/gpu-2/qwen3-8b", true],
		[["local/gpu-2/*"], "local/qwen3-8b", true],
		[["qwen3-8b"], "qwen3-8b", true],
		[["qwen3-8b"], "local/qwen3-8b", false],
		[["openai/*"], "local/qwen3-8b", false],
	])("may be used with a key for %p as %s: %p", (models, name, may) => {
		const headers = new Headers({ authorization: "Bearer of-this-key" });
		const caller = createKeyAuth([{ name: "k", key: "of-this-key", models }]).authenticate(headers);
		expect(isAllowed(caller, name, catalog().find(name))).toBe(may);
	});
});

describe("an agent's model of several replicas", () => {
	const replicas = [0, 1].map((replica) => ({ replica, state: "ready" as const }));
	beforeEach(() => rig.register("gpu-1", [{ name: "qwen", state: "ready", replicas }]));

	test.each(["qwen", "local/qwen", "local/gpu-1/qwen", "local"])("answers to %s with each of them", (name) =>
		expect(ids(name)).toEqual(["local/gpu-1/qwen#0", "local/gpu-1/qwen#1"]),
	);

	test("says how many there are", async () => {
		expect(catalog().find("qwen")?.reason).toBe("agent, 2 replicas");
		await rig.register("gpu-2", ["qwen"]);
		expect(catalog().find("qwen")?.reason).toBe("2 agents, 2 replicas");
	});

	test.each([
		["local/gpu-1/qwen", true],
		["local/gpu-1/*", true],
		["local/qwen", true],
		["local/gpu-2/qwen", false],
	])("may be used whole with a key for %s: %p", (model, may) => {
		const headers = new Headers({ authorization: "Bearer of-this-key" });
		const caller = createKeyAuth([{ name: "k", key: "of-this-key", models: [model] }]).authenticate(headers);
		const route = catalog().find("qwen")!;
		expect(isAllowed(caller, "qwen", route)).toBe(may);
		if (may) expect(permittedRoute(caller, "qwen", route).targets).toHaveLength(2);
	});
});

describe("an adapter at one agent with the name of a model at another", () => {
	const sql = { name: "sql", parent: "qwen", load: "on-demand" } as const;
	const register = async (state: "ready" | "failed") => {
		await rig.register("gpu-1", ["qwen", { ...sql, state }]);
		await rig.register("gpu-2", ["other", "sql"]);
	};

	test("is called as the log says, which no name with a star takes to a vendor", async () => {
		await register("ready");
		const [, name] = rig.lines.join("").match(/those for the adapter by \\?"([^"\\]+)/) ?? [];
		const any = { models: [{ name: "*", targets: ["openai/*"] }] };
		for (const settings of [{}, any]) {
			const made = catalog(settings, { OPENAI_API_KEY: "sk-of-this-test" });
			expect(ids(name!, made)).toEqual(["local/gpu-1/sql"]);
			expect(ids("sql", made)).toEqual(["local/gpu-2/sql"]);
		}
	});

	test("is not there for now where its agent says so, as is any model that is asked of one agent", async () => {
		await register("failed");
		for (const [name, why] of [
			["local/gpu-1/sql", "gpu-1: failed"],
			["local/gpu-2/other", "gpu-2: failed"],
		] as const) {
			if (name === "local/gpu-2/other") await rig.heartbeat("gpu-2", [{ name: "other", state: "failed" }]);
			const error = refusal(name);
			expect([error.errorCode, error.status]).toEqual(["model_unavailable", 503]);
			expect(error.message).toContain(why);
		}
		// Not a name of a model's: it would lead nowhere if it were ready, too.
		for (const name of ["gpu-1/sql", "gpu-1/qwen"]) expect(refusal(name).errorCode).toBe("model_not_found");
		expect(refusal("local/gpu-1/none").errorCode).toBe("model_not_found");
		expect(refusal("local/gpu-9/sql").errorCode).toBe("model_not_found");
	});

	test("is no parent's of a name in `models:` that leads elsewhere", async () => {
		await rig.register("gpu-1", ["qwen", { ...sql, state: "ready" }]);
		const models = [
			{ name: "sql", targets: ["dummy"] },
			{ name: "mine", targets: ["local/sql"] },
		];
		const made = catalog({ models });
		expect(["sql", "mine", "local/sql"].map((name) => made.parentOf?.(name))).toEqual([
			undefined,
			"local/qwen",
			"local/qwen",
		]);
	});
});

describe("an agent's plain name never takes the place of", () => {
	test.each([
		["a name of `models:`", "fast", ["openai/gpt-5"]],
		["the built-in model", "dummy", ["dummy/dummy"]],
		["a provider's own name", "openai/gpt-5", ["openai/gpt-5"]],
		["a configured provider's name", "mybox/qwen", ["mybox/qwen"]],
	])("%s", async (_, name, targets) => {
		await rig.register("gpu-1", [name]);
		const mine = catalog({
			models: [{ name: "fast", targets: ["gpt-5"] }],
			providers: { mybox: { type: "vllm", base_url: "http://127.0.0.1:9" } },
		});
		expect(ids(name, mine)).toEqual(targets);
		expect(ids(`local/${name}`, mine)).toEqual([`local/gpu-1/${name}`]);
	});
});

describe("a name that an agent has served, and that a vendor's prefix fits, too", () => {
	const names = ["gpt-oss-20b", "claude-at-home"];

	test.each(names)("leads to the agent: %s", async (name) => {
		expect(ids(name)).toEqual([expect.stringMatching(/^(?:openai|anthropic)\//)]);
		await rig.register("gpu-1", [name]);
		expect(ids(name)).toEqual([`local/gpu-1/${name}`]);
	});

	test.each(names)("leads nowhere once the agent is gone, also after a restart: %s", async (name) => {
		await rig.register("gpu-1", [name]);
		rig.pass(31_000);
		expect(refusal(name)).toMatchObject({ status: 503, errorCode: "model_unavailable" });
		rig = rig.restarted();
		rig.pass(16_000);
		expect(ids(name)).toBeUndefined();
		expect(refusal(name)).toMatchObject({ status: 503, errorCode: "model_unavailable" });
	});

	test("stays on the agents also when one has taken the model off, until an alias says otherwise", async () => {
		await rig.register("gpu-1", ["gpt-oss-20b"]);
		await rig.heartbeat("gpu-1", []);
		const { status, message } = refusal("gpt-oss-20b");
		expect(status).toBe(503);
		expect(message).toContain("`models:`");
		expect(ids("gpt-oss-120b")).toEqual(["openai/gpt-oss-120b"]);
		const mine = catalog({ models: [{ name: "gpt-oss-20b", targets: ["openai/gpt-oss-20b"] }] });
		expect(ids("gpt-oss-20b", mine)).toEqual(["openai/gpt-oss-20b"]);
	});

	test("is still the vendor's where the client names the vendor", async () => {
		await rig.register("gpu-1", ["gpt-oss-20b"]);
		expect(ids("openai/gpt-oss-20b")).toEqual(["openai/gpt-oss-20b"]);
	});
});

describe("a target of `models:` that is an agent's", () => {
	const settings = {
		models: [
			{ name: "fast", targets: ["local/qwen", "xai/x"], fallback: [{ provider: "local", model: "llama" }] },
			{ name: "same", targets: ["fast"] },
			{ name: "only", targets: ["local/qwen"] },
		],
	};

	test("is looked up anew for each call, all of its agents in its place", async () => {
		const mine = catalog(settings);
		await rig.register("gpu-1", ["qwen"]);
		expect(ids("fast", mine)).toEqual(["local/gpu-1/qwen", "xai/x"]);
		await rig.register("gpu-2", ["qwen", "llama"]);
		const all = ["local/gpu-1/qwen", "local/gpu-2/qwen", "xai/x", "local/gpu-2/llama"];
		expect(ids("fast", mine)).toEqual(all);
		expect(ids("same", mine)).toEqual(all.slice(0, 2));
		expect(mine.find("fast")).toMatchObject({ label: "fast", reason: "models: fast" });
	});

	test("is left out while none of its agents serves it, and explained where nothing is left", async () => {
		await rig.register("gpu-1", [{ name: "qwen", state: "failed", reason: "out of GPU memory" }]);
		const mine = catalog(settings);
		expect(ids("fast", mine)).toEqual(["xai/x"]);
		expect(ids("only", mine)).toBeUndefined();
		const error = refusal("only", mine);
		expect([error.status, error.errorCode, error.headers["retry-after"]]).toEqual([503, "model_unavailable", "5"]);
		expect(error.message).toBe('No agent serves "only" now: gpu-1: failed (out of GPU memory).');
	});

	test("goes to LOCAL_AGENT_URL while there are no agents", () => {
		expect(ids("only", catalog(settings))).toEqual(["local/qwen"]);
	});
});

describe("local*", () => {
	const names = ["local", "local/qwen", "local-small", "localhost-model"];

	test("leads nowhere once all agents are gone, and says whose model it was and what to do, also after a restart", async () => {
		await rig.register("gpu-1", ["qwen"]);
		expect(ids("local")).toEqual(["local/gpu-1/qwen"]);
		const gone = "gpu-1: not heard of any more (see whether its host is up and `router --agent` runs there)";
		const address = "an agent that does not register is called where LOCAL_AGENT_URL says that it is";
		const unserved = [
			...["local/qwen", "qwen"].map((name) => [name, `${gone}; ${address}`]),
			["local/gpu-1/qwen", gone],
			...["local", "local-small"].map((name) => [
				name,
				`no agent has a model that is ready or can be loaded; GET /agents says what each is doing; ${address}`,
			]),
		] as const;
		for (const _start of [1, 2]) {
			rig.pass(31_000);
			for (const [name, why] of unserved) {
				const { errorCode, message } = refusal(name!);
				expect([errorCode, message]).toEqual(["model_unavailable", `No agent serves "${name}" now: ${why}.`]);
			}
			for (const name of ["local/gpu-1/other", "local/other"]) expect(refusal(name).errorCode).toBe("model_not_found");
			rig.close();
			rig = rig.restarted();
		}
	});

	test("leads nowhere either with the name of a model whose agent is forgotten", () => {
		rig.fleet.learn(["qwen"]);
		const { message } = refusal("local/qwen");
		expect(message).toContain("the agents that had it are gone");
		expect(message).toEndWith("; an agent that does not register is called where LOCAL_AGENT_URL says that it is.");
		expect(refusal("local/gpu-1/qwen").errorCode).toBe("model_not_found");
	});

	test("leads to LOCAL_AGENT_URL while there are no agents", () => {
		const expected = [["local/local"], ["local/qwen"], ["local/local-small"], ["local/localhost-model"]];
		expect(names.map((name) => ids(name))).toEqual(expected);
	});

	test("leads there beside agents where somebody has said the address", async () => {
		await rig.register("gpu-1", [{ name: "broken", state: "failed" }]);
		const named = catalog({}, { LOCAL_AGENT_URL: "http://10.0.0.50:5000" });
		expect(ids("local", named)).toEqual(["local/local"]);
		expect(ids("local/other", named)).toEqual(["local/other"]);
		await rig.heartbeat("gpu-1", ["fine"]);
		expect(ids("local", named)).toEqual(["local/gpu-1/fine"]);
	});

	test("is the first model that is ready, else one that can be loaded, else explained", async () => {
		await rig.register("gpu-1", [
			{ name: "cold", state: "stopped", load: "on-demand" },
			{ name: "broken", state: "failed" },
		]);
		expect(ids("local")).toEqual(["local/gpu-1/cold"]);
		await rig.register("gpu-2", ["warm"]);
		expect(ids("local")).toEqual(["local/gpu-2/warm"]);
		await rig.heartbeat("gpu-1", [{ name: "broken", state: "failed" }]);
		await rig.heartbeat("gpu-2", []);
		expect(refusal("local").message).toBe(
			'No agent serves "local" now: no agent has a model that is ready or can be loaded; GET /agents says what each is doing; an agent that does not register is called where LOCAL_AGENT_URL says that it is.',
		);
	});

	test("may be an agent's own name", async () => {
		await rig.register("gpu-1", ["qwen", "local-small"]);
		expect(ids("local-small")).toEqual(["local/gpu-1/local-small"]);
	});
});

test("why a model is not served is told only to who may use it", async () => {
	await rig.register("gpu-1", [{ name: "secret", state: "failed", reason: "hush" }]);
	for (const name of ["secret", "local/secret"]) {
		expect(refusal(name, catalog(), () => false).errorCode).toBe("model_not_found");
		expect(refusal(name, catalog(), (asked) => asked === "local/secret").errorCode).toBe("model_unavailable");
	}
});
