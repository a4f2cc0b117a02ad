/** One model, asked for by its name, is the object that the list has of it. */
import { afterAll, afterEach, beforeEach, expect, test } from "bun:test";
import { createKeyAuth } from "../src/accounts/auth/keys.ts";
import { listModels, oneModel } from "../src/api/model-queries.ts";
import { createCatalog } from "../src/routing/catalog.ts";
import { directory } from "./kit/cli.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { type FleetRig, fleetRig } from "./kit/fleet.ts";
import { configOf, entriesOf, pipeline } from "./kit/pipeline.ts";

const box = startFaultUpstream();
afterAll(() => box.stop());
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

const LISTED = [
	{ id: "base", created: 1_700_000_000, owned_by: "vllm", parent: null },
	{ id: "sql", created: 1_700_000_001, owned_by: "vllm", parent: "base" },
	{ id: "odd", created: "yesterday", owned_by: 7, parent: "elsewhere" },
];

function router(settings: Json, env: Record<string, string> = {}) {
	box.run(answers("200 OK", JSON.stringify({ data: LISTED })));
	const config = configOf(settings, env);
	const catalog = createCatalog(config, entriesOf(config, env), rig.fleet);
	const { context } = pipeline();
	const snapshot = { config, catalog, auth: createKeyAuth(config.keys) };
	const own = { ...context, current: { snapshot } };
	const request = new Request("http://localhost/v1/models");
	return { list: async () => (await listModels(own, request)).data, one: (id: string) => oneModel(own, request, id) };
}

const ADAPTER = { name: "sql", state: "ready", parent: "qwen" } as const;

test("of an adapter asked for at its agent it has the parent, also where another agent has a model of that name", async () => {
	await rig.register("gpu-1", ["qwen", ADAPTER]);
	await rig.register("gpu-2", ["sql"]);
	const { one } = router({});
	expect(await one("local/gpu-1/sql")).toMatchObject({ id: "local/gpu-1/sql", parent: "local/qwen" });
	for (const model of ["local/gpu-2/sql", "local/sql", "sql"]) expect(await one(model)).not.toHaveProperty("parent");
});

const TO_BOX = { providers: { box: { type: "vllm", base_url: box.origin } } };
const WHERE: { of: string; settings: Json; env?: Record<string, string> }[] = [
	{ of: "an agent that has registered", settings: { models: [{ name: "mine/*", targets: ["local/*"] }] } },
	{ of: "an agent that is known by its address", settings: {}, env: { LOCAL_AGENT_URL: box.origin } },
	{ of: "a vLLM", settings: { models: [{ name: "team/*", targets: ["box/*"] }], ...TO_BOX } },
	{
		of: "an entry of `models:` that is called as its model is",
		settings: { models: [{ name: "sql", targets: ["box/sql"] }], ...TO_BOX },
	},
];

test.each(WHERE)("of $of they are the same, every field", async ({ settings, env }) => {
	if (!env) await rig.register("gpu-1", ["qwen", ADAPTER]);
	const { list, one } = router(settings, env);
	const listed = await list();
	expect(listed.length).toBeGreaterThan(2);
	for (const model of listed) expect(await one(model.id)).toEqual(model);
});
