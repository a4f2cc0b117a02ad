/** `router init --systemd` and `--compose`: read by the programs they are for. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { parseCommand, UsageError } from "../src/cli/flags.ts";
import { initText } from "../src/cli/init.ts";
import { composeFile, systemdSocket, systemdUnit } from "../src/cli/systemd.ts";
import { load } from "../src/config/load.ts";
import { needing } from "./kit/needing.ts";

const ROLES = ["router", "agent", "standalone"] as const;
const dir = mkdtempSync(join(tmpdir(), "router-units-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs a program to its end. */
async function program(words: string[], env: Record<string, string> = {}) {
	const child = Bun.spawn(words, { env: { ...process.env, ...env }, stdout: "pipe", stderr: "pipe" });
	const [out, err, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	return { code, out, err };
}

function refusal(...args: string[]): string {
	try {
		parseCommand(args);
	} catch (error) {
		if (error instanceof UsageError) return error.message;
		throw error;
	}
	throw new Error("the command line was taken");
}

describe("the flags", () => {
	test("name a file and whose it is", () => {
		expect(parseCommand(["init", "--systemd"])).toEqual({ do: "init", what: "systemd", role: "router", file: "-" });
		expect(parseCommand(["init", "--compose", "--agent"])).toEqual({
			do: "init",
			what: "compose",
			role: "agent",
			file: "-",
		});
	});

	test("that contradict each other are refused", () => {
		expect(refusal("init", "--systemd", "--compose")).toBe(
			"--systemd and --compose are two files: ask for one at a time",
		);
		expect(refusal("init", "--agent")).toContain("with --systemd or --compose only");
		expect(refusal("init", "--systemd", "--agent", "--standalone")).toContain("exclude each other");
		expect(refusal("init", "--systemd", "a.service")).toBe('"a.service" is one word too many');
		expect(refusal("--systemd")).toBe("--systemd does not belong to a plain start");
	});
});

describe("the systemd unit", () => {
	needing("systemd").test.each(ROLES)("of the %s is one that systemd takes without a word", async (role) => {
		// It must name a program that is there.
		const file = join(dir, `router-${role}-test.service`);
		await Bun.write(file, systemdUnit(role, process.execPath));
		expect(await program(["systemd-analyze", "verify", "--man=no", file])).toEqual({ code: 0, out: "", err: "" });
	});

	needing("systemd").test("of the port is one that systemd takes beside the router's", async () => {
		const [socket, service] = [join(dir, "router.socket"), join(dir, "router.service")];
		await Bun.write(service, systemdUnit("router", process.execPath));
		await Bun.write(socket, initText({ what: "systemd-socket", role: "router" }));
		expect(await program(["systemd-analyze", "verify", "--man=no", socket])).toEqual({ code: 0, out: "", err: "" });
	});

	test("of the port opens the one that a router without settings listens on", () => {
		const { host, port } = load({ flags: {}, env: {}, cwd: dir, role: "router" }).config.server;
		expect(systemdSocket()).toContain(`\nListenStream=${host}:${port}\n`);
	});

	test("starts its role, keeps state apart, and gives calls the time that the configuration gives them", () => {
		expect(systemdUnit("agent", "/opt/router")).toContain("\nExecStart=/opt/router --agent\n");
		expect(systemdUnit("router", "/opt/router")).toContain("\nExecStart=/opt/router\n");
		expect(systemdUnit("agent", "/opt/router")).toContain("\nSupplementaryGroups=docker\n");
		expect(systemdUnit("router", "/opt/router")).not.toContain("docker");
		// 5 s of `server.drain` and 10 min of `server.shutdown_timeout`.
		expect(systemdUnit("router", "/opt/router")).toContain("\nTimeoutStopSec=11min\n");
		expect(systemdUnit("agent", "/opt/router")).toContain("\nExecReload=kill -HUP $MAINPID\n");
		expect(initText({ what: "systemd", role: "standalone" })).toContain(
			"\nExecStart=/usr/local/bin/router --standalone\n",
		);
	});

	test("keeps a path with a space or a percent sign in one piece", () => {
		expect(systemdUnit("router", "/opt/my router/100%")).toContain('\nExecStart="/opt/my router/100%%"\n');
	});
});

describe("the compose file", () => {
	const env = { ROUTER_URL: "http://10.0.0.5:8000", ROUTER_AGENT_TOKEN: "a-token" };

	needing("compose").test.each(ROLES)("of the %s is one that docker-compose takes", async (role) => {
		const file = join(dir, `${role}.yml`);
		await Bun.write(file, composeFile(role));
		const { code, err } = await program(["docker-compose", "--file", file, "config"], env);
		expect({ code, err }).toEqual({ code: 0, err: "" });
	});

	needing("compose").test("of the agent says what is missing", async () => {
		const file = join(dir, "agent-without.yml");
		await Bun.write(file, composeFile("agent"));
		const { code, err } = await program(["docker-compose", "--file", file, "config"], {
			ROUTER_URL: "",
			ROUTER_AGENT_TOKEN: "",
		});
		expect(code).not.toBe(0);
		expect(err).toMatch(/router to join|token/);
	});

	test("holds no value of a secret, and the agent's cache by the host's own path", () => {
		for (const role of ROLES) {
			const { services } = parse(composeFile(role));
			const [service] = Object.values(services) as { environment: unknown; volumes: string[]; network_mode?: string }[];
			expect(JSON.stringify(service!.environment)).not.toMatch(/(?:KEY|HF_TOKEN)"?[:=]"?[^n",]/);
			if (role === "router") continue;
			const path = (service!.environment as Record<string, string>)["DATA_DIR"]!;
			expect((service!.environment as Record<string, string>)["HF_HOME"]).toBe(`${path}/huggingface`);
			expect(service!.volumes).toContain(`${path}:${path}`);
			expect(service!.network_mode).toBe("host");
		}
	});
});
