/** How a process comes to take a router's place, and who is told: `--replace`, routers that can't be replaced, systemd. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { parseCommand } from "../src/cli/flags.ts";
import { libc } from "../src/libc.ts";
import { ControlPeer, listenForControl } from "../src/server/upgrade/control-socket.ts";
import { containerProblem } from "../src/server/upgrade/new-process.ts";
import { serviceProblem, tellServiceManager } from "../src/server/upgrade/service-manager.ts";
import type { FromRouter, ToRouter } from "../src/server/upgrade/upgrade-messages.ts";
import { lockDirectory } from "../src/store/directory-lock.ts";
import { cli, directory } from "./kit/cli.ts";
import { command } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { callProblem, isRouter, type SlowUpstream, slowUpstream, upgradedRouter } from "./kit/upgrades.ts";

const linux = process.platform === "linux";

test("an agent is not replaced: that says why", () => {
	expect(() => parseCommand(["--agent", "--replace"])).toThrow("--replace belongs to the router");
	expect(parseCommand(["--replace"])).toEqual({ do: "start", role: "router", flags: {}, isReplacing: true });
});

describe.if(linux)("--replace", () => {
	let upstream: SlowUpstream;
	beforeAll(() => {
		upstream = slowUpstream();
	});
	afterAll(() => upstream.stop());

	test("of a router that has no socket, as an older version has none, says that this once it has to be stopped", async () => {
		using home = directory();
		const lock = lockDirectory(home.path, "router");
		const { code, stderr } = await cli(["--replace", "--port", "0"], { cwd: home.path, env: { DATA_DIR: home.path } });
		lock.release();
		expect(code).toBe(1);
		expect(stderr).toMatch(/can't hand over: it is of a version before upgrades without interruption.*\. Stop it/);
	});

	test("finds the router that runs by its socket where nobody holds its data directory, as right after an upgrade", async () => {
		using home = directory();
		const close = await listenForControl(home.path, (socket) => {
			const peer = new ControlPeer<FromRouter, ToRouter>(socket);
			peer.onMessage = ({ type }) => peer.send({ type: "done", isUpgraded: false, text: `No ${type} today.` });
		});
		const { code, stderr } = await cli(["--replace", "--port", "0"], { cwd: home.path, env: { DATA_DIR: home.path } });
		close();
		expect(code).toBe(1);
		expect(stderr).toContain("No replace today.");
	});

	test("takes the place of the router that runs, which then ends with 0; where none runs it is a start like any other", async () => {
		const router = await upgradedRouter(upstream.url);
		const { directory: home, env } = router;
		const start = () =>
			Bun.spawn([...command("source"), "--replace", "--config", join(home, "router.yaml")], {
				...{ cwd: home, env, stdin: "ignore", stdout: "ignore", stderr: "inherit" },
			});
		let second: ReturnType<typeof start> | undefined;
		let third: ReturnType<typeof start> | undefined;
		try {
			second = start();
			await router.printed(/Another process takes all further connections/);
			expect(await callProblem(router.url, false, true)).toBeUndefined();
			await callProblem(router.url, false);
			await until(() => !isRouter(router.pid), "the end of the first");
			second.kill("SIGKILL");
			await second.exited;
			third = start();
			await until(async () => (await callProblem(router.url, false, true)) === undefined, "the third");
		} finally {
			second?.kill("SIGKILL");
			third?.kill("SIGKILL");
			await Promise.all([second?.exited, third?.exited]);
			await router.end();
		}
	}, 60_000);

	test("has systemd told who is ready, and which process is the main one; a socket that is none is no trouble", async () => {
		using home = directory();
		await tellServiceManager("READY=1", join(home.path, "nobody"));
		await tellServiceManager("READY=1", "/".repeat(200));
		const path = join(home.path, "notify");
		await using received = await datagrams(path);
		const router = await upgradedRouter(upstream.url, { env: { NOTIFY_SOCKET: path } });
		try {
			await until(() => received.next().includes("READY=1"), "the first process");
			expect((await router.upgrade()).code).toBe(0);
			await until(() => received.next().includes(`MAINPID=${router.current()}`), "the second one");
		} finally {
			await router.end();
		}
	}, 60_000);
});

describe("a service of systemd that says nothing to it", () => {
	test("is one whose main process this is; no child of it, no process with a parent of its own, none outside", () => {
		const of = (env: Record<string, string>, ppid = 1) => serviceProblem(env, { pid: 12, ppid });
		expect(of({ SYSTEMD_EXEC_PID: "12", INVOCATION_ID: "a" })).toContain("add `Type=notify` under `[Service]`");
		// A user's: its parent is that user's systemd.
		expect(of({ SYSTEMD_EXEC_PID: "12", INVOCATION_ID: "a" }, 900)).toContain("Type=notify");
		// Before version 248.
		expect(of({ INVOCATION_ID: "a" })).toContain("Type=notify");
		expect(of({ SYSTEMD_EXEC_PID: "12", INVOCATION_ID: "a", NOTIFY_SOCKET: "@notify" })).toBeUndefined();
		expect(of({ SYSTEMD_EXEC_PID: "11", INVOCATION_ID: "a" })).toBeUndefined();
		expect(of({ INVOCATION_ID: "a" }, 900)).toBeUndefined();
		expect(of({})).toBeUndefined();
	});

	test.if(linux)(
		"is not replaced, as that would be its end: `router upgrade` and --replace say what its unit lacks",
		async () => {
			const upstream = slowUpstream();
			const main = ["sh", "-c", 'export SYSTEMD_EXEC_PID=$$; exec "$@"', "sh", ...command("source")];
			const router = await upgradedRouter(upstream.url, { command: main });
			try {
				const { code, output } = await router.upgrade();
				expect(code).toBe(1);
				expect(output).toContain("add `Type=notify`");
				const replacing = await cli(["--replace", "--config", join(router.directory, "router.yaml")], {
					cwd: router.directory,
					env: router.env,
				});
				expect(replacing.code).toBe(1);
				expect(replacing.stderr).toContain("add `Type=notify`");
				expect(await callProblem(router.url, false, true)).toBeUndefined();
			} finally {
				await router.end();
				upstream.stop();
			}
		},
		60_000,
	);
});

test("a router that its container ends with is not replaced by a child of it; one that an orphan of its container is may be", () => {
	const own = "/usr/local/bin/router\0--port\x008000\0";
	const of = (pid: number, ppid: number, first: string) => containerProblem({ pid, ppid, own, first });
	expect(of(1, 0, own)).toContain("is the first process of its container");
	for (const init of ["/sbin/docker-init\0--\0", "/run/podman-init\0--\0", "tini\0-g\0--\0", "dumb-init\0"]) {
		expect(of(7, 1, init + own)).toContain("is what its container was started for");
	}
	// Of `docker exec`, of a shell, and of an init whose container was started for something else.
	expect(of(7, 0, `/sbin/docker-init\0--\0${own}`)).toBeUndefined();
	expect(of(7, 6, `/sbin/docker-init\0--\0${own}`)).toBeUndefined();
	expect(of(7, 1, "/sbin/docker-init\0--\0sleep\0infinity\0")).toBeUndefined();
	expect(of(7, 1, "/sbin/init\0")).toBeUndefined();
	// Where nothing can be read.
	expect(containerProblem({ pid: 7, ppid: 1, own: "", first: "" })).toBeUndefined();
});

/** Listens for datagrams at a path, which Bun can't. `next` gives all that have come so far. */
async function datagrams(path: string) {
	const system = libc({
		socket: { args: ["i32", "i32", "i32"], returns: "i32" },
		bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
		recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" },
		close: { args: ["i32"], returns: "i32" },
	});
	if (!system) throw new Error("no C library");
	const { socket, bind, recv, close, ptr } = system;
	const [unix, datagram, dontWait] = [1, 2, 0x40];
	const address = Buffer.alloc(110);
	address.writeUInt16LE(unix, 0);
	const length = 2 + address.write(path, 2);
	const descriptor = socket(unix, datagram, 0);
	if (bind(descriptor, ptr(address), length) !== 0) throw new Error(`${path} can't be bound`);
	const all: string[] = [];
	return {
		next() {
			const message = Buffer.alloc(256);
			for (;;) {
				const bytes = Number(recv(descriptor, ptr(message), message.length, dontWait));
				if (bytes < 0) return all;
				all.push(message.toString("utf8", 0, bytes));
			}
		},
		async [Symbol.asyncDispose]() {
			close(descriptor);
		},
	};
}
