/** The data directory as people treat it: deleted under a running router, or given to two of them. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { chownSync, mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { lockDirectory } from "../src/store/directory-lock.ts";
import { cli, directory } from "./kit/cli.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

test("a key that is made while the data directory is gone says that it is not kept yet; the directory is made anew, be it by the command, and no key is lost", async () => {
	using home = directory();
	const data = join(home.path, "data");
	const running = await startRouter({
		env: { DATA_DIR: data },
		config: { admin: { keys: [{ name: "root", key: "the-admin-key" }] } },
	});
	try {
		const make = async (name: string) => {
			const answer = await fetch(`${running.url}/admin/keys`, {
				method: "POST",
				headers: { authorization: "Bearer the-admin-key", "content-type": "application/json" },
				body: JSON.stringify({ name }),
			});
			return { status: answer.status, ...((await answer.json()) as { warning?: string }) };
		};
		expect(await make("kept")).toMatchObject({ status: 201 });
		expect((await make("kept-too")).warning).toBeUndefined();
		rmSync(data, { recursive: true });
		expect(await make("lost")).toMatchObject({
			status: 201,
			warning: expect.stringContaining("it was deleted or replaced"),
		});
		const made = await cli(["keys", "create", "--name", "anew"], { cwd: home.path, env: { DATA_DIR: data } });
		expect(made.code).toBe(0);
		const names = async () => {
			const answer = await fetch(`${running.url}/admin/keys`, { headers: { authorization: "Bearer the-admin-key" } });
			return ((await answer.json()) as { data: { name: string }[] }).data.map(({ name }) => name).sort();
		};
		const all = ["anew", "kept", "kept-too", "lost"];
		await until(async () => Bun.deepEquals(await names(), all), "the key that the command made");
		const { stdout } = await cli(["keys", "list"], { cwd: home.path, env: { DATA_DIR: data } });
		for (const name of all) expect(stdout).toMatch(new RegExp(`^${name} `, "m"));
	} finally {
		await running.stop();
	}
});

describe("a data directory that a router uses", () => {
	const used = /is in use by another router \(process (\d+), since 2\d{3}-[\dT:-]+Z\): stop that one, or give this one/;

	const WORKERS = ["1", "2"];
	test.each(WORKERS)(
		"is refused to a second one, which names the first; the agent on it is none: workers %s",
		async (workers) => {
			using home = directory();
			const env = { DATA_DIR: home.path, ROUTER_WORKERS: workers };
			const first = await startRouter({ env });
			const refused = await startRouter({ env }).then(String, String);
			expect(refused).toMatch(used);
			expect(used.exec(refused)?.[1]).toBe(String(first.pid));
			expect(refused).toContain("ended with 1");
			expect((await fetch(`${first.url}/health/ready`)).status).toBe(200);
			const agent = await startRouter({ env, args: ["--agent"] });
			await expect(startRouter({ env, args: ["--agent"] })).rejects.toThrow("in use by another agent");
			await expect(startRouter({ env: { ...env, AGENT_PORT: "0" }, args: ["--standalone"] })).rejects.toThrow(
				"in use by",
			);
			await agent.stop();
			await first.stop();
		},
		60_000,
	);

	test.each(WORKERS)(
		"is free once that one was killed, or has been told to end, though it still answers: workers %s",
		async (workers) => {
			using home = directory();
			const env = { DATA_DIR: home.path, ROUTER_WORKERS: workers };
			const killed = await startRouter({ env });
			await killed.stop();
			const ending = await startRouter({ env, config: { server: { drain: "1m" } } });
			process.kill(ending.pid, "SIGTERM");
			await ending.printed(/SIGTERM: calls are taken a moment more/);
			const successor = await startRouter({ env });
			expect((await fetch(`${ending.url}/v1/models`)).status).toBe(200);
			await expect(startRouter({ env })).rejects.toThrow(`process ${successor.pid}`);
			await ending.stop();
			await successor.stop();
		},
		60_000,
	);

	test.each(WORKERS)(
		"lets one in that says it takes the place, and is held by that one afterwards: workers %s",
		async (workers) => {
			using home = directory();
			const env = { DATA_DIR: home.path, ROUTER_WORKERS: workers };
			const first = await startRouter({ env });
			const successor = await startRouter({ env: { ...env, ROUTER_SUCCESSOR: "1" } });
			expect((await fetch(`${first.url}/health/ready`)).status).toBe(200);
			await successor.printed(
				new RegExp(`another router still holds .* \\(process ${first.pid}, since .*this one waits for it`),
			);
			await first.stop();
			await successor.printed(/is held by this router now/);
			await until(() => {
				try {
					lockDirectory(home.path, "router").release();
					return false;
				} catch (error) {
					return (error as Error).message.includes(`process ${successor.pid},`);
				}
			});
			await successor.stop();
		},
		60_000,
	);

	test.each(WORKERS)(
		"has its keys and budgets shared until the successor is alone: workers %s",
		async (workers) => {
			using home = directory();
			const env = { DATA_DIR: home.path, ROUTER_WORKERS: workers };
			const config = {
				admin: { keys: [{ name: "root", key: "the-admin-key" }] },
				prices: { "dummy/*": { input: 0, output: 0, request: 1 } },
				server: { drain: "0s" },
			};
			const first = await startRouter({ env, config });
			const second = await startRouter({ env: { ...env, ROUTER_SUCCESSOR: "1" }, config });
			const admin = async (url: string, path: string, body?: object) => {
				const answer = await fetch(`${url}/admin${path}`, {
					method: "POST",
					headers: { authorization: "Bearer the-admin-key", "content-type": "application/json" },
					...(body ? { body: JSON.stringify(body) } : {}),
				});
				return (await answer.json()) as { key: { id: string }; secret: string };
			};
			const call = async (url: string, secret: string) => {
				const answer = await fetch(`${url}/v1/chat/completions`, {
					method: "POST",
					headers: { authorization: `Bearer ${secret}`, "content-type": "application/json", connection: "close" },
					body: JSON.stringify({ model: "dummy", messages: [{ role: "user", content: "hello" }] }),
				});
				await answer.text();
				return answer.status;
			};
			const { key, secret } = await admin(first.url, "/keys", { name: "one", budget: { usd: 3, per: "total" } });
			expect([await call(first.url, secret), await call(second.url, secret), await call(first.url, secret)]).toEqual([
				...[200, 200, 200],
			]);
			for (const { url } of [first, second]) await until(async () => (await call(url, secret)) === 429, "the budget");
			await admin(second.url, `/keys/${key.id}/revoke`);
			for (const { url } of [first, second])
				await until(async () => (await call(url, secret)) === 401, "the revocation");
			await first.stop();
			await second.stop();
		},
		60_000,
	);

	test("that can't be written, or is none, is nobody's, and it is said why", () => {
		using home = directory({ file: "" });
		mkdirSync(join(home.path, "data/router.lock"), { recursive: true });
		for (const path of [join(home.path, "file"), "/proc/nothing", join(home.path, "data")]) {
			const lock = lockDirectory(path, "router");
			expect(lock.problem).toMatch(/^(E[A-Z]+|SQLITE_CANTOPEN\w*)$/);
			lock.release();
		}
	});

	test("that can't be locked is told in the log", async () => {
		const home = directory();
		mkdirSync(join(home.path, "data/router.lock"), { recursive: true });
		const running = await startRouter({ env: { DATA_DIR: join(home.path, "data") } });
		await running.printed(/can't be locked \(SQLITE_CANTOPEN\w*\): no other router is kept from using it/);
		await running.stop();
		home[Symbol.dispose]();
	});

	test.skipIf(process.getuid?.() !== 0)(
		"has its lock, made by root, handed to its owner, who may start the next router",
		() => {
			using home = directory();
			chownSync(home.path, 1234, 1234);
			lockDirectory(home.path, "router").release();
			const { uid, mode } = statSync(join(home.path, "router.lock"));
			expect([uid, mode & 0o777]).toEqual([1234, 0o600]);
		},
	);
});

test("of routers that start at the same time one holds the directory, and the others name it", async () => {
	const STARTS = 4;
	const ROUNDS = 8;
	using home = directory();
	const barrier = new SharedArrayBuffer(4);
	const workers = Array.from({ length: STARTS }, () => new Worker(join(import.meta.dir, "kit/lock-racer.ts")));
	try {
		const results = await Promise.all(
			workers.map((worker) => {
				const done = Promise.withResolvers<string[]>();
				worker.onmessage = ({ data }) => done.resolve(data);
				worker.onerror = ({ message }) => done.reject(new Error(message));
				worker.postMessage({ barrier, starts: STARTS, rounds: ROUNDS, directory: home.path });
				return done.promise;
			}),
		);
		for (let round = 0; round < ROUNDS; round++) {
			const refused = results.map((each) => each[round]!).filter((each) => each !== "held");
			expect(refused).toHaveLength(STARTS - 1);
			for (const each of refused) expect(each).toContain("is in use by another router (process ");
		}
	} finally {
		for (const worker of workers) worker.terminate();
	}
});

test("two routers of one process are two, too", () => {
	using home = directory();
	const first = lockDirectory(home.path, "router");
	expect(() => lockDirectory(home.path, "router")).toThrow("in use by another router");
	lockDirectory(home.path, "agent").release();
	first.release();
	first.release();
	lockDirectory(home.path, "router").release();
});

test("what a newer router wrote is never told as if there were nothing: the commands say why they can't read it", async () => {
	using home = directory();
	const env = { DATA_DIR: home.path };
	const run = (...command: string[]) => cli(command, { cwd: home.path, env });
	expect((await run("keys", "create", "--name", "one")).code).toBe(0);
	using db = new Database(join(home.path, "router.db"));
	db.run("PRAGMA user_version = 1000");
	const reading = [["keys"], ["usage"], ["why", "req_1"], ["keys", "revoke", "one"], ["keys", "rotate", "one"]];
	for (const command of [...reading, ["agents", "invitations"], ["keys", "create", "--name", "two"]]) {
		const { code, stdout, stderr } = await run(...command);
		expect([command, code, stdout, stderr]).toEqual([
			command,
			1,
			"",
			expect.stringContaining("a newer router made it"),
		]);
	}
});
