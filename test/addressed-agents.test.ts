/** Agents that are known by an address alone: their models are kept from vendors as those of registered agents are. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import { resolveModel } from "../src/api/model-access.ts";
import { askAddressedAgents, ModelList } from "../src/api/model-list.ts";
import { RouterError } from "../src/errors.ts";
import { createCatalog } from "../src/routing/catalog.ts";
import { directory } from "./kit/cli.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { type FleetRig, fleetRig } from "./kit/fleet.ts";
import { configOf, entriesOf } from "./kit/pipeline.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const agent = startFaultUpstream();
const vendor = startFaultUpstream();
afterAll(() => {
	agent.stop();
	vendor.stop();
});
let home: ReturnType<typeof directory>;
let rig: FleetRig;
beforeEach(() => {
	home = directory();
	rig = fleetRig(home.path);
	vendor.run(said("vendor"));
});
afterEach(() => {
	rig.close();
	home[Symbol.dispose]();
});

const list = (...ids: string[]) => answers("200 OK", JSON.stringify({ data: ids.map((id) => ({ id })) }));
const off = answers("503 Service Unavailable", "{}");
const message = (content: string) => ({ choices: [{ index: 0, message: { role: "assistant", content } }] });
const said = (by: string) => answers("200 OK", JSON.stringify(message(by)));

/** A `*` that leads to a vendor alone. */
const STAR: Json = { models: [{ name: "*", targets: ["xai/*"] }] };
/** The ways to say where an agent is. */
const ADDRESSES: [string, Json, Record<string, string>][] = [
	["LOCAL_AGENT_URL", {}, { LOCAL_AGENT_URL: agent.origin }],
	["providers.local", { providers: { local: { base_url: agent.origin } } }, {}],
	["a second provider of that type", { providers: { gpu: { type: "local", base_url: agent.origin } } }, {}],
];

function catalog(settings: Json = STAR, env: Record<string, string> = { LOCAL_AGENT_URL: agent.origin }) {
	const config = configOf(settings, env);
	return createCatalog(config, entriesOf(config, env), rig.fleet);
}
type Made = ReturnType<typeof catalog>;
const ask = async (made: Made) => {
	const lists = new ModelList(made);
	await Promise.all(made.addressed!.map((entry) => lists.of(entry)));
};
const ids = (name: string, made: Made) => made.find(name)?.targets.map(({ id }) => id);
const refusal = async (name: string, made: Made) => {
	try {
		await resolveModel(made, name, undefined, false);
	} catch (thrown) {
		if (thrown instanceof RouterError) return thrown;
	}
	throw new Error(`${name} resolved`);
};

describe.each(ADDRESSES)("the agent of %s", (_, settings, env) => {
	const at = () => catalog({ ...STAR, ...settings }, env);

	test("gets what it lists by its plain name, and no vendor does", async () => {
		agent.run(list("qwen", "gpt-oss-20b"));
		const made = at();
		await ask(made);
		for (const name of ["qwen", "gpt-oss-20b"])
			expect(ids(name, made)).toEqual([expect.stringMatching(/^(local|gpu)\//)]);
		expect(ids("other", made)).toEqual(["xai/other"]);
		expect(ids("openai/gpt-oss-20b", made)).toEqual(["openai/gpt-oss-20b"]);
	});

	test("keeps names from vendors as long as it has not said which it has", async () => {
		agent.run(off);
		const made = at();
		const { status, errorCode, message: words } = await refusal("qwen", made);
		expect([status, errorCode]).toEqual([503, "model_unavailable"]);
		expect(words).toContain("has not said yet which models it has");
		expect(ids("xai/qwen", made)).toEqual(["xai/qwen"]);
		expect(ids("gpt-5", catalog({ ...settings }, env))).toEqual(["openai/gpt-5"]);
	});

	test("is waited for by a call that comes before it was asked", async () => {
		agent.run(list("qwen"));
		const route = await resolveModel(at(), "other", undefined, false);
		expect(route.targets.map(({ id }) => id)).toEqual(["xai/other"]);
	});

	test("is remembered across restarts: what it had, and that nothing else is its", async () => {
		agent.run(list("qwen"));
		await ask(at());
		rig.close();
		rig = rig.restarted();
		agent.run(off);
		const made = at();
		expect(ids("other", made)).toEqual(["xai/other"]);
		expect(ids("qwen", made)).toEqual([expect.stringMatching(/^(local|gpu)\/qwen$/)]);
	});
});

test("an agent that lists nothing keeps nothing", async () => {
	agent.run(list());
	const made = catalog();
	await ask(made);
	expect(ids("qwen", made)).toEqual(["xai/qwen"]);
});

test("the address that every router has by default keeps nothing from anyone", () => {
	expect(ids("qwen", catalog(STAR, {}))).toEqual(["xai/qwen"]);
});

test("the same address keeps names from vendors where somebody has written it", () => {
	const written: [Json, Record<string, string>][] = [
		[STAR, { LOCAL_AGENT_URL: "http://localhost:5000" }],
		[STAR, { LOCAL_AGENT_URL: "http://localhost:5000/v1/" }],
		[{ ...STAR, providers: { local: { base_url: "http://localhost:5000" } } }, {}],
	];
	for (const [settings, env] of written)
		expect(() => catalog(settings, env).resolve("qwen")).toThrow("has not said yet which models it has");
	expect(ids("qwen", catalog(STAR, { LOCAL_AGENT_URL: "" }))).toEqual(["xai/qwen"]);
});

describe("while the agent has not said what it has, a star leads to", () => {
	const at = (provider: Json, target: unknown = "box/*", env: Record<string, string> = {}) =>
		catalog(
			{ providers: { box: provider }, models: [{ name: "*", targets: [target] }] },
			{ LOCAL_AGENT_URL: agent.origin, ...env },
		);
	beforeEach(() => agent.run(off));

	test.each([
		["vLLM at loopback", { type: "vllm", base_url: "http://127.0.0.1:8000" }],
		["vLLM wherever it is", { type: "vllm", base_url: "https://vllm.example.com" }],
		["a server at a private address", { type: "openai-compatible", base_url: "http://10.0.0.7:8000/v1" }],
		["a server by a local name", { type: "openai-compatible", base_url: "http://box.internal/v1" }],
		["llm-d", { type: "llm-d", base_url: "https://llmd.example.com" }],
	])("%s: that is no vendor", async (_, provider) => {
		for (const target of ["box/*", { provider: "box", model: "*" }, { provider: "box", model: "one" }, "box/one"]) {
			const made = at(provider, target);
			const route = await resolveModel(made, "qwen", undefined, false);
			expect(route.targets.map(({ id }) => id)).toEqual([expect.stringMatching(/^box\/(?:qwen|one)$/)]);
		}
	});

	test("what is built in", async () => {
		const route = await resolveModel(
			at({ type: "vllm", base_url: "http://127.0.0.1:1" }, "dummy"),
			"x",
			undefined,
			false,
		);
		expect(route.targets.map(({ id }) => id)).toEqual(["dummy/dummy"]);
	});

	test.each([
		["a server of another's", { type: "openai-compatible", base_url: "https://api.example.com/v1", api_key: "k" }],
		["a gateway to a vendor", { type: "openai", base_url: "http://127.0.0.1:4000/v1", api_key: "k" }],
	])("%s: not at all", async (_, provider) => {
		for (const target of ["box/*", "box/one"])
			expect((await refusal("qwen", at(provider, target))).errorCode).toBe("model_unavailable");
	});

	test("the user's own machines, though a vendor stands behind them", async () => {
		const providers = { box: { type: "vllm", base_url: "http://127.0.0.1:8000" } };
		const made = catalog({ providers, models: [{ name: "*", targets: ["box/*"], fallback: ["xai/*"] }] });
		const route = await resolveModel(made, "qwen", undefined, false);
		expect(route.targets.map(({ id }) => id)).toEqual(["box/qwen", "xai/qwen"]);
	});
});

test("a configuration whose names lead on by a star is one, whatever agents have said", () => {
	const models = [
		{ name: "*", targets: ["xai/*"] },
		{ name: "fast", targets: ["qwen"] },
	];
	rig.fleet.learn?.(["qwen"]);
	for (const env of [{}, { LOCAL_AGENT_URL: agent.origin }])
		expect(ids("fast", catalog({ models }, env))).toEqual(["xai/qwen"]);
});

test("an agent that comes up is asked each time that somebody says so, however lately it was asked in vain", async () => {
	agent.run(off);
	const made = catalog();
	await refusal("qwen", made);
	agent.run(list("qwen"));
	askAddressedAgents(made);
	await until(() => ids("qwen", made)?.[0] === "local/qwen");
	expect(ids("other", made)).toEqual(["xai/other"]);
	agent.run(list("qwen", "other"));
	askAddressedAgents(made);
	await until(() => ids("other", made)?.[0] === "local/other");
});

test("an entry that names the user's own machines, too, takes the name there first", async () => {
	agent.run(list("qwen"));
	const made = catalog({ models: [{ name: "*", targets: ["local/*"], fallback: ["xai/*"] }] });
	expect(ids("qwen", made)).toEqual(["local/qwen", "xai/qwen"]);
	await ask(made);
	expect(ids("qwen", made)).toEqual(["local/qwen", "xai/qwen"]);
});

test("its models are listed as those of registered agents are", async () => {
	agent.run(list("qwen"));
	const made = catalog();
	const lists = new ModelList(made);
	for (let times = 0; times < 2; times++) {
		expect((await lists.of(made.addressed![0]!)).map(({ id }) => id)).toEqual(["local/qwen"]);
	}
});

test("a running router has asked before a call leaves, and sends the agent what is the agent's", async () => {
	agent.run((connection) => (connection.request.method === "GET" ? list("qwen") : said("agent"))(connection));
	const running = await startRouter({
		config: {
			models: [{ name: "*", targets: ["box/*"] }],
			providers: { box: { type: "openai-compatible", base_url: vendor.origin } },
		},
		env: { LOCAL_AGENT_URL: agent.origin },
	});
	try {
		const answer = async (model: string) => {
			const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] });
			const headers = { "content-type": "application/json" };
			const response = await fetch(`${running.url}/v1/chat/completions`, { method: "POST", headers, body });
			return ((await response.json()) as ReturnType<typeof message>).choices[0]?.message.content;
		};
		expect([await answer("qwen"), await answer("other")]).toEqual(["agent", "vendor"]);
	} finally {
		await running.stop();
	}
}, 60_000);
