/** `router doctor`: facts for a report of a fault, what looks wrong with its fix, and no secret, wherever one stands. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loggedFaults } from "../src/cli/doctor/faults.ts";
import { scrubbed, secretVariables } from "../src/cli/doctor/scrub.ts";
import { cli, directory } from "./kit/cli.ts";
import { needing } from "./kit/needing.ts";
import { freePort, type RedisServer, startRedis } from "./kit/redis.ts";
import { startRouter } from "./kit/router.ts";

const redis = needing("redis");
const logLine = (level: string, second: number, msg: string, more: object = {}) =>
	`${JSON.stringify({ level, time: `2026-11-30T10:00:0${second}.000Z`, msg, ...more })}\n`;

describe("what looks wrong", () => {
	test("is each mistake of a configuration that can't be used, and the rest of the page is there", async () => {
		using home = directory({ "router.yaml": "server: { prot: 1 }\nmodels: [{ name: a, targets: [nowhere/x] }]\n" });
		const { code, stdout } = await cli(["doctor"], { cwd: home.path, env: { HOST: "127.0.0.1" } });
		expect(code).toBe(0);
		expect(stdout).toContain("- router.yaml:1:11 server.prot: ");
		expect(stdout).toContain("- router.yaml:2:31 models[0].targets[0]: ");
		expect(stdout).toMatch(/^Program\n {2}router +\d/);
		expect(stdout).toContain("\n  HOST");
	});

	test("is a data directory that can't be written, and a port where no router is", async () => {
		using home = directory({ "file.txt": "" });
		const other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("", { status: 404 }) });
		try {
			const env = { DATA_DIR: join(home.path, "file.txt/data"), PORT: String(other.port) };
			const { stdout } = await cli(["doctor"], { cwd: home.path, env });
			expect(stdout).toContain("- data_dir can't be written (ENOTDIR): give it another directory");
			expect(stdout).toMatch(/- http:\S+ answers 404: not ready: something else may have the port/);
		} finally {
			other.stop(true);
		}
	});

	test("is a Redis that does not answer, without its address and password", async () => {
		using home = directory();
		const env = { REDIS_URL: `redis://:a-password-of-redis@127.0.0.1:${freePort()}` };
		const { stdout } = await cli(["doctor"], { cwd: home.path, env });
		expect(stdout).toContain("- Redis does not answer (ECONNREFUSED): see whether the server runs");
		expect(stdout).not.toContain("a-password-of-redis");
	}, 30_000);

	test("is an engine that a GPU host needs and does not have", async () => {
		using home = directory();
		const { stdout } = await cli(["doctor", "--agent"], { cwd: home.path, env: { PATH: home.path } });
		expect(stdout).toContain("- `docker` is not installed, or not on the agent's PATH: install it");
		const router = await cli(["doctor"], { cwd: home.path, env: { PATH: home.path } });
		expect(router.stdout).toEndWith("\nNothing looks wrong\n");
	});
});

redis.describe("Redis", () => {
	let server: RedisServer;
	redis.beforeAll(async () => {
		server = await startRedis();
	});
	redis.afterAll(() => server.stop());

	redis.test(
		"is asked for its version, its clock and its memory; one that drops any key is told",
		async () => {
			using home = directory();
			const page = async () => (await cli(["doctor"], { cwd: home.path, env: { REDIS_URL: server.url } })).stdout;
			const before = await page();
			expect(before).toMatch(/\n {2}version +\d+\.\d+/);
			expect(before).toMatch(/\n {2}clock +-?\d+ ms from this machine's/);
			expect(before).toEndWith("\nNothing looks wrong\n");
			await server.client.config("SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru");
			expect(await page()).toContain("- Redis drops keys when its memory is full (maxmemory-policy allkeys-lru)");
		},
		30_000,
	);
});

test("no secret is in the page, wherever one stands", async () => {
	const secrets = {
		key: "plain-key-of-a-caller",
		vendor: "vendor/key+with=signs",
		header: "value-of-a-header",
		user: "name-in-an-address",
		query: "secret-in-a-query",
		redis: "password-in-redis-url",
		variable: "value-of-a-password-variable",
		list: "second-key-of-a-list",
		proxy: "password-of-a-proxy",
		logged: "sk-logged-by-mistake-1234",
		bearer: "a-bearer-in-a-log",
	};
	using home = directory({
		"router.yaml": `keys:
  - { name: team, key: ${secrets.key} }
admin: { keys: [{ name: ops, key: "${secrets.key}-of-an-admin" }] }
providers:
  box: { type: openai-compatible, base_url: "http://me:${secrets.user}@box:1/v1?key=${secrets.query}", api_key: "${secrets.vendor}", headers: { x-own: ${secrets.header} } }
redis: { url: "redis://:${secrets.redis}@127.0.0.1:${freePort()}" }
`,
	});
	mkdirSync(join(home.path, "logs"));
	writeFileSync(
		join(home.path, "logs/router.log"),
		[
			logLine("warn", 1, `It sent ${secrets.logged} and ${encodeURIComponent(secrets.vendor)}`),
			logLine("error", 2, "It failed", {
				err: { message: `authorization: Bearer ${secrets.bearer}, ${secrets.header}` },
			}),
			logLine("info", 3, "a call", { prompt: "what a person asked" }),
		].join(""),
	);
	const env = {
		HOME: home.path,
		ODD_PASSWORD: secrets.variable,
		ROUTER_API_KEYS: `first-key-of-a-list,${secrets.list}`,
		HTTPS_PROXY: `http://me:${secrets.proxy}@127.0.0.1:9`,
		OPENAI_API_KEY: "sk-openai-of-the-variable",
	};
	const { code, stdout, stderr } = await cli(["doctor"], { cwd: home.path, env });
	expect(code).toBe(0);
	for (const secret of [
		...Object.values(secrets),
		"first-key-of-a-list",
		"sk-openai-of-the-variable",
		"what a person asked",
	]) {
		expect(stdout + stderr).not.toContain(secret);
	}
	// What is left says what it was about, and where.
	expect(stdout).toContain("2026-11-30T10:00:02.000Z error It failed (authorization: ");
	expect(stdout).toContain("providers.box.base_url");
	expect(stdout).toContain("~/data");
	expect(stdout).not.toContain(home.path);
}, 30_000);

test("a router that runs is seen", async () => {
	const router = await startRouter();
	try {
		const { port } = new URL(router.url);
		const { stdout } = await cli(["doctor"], {
			cwd: router.directory,
			env: { PORT: port, DATA_DIR: join(router.directory, "data") },
		});
		expect(stdout).toContain("the router of this configuration runs and takes calls");
	} finally {
		await router.stop();
	}
});

describe("faults of the logs", () => {
	test("are none where there is no log, or no line of one", () => {
		using home = directory({ "router.log": "no json\n{}\nnull\n" });
		expect(loggedFaults(join(home.path, "gone"))).toEqual([]);
		expect(loggedFaults(home.path)).toEqual([]);
	});

	test("are one entry for equal ones, the newest last, of router and agent", () => {
		using home = directory({
			"router.log": [logLine("warn", 1, "slow"), logLine("error", 3, "down"), logLine("warn", 5, "slow")].join(""),
			"agent.log": logLine("error", 4, "no GPU", { err: { message: "why" } }),
			"router-2026-11-29.log": logLine("fatal", 0, "ended"),
			"notes.txt": logLine("error", 9, "none of ours"),
		});
		expect(loggedFaults(home.path).map(({ message, cause, count }) => [message, cause, count])).toEqual([
			["ended", undefined, 1],
			["down", undefined, 1],
			["no GPU", "why", 1],
			["slow", undefined, 2],
		]);
	});
});

describe("what is taken out", () => {
	test.each([
		["Bearer abc.def", "Bearer ********"],
		["postgres://me:pass@db/x", "postgres://********@db/x"],
		['{"api_key": "abcdef"}', '{"api_key": "********"}'],
		["password=hunter2, more", "password=********, more"],
		["hf_abcdefghijklmnop", "********"],
		["the token count is 7", "the token count is 7"],
		["max_tokens: 700", "max_tokens: 700"],
	])("%p becomes %p", (text, page) => {
		expect(scrubbed(text, [], "")).toBe(page);
	});

	test("is a short value of a variable where its name says so, but no word of the page", () => {
		expect(scrubbed("the key is on", secretVariables({ A_KEY: "on" }), "")).toBe("the key is on");
		expect(scrubbed("it is longer-secret here", secretVariables({ A_TOKEN: "longer-secret" }), "")).toBe(
			"it is ******** here",
		);
	});
});
