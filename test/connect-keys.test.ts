/** `router connect` and a real router: a key of its own where the router wants keys, none where it wants none. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { cli } from "./kit/cli.ts";
import { type Home, home } from "./kit/connect.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const ADMIN = "admin-key-of-the-test";
const GIVEN = "key-of-config";
const SETTINGS = ".claude/settings.json";

let router: RunningRouter;
let open: RunningRouter;
beforeAll(async () => {
	[router, open] = await Promise.all([
		startRouter({
			config: {
				keys: [{ name: "one", key: GIVEN }],
				admin: { keys: [{ name: "ops", key: ADMIN }] },
				models: [{ name: "fast", targets: ["dummy"] }],
			},
		}),
		startRouter(),
	]);
});
afterAll(() => Promise.all([router.stop(), open.stop()]));

/** What the command line beside a router has in its environment. */
const beside = ({ url, directory }: RunningRouter) => ({
	PORT: new URL(url).port,
	DATA_DIR: join(directory, "data"),
	LOG_DIR: join(directory, "logs"),
});
const config = () => ["--config", join(router.directory, "router.yaml")];
const connect = (at: Home, ...args: string[]) => at.connect([...args, ...config()], beside(router));
const keys = async () =>
	(await cli(["keys", ...config()], { cwd: router.directory, env: beside(router) })).stdout.split("\n");
/** The rows of keys in use that were made for a client. */
const keysOf = async (client: string) =>
	(await keys()).filter((row) => row.includes(`${client}-`) && !/revoked/i.test(row));
const token = (at: Home): string => JSON.parse(at.read(SETTINGS)).env.ANTHROPIC_AUTH_TOKEN;
const status = async (key: string) =>
	(await fetch(`${router.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;

describe("no key is made, and nothing is written, where", () => {
	test("somebody else's address stands in the file", async () => {
		using at = home({ [SETTINGS]: '{"env": {"ANTHROPIC_BASE_URL": "https://other.test"}}' });
		const before = await keys();
		expect((await connect(at, "claude-code", "--write")).code).toBe(1);
		expect(await keys()).toEqual(before);
	});

	test("the file can't be read", async () => {
		using at = home({ [SETTINGS]: "{" });
		const before = await keys();
		expect((await connect(at, "claude-code", "--write")).code).toBe(1);
		expect(await keys()).toEqual(before);
	});

	test("a key is given that the router refuses, which is not shown", async () => {
		using at = home();
		const { code, stderr } = await connect(at, "claude-code", "--write", "--key", "rk-of-nobody");
		expect([code, stderr]).toEqual([1, `router: ${router.url} refuses the key of --key\n`]);
		expect(at.files()).toEqual({});
	});

	test("the router runs with another data directory", async () => {
		using at = home();
		const env = { ...beside(router), DATA_DIR: join(at.path, "data") };
		const { code, stderr } = await at.connect(["claude-code", "--write", ...config()], env);
		expect([code, stderr]).toEqual([1, expect.stringContaining("does not know the key that was made in")]);
		expect(at.files()).toEqual({});
		const { stdout } = await cli(["keys", ...config()], { cwd: at.path, env });
		expect(stdout.split("\n").filter((row) => row.includes("claude-code-") && !/revoked/i.test(row))).toEqual([]);
	});

	test("--url names the router and nothing may make a key there", async () => {
		using at = home();
		const { code, stderr } = await at.connect(["claude-code", "--write", "--url", router.url]);
		expect([code, stderr]).toEqual([
			1,
			expect.stringContaining("wants a key: give one with --key, or set ROUTER_ADMIN_KEYS"),
		]);
		expect(at.files()).toEqual({});
	});

	test("something else than a router answers", async () => {
		using at = home();
		using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
		const { code, stderr } = await at.connect(["claude-code", "--write", "--url", `http://127.0.0.1:${server.port}`]);
		expect([code, stderr]).toEqual([1, expect.stringContaining("that is no router")]);
	});
});

describe("a router with keys", () => {
	test("gives each client a key of its own that works, is used again, and is revoked with --undo", async () => {
		using at = home();
		const { code, stdout, stderr } = await connect(at, "claude-code", "--write");
		const key = token(at);
		expect([code, stdout]).toEqual([0, expect.stringContaining("Made the key claude-code-")]);
		expect(stdout + stderr).not.toContain(key);
		expect([key, await status(key)]).toEqual([expect.stringMatching(/^rk-/), 200]);
		expect(at.read(".local/state/router/connect-claude-code.json")).not.toContain(key);
		expect(at.mode(".local/state/router/connect-claude-code.json")).toBe("600");

		await connect(at, "claude-code", "--write", "--model", "fast");
		expect([token(at), await keysOf("claude-code")]).toEqual([key, [expect.any(String)]]);

		const undone = await connect(at, "claude-code", "--undo");
		expect([undone.code, undone.stdout]).toEqual([0, expect.stringContaining(" is revoked.")]);
		expect([at.files(), await status(key)]).toEqual([{}, 401]);
	});

	test("makes a further key where the name is taken, and a new one where the old one was revoked", async () => {
		using one = home();
		using other = home();
		using third = home();
		await connect(one, "claude-code", "--write");
		await connect(other, "claude-code", "--write");
		const key = token(other);
		expect(key).not.toBe(token(one));
		const name = /Made the key (\S+)\./.exec((await connect(third, "claude-code", "--write")).stdout)?.[1];
		expect(name).toEndWith("-3");
		await connect(one, "claude-code", "--undo");
		expect(await status(key)).toBe(200);
		const [row] = await keysOf("claude-code");
		await cli(["keys", "revoke", row!.split(/\s+/)[0]!, ...config()], { cwd: router.directory, env: beside(router) });
		expect(await status(key)).toBe(401);
		await connect(other, "claude-code", "--write");
		expect([token(other) === key, await status(token(other))]).toEqual([false, 200]);
		await connect(other, "claude-code", "--undo");
	});

	test("has no key made for a key that is given, nor by a print", async () => {
		using at = home();
		const before = await keys();
		expect((await connect(at, "claude-code")).stderr).toContain("with a key of its own called claude-code-");
		expect((await connect(at, "claude-code", "--write", "--key", GIVEN)).code).toBe(0);
		expect([token(at), await keys()]).toEqual([GIVEN, before]);
		await connect(at, "claude-code", "--undo");
		expect(await status(GIVEN)).toBe(200);
	});

	test("makes one over HTTP for --url and an admin key, and revokes it", async () => {
		using at = home();
		const env = { ROUTER_ADMIN_KEYS: ADMIN };
		expect((await at.connect(["claude-code", "--write", "--url", router.url], env)).code).toBe(0);
		const key = token(at);
		expect(await status(key)).toBe(200);
		// Without the admin key the files are cleaned all the same, and the key is named.
		const { code, stderr } = await at.connect(["claude-code", "--undo"]);
		expect([code, stderr]).toEqual([0, expect.stringContaining("is not revoked: --url needs an admin key")]);
		expect(at.files()).toEqual({});
		await at.connect(["claude-code", "--write", "--url", router.url], env);
		const next = token(at);
		await at.connect(["claude-code", "--undo"], env);
		expect([await status(key), await status(next)]).toEqual([200, 401]);
	});

	test("that does not run has one made in its data directory, which is said", async () => {
		using at = home();
		const env = { ROUTER_API_KEYS: GIVEN };
		const { code, stderr } = await at.connect(["codex", "--write"], env);
		expect([code, stderr]).toEqual([0, expect.stringContaining("Nothing answers at http://127.0.0.1:1")]);
		expect(at.read(".codex/.env")).toMatch(/^ROUTER_API_KEY=rk-/);
	});
});

describe("a router without keys", () => {
	test("has none made, since the first would lock others out, and says so", async () => {
		using at = home();
		const { code, stderr } = await at.connect(["claude-code", "--write"], beside(open));
		expect([code, stderr]).toEqual([0, expect.stringContaining("This router needs no keys, so none is made.")]);
		expect(token(at)).toBe("unused-without-keys");
		expect((await fetch(`${open.url}/v1/models`)).status).toBe(200);
	});

	test("has none in Codex's files", async () => {
		using at = home();
		await at.connect(["codex", "--write"], beside(open));
		expect(Object.keys(at.files())).toEqual([".codex/config.toml"]);
		expect(at.read(".codex/config.toml")).not.toContain("env_key");
	});
});

describe("without --model", () => {
	test("a client gets what the configuration names first, which is said", async () => {
		using at = home();
		const { stderr } = await connect(at, "opencode", "--write", "--key", GIVEN);
		const { model, provider } = JSON.parse(at.read(".config/opencode/opencode.json"));
		expect([model, Object.keys(provider.router.models)]).toEqual(["router/fast", ["fast"]]);
		expect(stderr).toContain("The model is fast, the first that suits of 1: --model takes another");
	});

	test("a client that can't be told one is not written", async () => {
		using at = home();
		const { code, stderr } = await at.connect(["opencode", "--write", "--url", "http://127.0.0.1:1", "--key", "k"]);
		expect([code, stderr]).toEqual([1, expect.stringContaining("which model? Name one with --model")]);
		expect(at.files()).toEqual({});
	});

	test("a model that the router does not list is written, and named", async () => {
		using at = home();
		const { code, stderr } = await connect(at, "aider", "--write", "--key", GIVEN, "--model", "nobody/knows");
		expect([code, stderr]).toEqual([0, expect.stringContaining("The router does not list nobody/knows")]);
	});
});

test("a key may come on stdin", async () => {
	using at = home();
	const child = Bun.spawn(
		[
			process.execPath,
			join(import.meta.dir, "../src/main.ts"),
			"connect",
			"aider",
			"--write",
			"--key",
			"-",
			"--model",
			"fast",
			...config(),
		],
		{
			cwd: at.path,
			env: { HOME: at.path, ...beside(router) },
			stdin: Buffer.from(`${GIVEN}\n`),
			stdout: "pipe",
			stderr: "pipe",
		},
	);
	expect([await child.exited, at.read(".aider.conf.yml")]).toEqual([
		0,
		expect.stringContaining(`openai-api-key: "${GIVEN}"`),
	]);
});
