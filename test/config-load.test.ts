import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type ConfigInput, configure, refusal } from "./kit/configure.ts";

describe("the file that is read", () => {
	test("must exist where it was named, and the message says who named it", () => {
		expect(refusal({ flags: { config: "none.yaml" } })).toBe("none.yaml: there is no such file (named by --config)");
		expect(refusal({ env: { ROUTER_CONFIG: "none.yaml" } })).toContain("(named by ROUTER_CONFIG)");
	});

	test("must be a file", () => {
		expect(refusal({ flags: { config: "." } })).toContain("can't be read (EISDIR)");
	});

	test("is --config, else ROUTER_CONFIG, else router.yaml, else none", () => {
		const files = { "router.yaml": "log: { keep: 1 }", "e.yaml": "log: { keep: 2 }", "f.yaml": "log: { keep: 3 }" };
		expect(configure({}).config.log.keep).toBe(14);
		expect(configure({}).file).toBeUndefined();
		expect(configure({ files }).config.log.keep).toBe(1);
		expect(configure({ files, env: { ROUTER_CONFIG: "" } }).config.log.keep).toBe(1);
		expect(configure({ files, env: { ROUTER_CONFIG: "e.yaml" } }).config.log.keep).toBe(2);
		const loaded = configure({ files, env: { ROUTER_CONFIG: "e.yaml" }, flags: { config: "f.yaml" } });
		expect(loaded.config.log.keep).toBe(3);
		expect(loaded.file).toBe(join(loaded.home, "f.yaml"));
	});
});

describe("one setting", () => {
	const files = { "router.yaml": "server:\n  port: 1\n" };

	test("comes from the flag before the environment before the file before the default, and says so", () => {
		const port = (input: ConfigInput) => {
			const { config, sources } = configure(input);
			return [config.server.port, sources.of(["server", "port"])];
		};
		expect(port({})).toEqual([8000, { from: "default" }]);
		expect(port({ files })).toEqual([1, { from: "file", file: "router.yaml", line: 2 }]);
		expect(port({ files, env: { PORT: "2" } })).toEqual([2, { from: "env", name: "PORT" }]);
		expect(port({ files, env: { PORT: "2" }, flags: { port: "3" } })).toEqual([3, { from: "flag", name: "--port" }]);
	});

	test("is not set by an empty variable", () => {
		expect(configure({ files, env: { PORT: "", LOG_LEVEL: "" } }).config).toMatchObject({
			server: { port: 1 },
			log: { level: "info" },
		});
	});

	test("has units in the file and plain numbers in the program", () => {
		const { config } = configure({
			files: { "router.yaml": "timeouts: { stall: 1.5h }\nserver: { body_limit: 1KiB }" },
		});
		expect(config.timeouts).toEqual({
			total: 600_000,
			first_token: 600_000,
			stall: 5_400_000,
			connect: 5000,
			attempts: 600_000,
		});
		expect(config.server.body_limit).toBe(1024);
	});

	test("left out of a provider's timeouts stays out: the general ones hold", () => {
		const { config } = configure({ files: { "router.yaml": "providers: { openai: { timeouts: { stall: 2m } } }" } });
		expect(config.providers["openai"]).toEqual({ timeouts: { stall: 120_000 } });
	});

	test("can't be changed once loaded", () => {
		const { config } = configure({});
		expect(Object.isFrozen(config) && Object.isFrozen(config.server.cors_origins)).toBe(true);
	});

	test("that is a section with nothing in it is its defaults", () => {
		expect(configure({ files: { "router.yaml": "server:\nlog:\n" } }).config.server.port).toBe(8000);
	});
});

describe("directories", () => {
	test("are absolute, from where the process was started", () => {
		const { config, home } = configure({ files: { "router.yaml": "log: { dir: l }" } });
		expect([config.data_dir, config.log.dir]).toEqual([join(home, "data"), join(home, "l")]);
	});

	test("default to systemd's, the first of a list; file and environment win over those", () => {
		const env = { STATE_DIRECTORY: "/var/lib/a:/var/lib/b", LOGS_DIRECTORY: "/var/log/a" };
		expect(configure({ env }).config).toMatchObject({ data_dir: "/var/lib/a", log: { dir: "/var/log/a" } });
		const files = { "router.yaml": "data_dir: /file" };
		const { config } = configure({ files, env: { ...env, LOG_DIR: "/env" } });
		expect(config).toMatchObject({ data_dir: "/file", log: { dir: "/env" } });
	});
});
