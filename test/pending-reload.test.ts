/** What a reload would do: worked out again only where something may have changed, and never put in force. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createKeyAuth } from "../src/accounts/auth/keys.ts";
import { type Loaded, load } from "../src/config/load.ts";
import { ThinkingMemory } from "../src/proxy/net/request-inputs.ts";
import { NO_FLEET } from "../src/routing/agent-targets.ts";
import { LiveConfiguration, type ReloadedRouter } from "../src/server/reload.ts";
import { plannedEntries } from "../src/server/role-plan.ts";
import { routerPlan } from "../src/server/router-plan.ts";
import { RouterState } from "../src/server/router-state.ts";
import { routerSnapshot } from "../src/server/snapshot.ts";
import { directory } from "./kit/cli.ts";

const MODELS = "models: [{ name: fast, targets: [dummy] }]\n";
let home: ReturnType<typeof directory>;
let router: ReloadedRouter;
let live: LiveConfiguration;
/** How often the file was read and planned. */
let reads: number;
/** What the next read throws. */
let fault: Error | undefined;
let now: number;
/** Lines of the log, of errors alone. */
let errors: object[];
/** Upstreams of which was looked up what they have signed. */
let remembered: string[];

const write = (text: string) => writeFileSync(join(home.path, "router.yaml"), text);

function counted(loaded: Loaded): Loaded {
	return {
		...loaded,
		again() {
			reads++;
			if (fault) throw fault;
			return counted(loaded.again());
		},
	};
}

beforeEach(() => {
	home = directory({ "router.yaml": MODELS });
	[reads, fault, now, errors, remembered] = [0, undefined, 0, [], []];
	const env = { DATA_DIR: join(home.path, "data") };
	const loaded = counted(load({ flags: {}, env, cwd: home.path, role: "router" }));
	const { config } = loaded;
	const state = new RouterState(config);
	const memory = new ThinkingMemory();
	const auth = createKeyAuth([], undefined, undefined, state.keys);
	const services = { fleet: NO_FLEET, state, onRefused: undefined };
	const { info, warn } = { info() {}, warn() {} };
	const parts = {
		snapshot: routerSnapshot(config, plannedEntries(routerPlan(config, env), state.keys), auth, services),
		env,
		generatedAuth: auth,
		state,
		agents: { setUpstream() {} },
		fleet: { ...NO_FLEET, bounds: undefined },
		agentTransport: { trust() {} },
		suspects: { refuseMs: 0 },
		thinking: {
			of(upstream: string) {
				remembered.push(upstream);
				return memory.of(upstream);
			},
		},
		log: { logger: { info, warn, error: (fields: object) => errors.push(fields) } },
		metrics: { reloaded() {}, refused: undefined },
	};
	router = parts as unknown as ReloadedRouter;
	live = new LiveConfiguration(router, loaded, () => now);
});
afterEach(() => {
	router.state.store.close();
	home[Symbol.dispose]();
});

test("what a reload would refuse is told where the file is: a model that leads nowhere, an address that leads back here", () => {
	write("models: [{ name: fast, targets: [nosuch/x] }]\n");
	const told = live.pending();
	expect(told.changes).toEqual([]);
	expect(told.mistakes).toEqual([
		expect.stringMatching(/router\.yaml:1:\d+ models\[0\]\.targets\[0\]: there is no provider/),
	]);
	expect(live.reload()).toEqual(told.mistakes);
	const { host, port } = live.config.server;
	write(`${MODELS}providers: { box: { type: vllm, base_url: "http://${host}:${port}/v1" } }\n`);
	expect(live.pending().mistakes).toEqual([expect.stringContaining("providers.box.base_url")]);
	write(`${MODELS}ca_file: nowhere.pem\n`);
	expect(live.pending().mistakes).toEqual([expect.stringContaining("ca_file")]);
	expect(live.reload()).toEqual(live.pending().mistakes);
});

test("a fault of the router's own is in its log once for a file, however often it is asked", () => {
	fault = new TypeError("nothing is undefined");
	const told = live.pending();
	expect(told.mistakes).toEqual([expect.stringContaining("which its log has")]);
	now += 60_000;
	live.pending();
	expect([reads, errors]).toEqual([2, [expect.objectContaining({ err: fault })]]);
	write(`${MODELS}# another\n`);
	live.pending();
	expect(errors).toHaveLength(2);
});

test("a reload that is refused leaves what was loaded before as what was loaded last", () => {
	const before = live.last;
	write("\n\nmodels: [{ name: fast, targets: [nosuch/x] }]\n");
	live.reload();
	expect(live.last).toBe(before);
	expect(live.sources.of(["models", 0, "name"])).toMatchObject({ from: "file", line: 1 });
});

test("nothing of it is put in force, nor remembered", () => {
	const { snapshot } = router;
	write(`${MODELS}providers: { box: { type: vllm, base_url: "http://box/v1" } }\n`);
	expect(live.pending().changes.map(({ setting }) => setting)).toContain("providers.box.base_url");
	expect([router.snapshot === snapshot, remembered]).toEqual([true, []]);
	expect(live.reload()).toEqual([]);
	expect(remembered).toContainEqual(expect.stringContaining("http://box/v1"));
});

test("it is worked out once while the file and what is in force stay, for half a minute", () => {
	const told = live.pending();
	now += 29_999;
	expect([live.pending() === told, reads]).toEqual([true, 1]);
	// Another file may stand behind a `${file:…}`.
	now += 1;
	live.pending();
	expect(reads).toBe(2);
	write("models: [{ name: quick, targets: [dummy] }]\n");
	expect(live.pending().changes.map(({ setting }) => setting)).toContain("models[quick].targets[0]");
	expect(reads).toBe(3);
	live.reload();
	expect([live.pending().changes, reads]).toEqual([[], 5]);
});

test("a setting for which another value waits comes from the file as it was at the start, any other from the file as it is", () => {
	write(`server:\n  drain: 1s\n${MODELS}`);
	expect(live.reload()).toEqual([]);
	expect(live.sources.of(["server", "drain"])).toEqual({ from: "default" });
	expect(live.sources.of(["models", 0, "name"])).toMatchObject({ line: 3 });
	expect(live.pending().waiting).toEqual([{ setting: "server.drain", from: "5s", to: "1s" }]);
});
