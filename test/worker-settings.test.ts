/** What a router of several workers is started with, refuses, and takes over while it runs. */
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { parseCommand } from "../src/cli/flags.ts";
import type { Config } from "../src/config/schema.ts";
import { RouterState } from "../src/server/router-state.ts";
import { allowedCpus } from "../src/server/threads/cpus.ts";
import { workerCount } from "../src/server/threads/worker-count.ts";
import { cli, directory } from "./kit/cli.ts";
import { configure, refusal } from "./kit/configure.ts";
import type { Json } from "./kit/exchange.ts";
import { until } from "./kit/until.ts";
import { callOnce, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

let router: Awaited<ReturnType<typeof startHere>> | undefined;
afterEach(async () => {
	await router?.stop();
	router = undefined;
});

describe("server.workers", () => {
	test.each(["0", "9", "1.5", "-1", "two"])("is refused where it is %s", (text) => {
		const wanted = "must be auto or a whole number from 1 to 8";
		expect(refusal({ yaml: `server: { workers: ${text} }` })).toContain(`server.workers: ${wanted}`);
		expect(refusal({ env: { ROUTER_WORKERS: text } })).toBe(
			`server.workers: the environment variable ROUTER_WORKERS ${wanted}`,
		);
		expect(refusal({ flags: { workers: text } })).toBe(`server.workers: --workers ${wanted}`);
	});

	test("is auto unless it is set; a flag wins over the variable, and that over the file", () => {
		const yaml = "server: { workers: 2 }";
		const env = { ROUTER_WORKERS: "3" };
		expect(configure({}).config.server.workers).toBe("auto");
		expect(configure({ yaml }).config.server.workers).toBe(2);
		expect(configure({ yaml, env }).config.server.workers).toBe(3);
		expect(configure({ yaml, env, flags: { workers: "4" } }).config.server.workers).toBe(4);
		expect(configure({ yaml, env, flags: { workers: "auto" } }).config.server.workers).toBe("auto");
		expect(configure({ yaml, env: { ROUTER_WORKERS: "AUTO" } }).config.server.workers).toBe("auto");
	});

	test("is no agent's", () => {
		expect(parseCommand(["--workers", "2"])).toMatchObject({ flags: { workers: "2" } });
		expect(() => parseCommand(["--agent", "--workers", "2"])).toThrow("--workers belongs to the router");
	});
});

describe("auto", () => {
	const count = (cpus: number, platform = "linux", yaml: Json = {}) =>
		workerCount(configure({ yaml: JSON.stringify(yaml) }).config, { cpus, platform });

	test("is 1 where connections are not spread, and nothing is refused", () => {
		expect([count(32, "darwin"), count(32, "win32")]).toEqual([1, 1]);
	});

	test("a number is what it says, wherever the router runs", () => {
		const server = { workers: 3 };
		expect(["linux", "darwin", "win32"].map((platform) => count(1, platform, { server }))).toEqual([3, 3, 3]);
		expect(count(32, "darwin", { server: { workers: 1 } })).toBe(1);
	});

	test("is the CPUs that the process may use less one, whole ones alone, from 1 to 8", () => {
		expect([0.5, 1, 2, 2.9, 3, 4.5, 9, 10, 128].map((cpus) => count(cpus))).toEqual([1, 1, 1, 1, 2, 3, 8, 8, 8]);
	});

	test("is said by router check, as what it is here", async () => {
		using home = directory();
		const { stdout } = await cli(["check"], { cwd: home.path });
		expect(stdout).toMatch(new RegExp(`server\\.workers +auto, here ${count(allowedCpus())} +default`));
	});
});

const ADMIN = "admin-key-of-the-test";
const statuses = async (headers: Record<string, string>, model = "dummy") => {
	const calls = Array.from({ length: 12 }, async () => {
		const answer = await callOnce(router!.url, { model }, headers);
		await answer.text();
		return answer.status;
	});
	return [...new Set(await Promise.all(calls))];
};
const admin = async (path: string, body?: Json) => {
	const answer = await fetch(`${router!.url}/admin/keys${path}`, {
		method: "POST",
		headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
		body: JSON.stringify(body ?? {}),
	});
	return (await answer.json()) as { secret: string; id: string };
};

describe("a key", () => {
	const start = async () => {
		router = await startHere(twoWorkers({ admin: { keys: [{ name: "ops", key: ADMIN }] } }));
	};

	test("is known to all workers when the administrator has it, and to none when it is revoked", async () => {
		await start();
		const { secret } = await admin("", { name: "team" });
		const headers = { authorization: `Bearer ${secret}` };
		expect(await statuses(headers)).toEqual([200]);
		expect(await statuses({})).toEqual([401]);
		const rotated = await admin("/team/rotate");
		expect(await statuses(headers)).toEqual([401]);
		expect(await statuses({ authorization: `Bearer ${rotated.secret}` })).toEqual([200]);
		await admin("/team/revoke");
		expect(await statuses({ authorization: `Bearer ${rotated.secret}` })).toEqual([401]);
	});

	test("that another process makes or revokes in the database is known to all workers at once", async () => {
		await start();
		const beside = new RouterState({
			data_dir: join(router!.directory, "data"),
			usage: { keep: 1e9, size: 1e9 },
		} as Config);
		const { secret, key } = beside.keys.create({ name: "team", models: ["*"], limits: {} });
		await Bun.sleep(5);
		const headers = { authorization: `Bearer ${secret}` };
		expect(await statuses(headers)).toEqual([200]);
		beside.keys.revoke(key.id);
		// Another process takes as long to end, so that whoever waits for it finds it done.
		await Bun.sleep(5);
		expect(await statuses(headers)).toEqual([401]);
		beside.store.close();
	});

	test("that came at run time has its limits for all workers together", async () => {
		await start();
		const { secret } = await admin("", { name: "team", rpm: 7 });
		const headers = { authorization: `Bearer ${secret}` };
		const calls = await Promise.all(Array.from({ length: 12 }, () => callOnce(router!.url, {}, headers)));
		expect(calls.filter(({ status }) => status === 200)).toHaveLength(7);
		expect(await statuses(headers)).toEqual([429]);
	});
});

test("another configuration is in force in all workers, also in one that starts later", async () => {
	using recorded = recordWorkers();
	router = await startHere(twoWorkers());
	expect(await statuses({}, "fast")).toEqual([404]);
	router.write(twoWorkers({ models: [{ name: "fast", targets: ["dummy"] }] }));
	process.kill(process.pid, "SIGHUP");
	await until(async () => (await statuses({}, "fast")).join() === "200", "the configuration");
	await until(() => router!.log().includes("The configuration was loaded anew."), "a line of the log");
	recorded.workers[0]!.worker.terminate();
	await until(() => router!.log().includes("has taken the place"), "another worker");
	expect(await statuses({}, "fast")).toEqual([200]);
});

test("what is no call is answered as by one thread", async () => {
	router = await startHere(twoWorkers());
	const get = async (path: string) => {
		const answer = await fetch(`${router!.url}${path}`);
		await answer.arrayBuffer();
		return answer.status;
	};
	for (const path of ["/health/live", "/health/ready", "/metrics", "/metrics/", "/swagger", "/agents", "/v1/models"])
		expect([path, await get(path)]).toEqual([path, 200]);
	expect(await get("/admin/nothing")).toBe(404);
	const { paths } = (await (await fetch(`${router.url}/swagger/json`)).json()) as { paths: object };
	expect(Object.keys(paths)).toEqual(expect.arrayContaining(["/v1/chat/completions", "/admin/keys", "/register"]));
	const preflight = await fetch(`${router.url}/metrics`, {
		method: "OPTIONS",
		headers: { origin: "http://localhost:3000", "access-control-request-method": "GET" },
	});
	expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([
		204,
		"http://localhost:3000",
	]);
});
