/** `router agents`, `router models`, `router agents invite`. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { hashKey } from "../src/accounts/auth/keys.ts";
import { parseCommand } from "../src/cli/flags.ts";
import { plainText, table } from "../src/cli/table.ts";
import { cli, directory } from "./kit/cli.ts";
import { type FakeAgent, startFakeAgent } from "./kit/fake-agent.ts";
import { nvidiaSmi } from "./kit/nvidia-smi.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const TOKEN = "the-shared-agent-token";
const KEY = "the-key-of-a-client";

test("an agent whose host sleeps is asleep, or on its way, and one that the router refuses is refused, and neither is gone", async () => {
	const common = { endpoint: "http://10.0.0.7:5000", state: "gone", reachable: true, models: [], gpus: [] };
	const states = [{ wake: "asleep" }, { wake: "waking" }, {}, { refused: "its token is not known" }];
	const data = states.map((state, at) => ({ ...common, name: `gpu-${at}`, ...state }));
	using router = Bun.serve({ port: 0, fetch: () => Response.json({ object: "list", data }) });
	using home = directory();
	const { stdout } = await cli(["agents", "--url", router.url.origin], { cwd: home.path, env: {} });
	const lines = stdout.split("\n");
	expect(lines.slice(1, 5).map((line) => line.split(/ {2,}/)[1])).toEqual(["asleep", "waking", "gone", "refused"]);
	expect(lines.at(-2)).toBe("gpu-3: refused: its token is not known");
});

test("models of agents that are gone are shown as that, and as asleep where a call wakes their host", async () => {
	const common = { endpoint: "http://10.0.0.7:5000", state: "gone", reachable: true, gpus: [] };
	const agents = [
		{ ...common, name: "gpu-0", models: [{ name: "qwen", state: "ready", kv_cache: 0.5 }] },
		{ ...common, name: "gpu-1", wake: "asleep", models: [{ name: "llama", state: "failed", reason: "old news" }] },
	];
	const answer = (path: string) => ({ object: "list", data: path === "/agents" ? agents : [] });
	using router = Bun.serve({ port: 0, fetch: ({ url }) => Response.json(answer(new URL(url).pathname)) });
	using home = directory();
	const { stdout } = await cli(["models", "--url", router.url.origin], { cwd: home.path, env: {} });
	expect(stdout.split("\n").slice(1, 3)).toEqual([
		"local/qwen   gpu-0  gone: its agent is not heard of any more",
		"local/llama  gpu-1  asleep",
	]);
});

describe("a running router", () => {
	let router: RunningRouter;
	let agent: FakeAgent;
	let home: ReturnType<typeof directory>;
	const env = () => ({ ROUTER_AGENT_TOKEN: TOKEN, ROUTER_API_KEYS: KEY, PORT: new URL(router.url).port });
	const run = (args: string[], more: Record<string, string> = env()) => cli(args, { cwd: home.path, env: more });

	beforeAll(async () => {
		home = directory();
		const config = { agents: { replicas: { qwen: { min: 1, max: 3 }, nobodys: { min: 2 } } } };
		router = await startRouter({ env: { ROUTER_AGENT_TOKEN: TOKEN, ROUTER_API_KEYS: KEY }, config });
	});
	afterAll(async () => {
		await agent?.stop();
		await router.stop();
		home[Symbol.dispose]();
	});

	test("that has no agents and refuses the key says so, and shows no empty table", async () => {
		const wrong = await run(["models"], { ...env(), ROUTER_API_KEYS: "another-key-of-a-client" });
		expect([wrong.code, wrong.stdout]).toEqual([1, ""]);
		expect(wrong.stderr).toContain("/v1/models answers 401: ");
		const keyless = await run(["models"], { ...env(), ROUTER_API_KEYS: "" });
		expect([keyless.code, keyless.stdout]).toEqual([1, ""]);
		expect(keyless.stderr).toContain("answers 401: No API key");
	});

	test("that has no agents says how to get one", async () => {
		expect(await run(["agents"])).toEqual({
			code: 0,
			stdout: "No agent has registered. `router agents invite` makes the line that starts one.\n",
			stderr: "",
		});
	});

	test("shows its agents and their models, asked by its address or by the configuration", async () => {
		agent = startFakeAgent({
			router: router.url,
			token: TOKEN,
			models: [
				{ name: "qwen", state: "ready", running: 2, waiting: 1, kv_cache: 0.314 },
				{ name: "llama", state: "failed", reason: "out of GPU memory" },
			],
		});
		await until(() => agent.link?.state.state === "joined");
		const agents = await run(["agents"]);
		expect(agents).toMatchObject({ code: 0, stderr: "" });
		const [head, row, reason] = agents.stdout.split("\n");
		expect(head?.split(/ {2,}/)).toEqual(["AGENT", "STATE", "ENDPOINT", "MODELS", "GPUS", "VERSION", "HEARD"]);
		expect(row).toMatch(
			/^gpu-1 +fresh +http:\/\/127\.0\.0\.1:\d+ +qwen \(ready\), llama \(failed\) +none +\S+ +\d+ s ago$/,
		);
		expect(reason).toBe("gpu-1: llama is failed: out of GPU memory");

		const models = await run(["models", "--url", `${router.url}/v1`]);
		expect(models).toMatchObject({ code: 0, stderr: "" });
		const rows = models.stdout.split("\n").map((line) => line.split(/ {2,}/));
		expect(rows).toContainEqual(["local/qwen", "gpu-1", "ready", "2 running, 1 waiting, KV cache 31 %"]);
		expect(rows).toContainEqual(["local/llama", "gpu-1", "failed", "out of GPU memory"]);
		expect(rows).toContainEqual(["dummy", "router"]);
		expect(rows.filter(([id]) => id === "local/qwen")).toHaveLength(1);
	});

	test("shows how many replicas over all agents there are, of how many there are to be", async () => {
		const { stdout } = await run(["models"]);
		expect(stdout).toContain("\nqwen: 1 ready, of 1 to 3 replicas\n");
		expect(stdout).toContain("\nnobodys: 0 ready, of at least 2 replicas");
		await until(async () => (await run(["models"])).stdout.includes("replicas; no agent that is heard of has it"));
	});

	test("shows how many of a model's replicas are ready", async () => {
		const replicas = (["ready", "starting"] as const).map((state, replica) => ({ replica, state }));
		const model = { name: "gemma", state: "ready", replicas } as const;
		const other = startFakeAgent({ router: router.url, token: TOKEN, name: "gpu-7", models: [model] });
		await until(() => other.link?.state.state === "joined");
		expect((await run(["agents"])).stdout).toContain("gemma (ready, 1 of 2 replicas)");
		expect((await run(["models"])).stdout).toMatch(/^local\/gemma +gpu-7 +ready, 1 of 2 replicas$/m);
		await other.stop();
	});

	test("shows why a model is not ready, in one line cut at a word, and what to do", async () => {
		const why = `it failed 3 times in a row: ${"the weights of it do not fit ".repeat(8)}`;
		const models = [
			{ name: "long", state: "failed", reason: `${why}\nsecond line. What to do: lower \`--max-model-len\`\nto 8192` },
			{ name: "plain", state: "starting", reason: "it waits for the GPU" },
		] as const;
		const other = startFakeAgent({ router: router.url, token: TOKEN, name: "gpu-6", models: [...models] });
		await until(() => other.link?.state.state === "joined");
		const { stdout } = await run(["models"]);
		expect(stdout.split("\n")[0]?.split(/ {2,}/)).toEqual(["MODEL", "WHERE", "STATE", "LOAD", "WHY", "WHAT TO DO"]);
		const line = stdout.split("\n").find((each) => each.startsWith("local/long"))!;
		const [, , state, shown, todo] = line.split(/ {2,}/);
		expect([state, todo]).toEqual(["failed", "lower `--max-model-len` to 8192"]);
		expect(shown).toMatch(/^it failed 3 times in a row: the weights .* (?:the|weights|of|it|do|not|fit)…$/);
		expect(shown!.length).toBeLessThanOrEqual(101);
		expect(stdout).toMatch(/^local\/plain +gpu-6 +starting +it waits for the GPU$/m);
		await other.stop();
	});

	test("shows a LoRA adapter with the model that it changes", async () => {
		const models = [
			{ name: "base", state: "ready" },
			{ name: "sql", parent: "base", state: "ready", running: 1 },
		] as const;
		const other = startFakeAgent({ router: router.url, token: TOKEN, name: "gpu-8", models: [...models] });
		await until(() => other.link?.state.state === "joined");
		expect((await run(["agents"])).stdout).toContain("base (ready), sql (ready)");
		expect((await run(["models"])).stdout).toMatch(/^local\/sql +gpu-8 +ready +adapter of base, 1 running$/m);
		await other.stop();
	});

	test("shows its models also to who may not see its agents", async () => {
		const { code, stdout } = await run(["models"], { ...env(), ROUTER_AGENT_TOKEN: "" });
		expect([code, stdout]).toEqual([0, expect.stringMatching(/^local\/qwen +local$/m)]);
	});

	test("shows its agents' models also to who may not call, and says so", async () => {
		const { stdout } = await run(["models"], { ...env(), ROUTER_API_KEYS: "" });
		expect(stdout).toContain("local/sql");
		expect(stdout).toEndWith("from `keys:` of its configuration (--config), or ROUTER_API_KEYS.\n");
	});

	test("shows its agents' models also to who has a wrong key, and says that it is refused", async () => {
		const { code, stdout } = await run(["models"], { ...env(), ROUTER_API_KEYS: "another-key-of-a-client" });
		expect([code, stdout]).toEqual([0, expect.stringContaining("local/sql")]);
		expect(stdout).toContain("the router refuses the key that this command has from `keys:`");
		expect(stdout).not.toContain("lists for who has a key");
	});

	test("says in one line what is missing or wrong", async () => {
		const refused = await run(["agents"], { ...env(), ROUTER_AGENT_TOKEN: "wrong" });
		expect(refused).toEqual({
			code: 1,
			stdout: "",
			stderr: `router: ${router.url}/agents answers 401: This agent token is not known here.\n`,
		});
		const keyless = await run(["models"], { ...env(), ROUTER_API_KEYS: "", ROUTER_AGENT_TOKEN: "" });
		expect(keyless.stderr).toContain("answers 401: No API key");
		const nowhere = await run(["agents", "--url", "http://127.0.0.1:9"]);
		expect([nowhere.code, nowhere.stderr]).toEqual([
			1,
			"router: nothing answers at http://127.0.0.1:9: is the router running there? --url names another\n",
		]);
		expect((await run(["models", "--url", "gpu"])).stderr).toBe(
			"router: --url gpu is no http(s) address: http://router:8000\n",
		);
	});

	test("takes an agent whose token was made while it ran, and none that was not", async () => {
		const data = join(router.directory, "data");
		const { code, stdout } = await run(["agents", "invite", "--url", router.url], { DATA_DIR: data });
		expect(code).toBe(0);
		const [, token, url] = /^ROUTER_AGENT_TOKEN=(ra-[\w-]{43}) router --agent --router (\S+)\n$/.exec(stdout) ?? [];
		expect(url).toBe(router.url);
		const invited = startFakeAgent({ router: router.url, token: token!, name: "gpu-2" });
		await until(() => invited.link?.state.state === "joined");
		await invited.stop();
		const kept = new Database(join(data, "router.db"));
		expect(kept.query("SELECT hash FROM agent_tokens").all()).toEqual([{ hash: new Uint8Array(hashKey(token!)) }]);
		expect(kept.serialize().toString()).not.toContain(token!);
		expect(router.output()).not.toContain(token!);
	});
});

describe("an invitation", () => {
	const line = /^ROUTER_AGENT_TOKEN=ra-[\w-]{43} router --agent --router (\S+)\n$/;

	test("names the router as other hosts reach it, and says where none does", async () => {
		using home = directory();
		const near = await cli(["agents", "invite"], { cwd: home.path });
		expect(line.exec(near.stdout)?.[1]).toBe("http://127.0.0.1:8000");
		expect(near.stderr).toContain("set HOST=0.0.0.0");
		const far = await cli(["agents", "invite", "--host", "10.0.0.1", "--port", "80"], { cwd: home.path });
		expect([line.exec(far.stdout)?.[1], far.stderr]).toEqual(["http://10.0.0.1:80", ""]);
		expect(near.stdout).not.toBe(far.stdout);
	});

	test.each(["router:8000", "http://r/;rm -rf ~", "http://$(id)", "http://r'x", "javascript:alert(1)"])(
		"has nothing in it that a shell would run: %s",
		async (url) => {
			using home = directory();
			const { code, stdout, stderr } = await cli(["agents", "invite", "--url", url], { cwd: home.path });
			expect([code, stdout]).toEqual([1, ""]);
			expect(stderr).toContain("is no http(s) address");
		},
	);

	test("is not given where its token can't be kept", async () => {
		using home = directory({ file: "" });
		const { code, stdout, stderr } = await cli(["agents", "invite"], {
			cwd: home.path,
			env: { DATA_DIR: join(home.path, "file") },
		});
		expect([code, stdout]).toEqual([1, ""]);
		expect(stderr).toMatch(/^router: The token can't be kept: .*router\.db can't be used/);
	});
});

test("check and --version open no database", async () => {
	using home = directory();
	expect((await cli(["check"], { cwd: home.path })).code).toBe(0);
	expect([...new Bun.Glob("**").scanSync({ cwd: home.path })]).toEqual([]);
});

test("the words are understood", () => {
	expect(parseCommand(["agents"])).toEqual({ do: "agents", role: "router", flags: {} });
	expect(parseCommand(["models", "--url=http://r"])).toEqual({
		do: "models",
		url: "http://r",
		role: "router",
		flags: {},
	});
	expect(parseCommand(["agents", "invite"])).toEqual({ do: "invite", role: "router", flags: {} });
	expect(() => parseCommand(["agents", "evict"])).toThrow('"evict" is one word too many');
	expect(() => parseCommand(["models", "invite"])).toThrow('"invite" is one word too many');
	expect(() => parseCommand(["check", "--url", "x"])).toThrow("--url does not belong to `check`");
});

test("a table is aligned, and what agents say can't command the terminal", () => {
	expect(table([])).toBe("");
	expect(table([["a", "bb"], ["ccc", "d", "e"], ["f"]])).toBe("a    bb\nccc  d   e\nf\n");
	expect(plainText("red\u001b[31m\nnext\u009b2J\u0007")).toBe("red [31m next 2J ");
});

describe("`router models suggest`", () => {
	const run = async (args: string[], env: Record<string, string>) => {
		using home = directory();
		return await cli(args, { cwd: home.path, env });
	};

	test("lists what fits the GPUs of this host, and needs no router", async () => {
		using smi = nvidiaSmi("1x24GB");
		const { code, stdout, stderr } = await run(["models", "suggest"], { PATH: `${smi.bin}:${process.env["PATH"]}` });
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		expect(stdout).toStartWith("This host: 1 × NVIDIA GeForce RTX 4090, 24 GiB\n\nMODEL ");
		expect(stdout).toContain("Qwen/Qwen3-8B ");
	});

	test("says why it found no GPU, and what a CPU can do", async () => {
		const { code, stdout, stderr } = await run(["models", "suggest"], { PATH: "/nowhere" });
		expect({ code, stderr }).toEqual({ code: 0, stderr: "No GPU was found: there is no nvidia-smi on the PATH.\n" });
		expect(stdout).toContain("Qwen/Qwen3-0.6B");
	});

	test("asks no router", () => {
		expect(() => parseCommand(["models", "suggest", "--url", "http://x"])).toThrow("--url does not belong");
		expect(() => parseCommand(["models", "suggests"])).toThrow('"suggests" is one word too many');
	});
});
