import { describe, expect, test } from "bun:test";
import type { Flags, Role } from "../src/config/overlay.ts";
import { type ConfigInput, configure, refusal } from "./kit/configure.ts";

const configOf = (input: ConfigInput) => configure(input).config;

describe("a variable or a flag that does not fit", () => {
	test("is named, and its value is not", () => {
		expect(refusal({ env: { PORT: "sk-1" } })).toBe(
			"server.port: the environment variable PORT must be a whole number from 0 to 65535",
		);
		expect(refusal({ env: { ROUTER_GENERATE_KEY: "maybe" } })).toContain("ROUTER_GENERATE_KEY must be true or false");
		expect(refusal({ flags: { port: "-1" } })).toBe("server.port: --port must be a whole number from 0 to 65535");
	});

	test("comes together with the mistakes of the file", () => {
		expect(refusal({ yaml: "log: { kep: 1 }", env: { PORT: "x", LOG_LEVEL: "loud" } }).split("\n")).toHaveLength(3);
	});

	test("is a key of ROUTER_API_KEYS that is too short to be one", () => {
		const line = refusal({ env: { ROUTER_API_KEYS: "long-enough,short" } });
		expect(line).toContain("ROUTER_API_KEYS must hold keys of at least 8 characters; number 2 is shorter");
	});
});

describe("HOST and PORT", () => {
	const env = { HOST: "1.1.1.1", PORT: "1", AGENT_PORT: "2" };
	const places = (role: Role, flags: Flags = {}) => {
		const { server, agent } = configOf({ env, role, flags });
		return { router: `${server.host}:${server.port}`, agent: `${agent.host}:${agent.port}` };
	};

	test("belong to the role that runs; AGENT_PORT counts only with both in one process", () => {
		expect(places("router")).toEqual({ router: "1.1.1.1:1", agent: "127.0.0.1:5000" });
		expect(places("agent")).toEqual({ router: "127.0.0.1:8000", agent: "1.1.1.1:1" });
		expect(places("standalone")).toEqual({ router: "1.1.1.1:1", agent: "127.0.0.1:2" });
	});

	test("must leave router and agent an address each where both are in one process", () => {
		const same = { PORT: "5000" };
		expect(refusal({ env: same, role: "standalone" })).toContain("agent.port: is the router's own port");
		expect(configOf({ env: same, role: "router" }).server.port).toBe(5000);
		expect(configOf({ env: { PORT: "0", AGENT_PORT: "0" }, role: "standalone" }).agent.port).toBe(0);
		expect(configOf({ env: { ...same, HOST: "::1" }, role: "standalone" }).agent.port).toBe(5000);
	});

	test("give way to --host and --port, which belong to the same role", () => {
		const flags = { host: "::1", port: "9" };
		expect(places("router", flags)).toEqual({ router: "::1:9", agent: "127.0.0.1:5000" });
		expect(places("agent", flags)).toEqual({ router: "127.0.0.1:8000", agent: "::1:9" });
	});
});

describe("lists in variables", () => {
	test("ROUTER_API_KEYS adds keys to the file's", () => {
		const { keys } = configOf({
			yaml: "keys: [{ name: a, key: file-secret, models: [x] }]",
			env: { ROUTER_API_KEYS: "env-secret-1, env-secret-2,," },
		});
		expect(keys).toEqual([
			{ name: "a", key: "file-secret", models: ["x"] },
			{ name: "env-1", key: "env-secret-1", models: ["*"] },
			{ name: "env-2", key: "env-secret-2", models: ["*"] },
		]);
	});

	test("CORS_ORIGINS is comma separated", () => {
		expect(configOf({ env: { CORS_ORIGINS: "https://a.example, https://b.example" } }).server.cors_origins).toEqual([
			"https://a.example",
			"https://b.example",
		]);
	});

	test.each(["ROUTER_API_KEYS", "ROUTER_ADMIN_KEYS", "CORS_ORIGINS", "TRUSTED_PROXIES", "ROUTER_AGENTS_ALLOW"])(
		"%s that holds nothing but commas is refused: what was meant to stand in it is missing",
		(name) => {
			for (const text of [",", " ", " , ,"])
				expect(refusal({ env: { [name]: text } })).toContain(`${name} has nothing in it`);
			expect(configOf({ env: { [name]: "" } }).keys).toEqual([]);
		},
	);

	test("LOG_LEVEL may be in capitals", () => {
		expect(configOf({ env: { LOG_LEVEL: "WARN" } }).log.level).toBe("warn");
	});
});

describe("${NAME} in the file", () => {
	test("that is unset or empty is a mistake with variable and position", () => {
		const yaml = 'keys:\n  - { name: a, key: "${TEAM_KEY}" }\n';
		const line = "router.yaml:2:21 keys[0].key: the environment variable TEAM_KEY is not set";
		expect(refusal({ yaml })).toBe(line);
		expect(refusal({ yaml, env: { TEAM_KEY: "" } })).toBe(line);
	});

	test("that is never closed or holds no name is a mistake", () => {
		expect(refusal({ yaml: 'log: { dir: "${HOME" }' })).toContain("never closed");
		for (const name of ["", "1X", "A B", "HOME:x", "HOME/a/b", ":-x"])
			expect(refusal({ yaml: `log: { dir: "\${${name}}" }` })).toContain("holds no variable's name");
	});

	test("becomes text only: nothing in it is read as YAML", () => {
		const NAME = 'x" }\nserver: { insecure: true } # ${HOME}';
		const yaml = 'models: [{ name: "${NAME}", targets: [dummy] }]';
		const config = configOf({ yaml, env: { NAME, HOME: "/h" } });
		expect(config.models[0]?.name).toBe(NAME);
		expect(config.server.insecure).toBe(false);
	});

	test("may stand inside other text, more than once; $${ is a literal", () => {
		const yaml = 'providers: { box: { type: vllm, base_url: "http://${H}:${P}/$${x}" } }';
		expect(configOf({ yaml, env: { H: "h", P: "1" } }).providers["box"]?.base_url).toBe("http://h:1/${x}");
	});

	test("gives numbers and true/false their kind", () => {
		const { server } = configOf({ yaml: "server:\n  port: ${P}\n  insecure: ${I}\n", env: { P: "81", I: "yes" } });
		expect(server).toMatchObject({ port: 81, insecure: true });
	});

	test("that is no number where one belongs is told at its place, without its value", () => {
		const line = refusal({ yaml: "server:\n  port: ${P}\n", env: { P: "sk-1" } });
		expect(line).toBe("router.yaml:2:9 server.port: must be a whole number from 0 to 65535, but is text");
	});

	test("set by the variable of an address serves for llm-d", () => {
		expect(configOf({ yaml: "providers: { llm-d: }", env: { LLMD_BASE_URL: "http://l" } }).providers).toEqual({
			"llm-d": {},
		});
	});
});

describe("the agent's flags", () => {
	const agent = (flags: Flags, yaml = "") => configOf({ flags, yaml, role: "agent" }).agent;

	test("add a model to those of the file", () => {
		const yaml = "agent: { models: [{ model: a/b, gpu_memory: 6GiB, ttl: 10m, load: on-demand }] }";
		const flags = { model: "Qwen/Qwen3-8B", gpus: "2", devices: "0,1", args: ["--max-model-len", "100"] };
		expect(agent(flags, yaml).models).toEqual([
			{ model: "a/b", gpu_memory: 6 * 1024 ** 3, ttl: 600_000, load: "on-demand" },
			{ model: "Qwen/Qwen3-8B", gpus: 2, devices: [0, 1], args: ["--max-model-len", "100"], load: "always" },
		]);
	});

	test("that do not fit are named", () => {
		const said = (flags: Flags) => refusal({ flags: { model: "m", ...flags }, role: "agent" });
		expect(said({ gpus: "two" })).toContain("--gpus must be a whole number");
		expect(said({ devices: "0,x" })).toContain("--devices must be numbers of GPUs");
		for (const name of ["../../x", "--privileged", "a/../b", "a b", "-x"])
			expect(said({ name })).toContain("--name must be");
		expect(said({ model: "--privileged" })).toContain("--model must be");
		expect(refusal({ flags: { model: "m" }, yaml: "agent: { models: [{ model: m }] }", role: "agent" })).toContain(
			"too",
		);
	});
});

describe("${file:…} in the file", () => {
	const yaml = 'keys:\n  - { name: a, key: "${file:secrets/a.txt}" }\n';

	test("is what the file holds, without its last line end; relative to where the router is started", () => {
		const files = { "router.yaml": yaml.replace("secrets/", "") };
		const key = (text: string) => configure({ files: { ...files, "a.txt": text } }).config.keys[0]?.key;
		expect([key("key-in-a-file\n"), key("key-in-a-file\r\n"), key("key-in-a-file")]).toEqual(
			Array(3).fill("key-in-a-file"),
		);
	});

	test("that can't be read, is empty or is no secret at all is a mistake at its place, without what it holds", () => {
		expect(refusal({ yaml })).toMatch(
			/^router\.yaml:2:21 keys\[0\]\.key: the file \S+secrets\/a\.txt can't be read \(ENOENT\)$/,
		);
		const holding = (text: string) =>
			refusal({ files: { "router.yaml": yaml.replace("secrets/", ""), "a.txt": text } });
		expect(holding("\n")).toContain("is empty");
		expect(holding("x".repeat(70_000))).toContain("is too long for a setting");
		expect(holding("two words here")).not.toContain("words");
	});
});

describe("ROUTER_ADMIN_KEYS", () => {
	test("adds admin keys to those of the file", () => {
		const yaml = "admin: { keys: [{ name: ops, key: ops-admin-key }] }";
		const { keys } = configOf({ yaml, env: { ROUTER_ADMIN_KEYS: "admin-key-1, admin-key-2" } }).admin;
		expect(keys).toEqual([
			{ name: "ops", key: "ops-admin-key" },
			{ name: "env-1", key: "admin-key-1" },
			{ name: "env-2", key: "admin-key-2" },
		]);
		expect(configOf({ env: { ROUTER_ADMIN_KEYS: "admin-key-1" } }).admin.keys).toHaveLength(1);
	});

	test("that the file has, too, are one: a command beside a running router reads both", () => {
		const yaml = "admin: { keys: [{ name: ops, key: admin-key-1 }] }";
		const { keys } = configOf({ yaml, env: { ROUTER_ADMIN_KEYS: "admin-key-1,admin-key-2,admin-key-2" } }).admin;
		expect(keys).toEqual([
			{ name: "ops", key: "admin-key-1" },
			{ name: "env-2", key: "admin-key-2" },
		]);
	});

	test("that are too short to be safe are refused", () => {
		expect(refusal({ env: { ROUTER_ADMIN_KEYS: "short" } })).toContain(
			"ROUTER_ADMIN_KEYS must hold keys of at least 8",
		);
	});
});
