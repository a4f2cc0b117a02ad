/** A disk without room, or one that can only be read, under a real router: no key comes back, and whoever changes one is told. */
import { expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cli, directory } from "./kit/cli.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { smallDisk } from "./kit/small-disk.ts";
import { until } from "./kit/until.ts";

/** A JSON answer and, as `code`, its status. */
type Answer = { readonly [field: string]: string | number | undefined };
const ADMIN = { authorization: "Bearer admin-key-of-the-test", "content-type": "application/json" };
const config = {
	admin: { keys: [{ name: "ops", key: "admin-key-of-the-test" }] },
	prices: { "dummy/*": { input: 0, output: 0, request: 1 } },
};
const ask = async (router: RunningRouter, path: string, body?: object): Promise<Answer> => {
	const answer = await fetch(`${router.url}${path}`, {
		headers: ADMIN,
		...(body && { method: "POST", body: JSON.stringify(body) }),
	});
	return { ...((await answer.json()) as Record<string, unknown>), code: answer.status } as unknown as Answer;
};
const make = async (router: RunningRouter, name: string) => ask(router, "/admin/keys", { name });
const call = async (router: RunningRouter, secret: string | number | undefined) =>
	(
		await post(
			`${router.url}/v1/chat/completions`,
			{ model: "dummy", messages: [{ role: "user", content: "hello" }] },
			{ authorization: `Bearer ${secret}` },
		)
	).status;
const ledger = async (router: RunningRouter) => (await ask(router, "/health/ready"))["ledger"];
const spent = async (router: RunningRouter) =>
	((await ask(router, "/admin/usage?by=key"))["data"] as unknown as { key: string; calls: number; cost_usd: number }[])
		.map(({ key, calls, cost_usd }) => [key, calls, cost_usd])
		.sort();
const canMount = (() => {
	using disk = smallDisk();
	return disk !== undefined;
})();

test.skipIf(!canMount)(
	"what is revoked, rotated and made while the disk is full is told of, and written once there is room",
	async () => {
		using disk = smallDisk()!;
		const data = join(disk.path, "data");
		const options = { env: { DATA_DIR: data }, config };
		let router = await startRouter(options);
		try {
			const [one, two, three] = [
				(await make(router, "one"))["secret"],
				(await make(router, "two"))["secret"],
				(await make(router, "three"))["secret"],
			];
			expect(await call(router, one)).toBe(200);
			await until(async () => (await spent(router)).length === 1, "the first call's row");
			disk.fill();
			expect(await call(router, one)).toBe(200);
			await until(async () => (await ledger(router)) === "stopped", "a ledger that has stopped");
			const command = await cli(["keys", "revoke", "one"], { cwd: disk.path, env: { DATA_DIR: data } });
			expect([command.code, command.stdout]).toEqual([1, ""]);
			expect(command.stderr).toMatch(/The key is not revoked: .*router\.db can't be used \(SQLITE_FULL\)\. --url/);
			expect(await call(router, one)).toBe(200);
			const revoked = await ask(router, "/admin/keys/two/revoke", {});
			expect(revoked).toMatchObject({ code: 200, name: "two" });
			expect(revoked["warning"]).toMatch(
				/SQLITE_FULL.*waits in memory until it can; a restart before that makes the key good again/,
			);
			const rotated = await ask(router, "/admin/keys/three/rotate", {});
			expect(rotated["warning"]).toMatch(/a restart before that makes the old secret good again/);
			const four = await make(router, "four");
			expect(four["warning"]).toMatch(/a restart before that forgets the key/);
			const fresh = [rotated["secret"], four["secret"]];
			for (const secret of fresh) expect(await call(router, secret)).toBe(200);
			for (const secret of [two, three]) expect(await call(router, secret)).toBe(401);
			expect(router.output()).toContain("what is new waits in memory, and it is tried again every 5 s");
			disk.free();
			await router.printed(/"level":"info".*can be used again: what waited in memory is written/);
			expect((await ask(router, "/health/ready"))["ledger"]).toBeUndefined();
			expect((await ask(router, "/admin/keys/four/rotate", { overlap: "1h" }))["warning"]).toBeUndefined();
			process.kill(router.pid, "SIGKILL");
			await router.stop();
			router = await startRouter(options);
			expect(await call(router, one)).toBe(200);
			for (const secret of [two, three]) expect(await call(router, secret)).toBe(401);
			for (const secret of fresh) expect(await call(router, secret)).toBe(200);
		} finally {
			await router.stop();
		}
	},
	60_000,
);

test.skipIf(!canMount)(
	"a disk that could only be read at the start is said to be, and gets all that is new once it can be written",
	async () => {
		using disk = smallDisk()!;
		const data = join(disk.path, "data");
		const options = { env: { DATA_DIR: data }, config };
		let router = await startRouter(options);
		try {
			const one = (await make(router, "one"))["secret"];
			const two = (await make(router, "two"))["secret"];
			expect(await call(router, one)).toBe(200);
			await until(async () => (await spent(router)).length === 1, "the first call's row");
			await router.stop();
			disk.remount("ro");
			router = await startRouter(options);
			expect(await ledger(router)).toBe("memory");
			await router.printed(/"level":"error".*can't be used \(EROFS\): what is new waits in memory/);
			expect(router.output()).toContain("(can't be written: EROFS; what is new waits in memory until it can)");
			expect(await call(router, one)).toBe(200);
			expect((await ask(router, "/admin/keys/two/revoke", {}))["warning"]).toMatch(/EROFS.*makes the key good again/);
			const three = (await make(router, "three"))["secret"];
			expect(await call(router, three)).toBe(200);
			const sums = [
				["one", 2, 2],
				["three", 1, 1],
			];
			await until(async () => Bun.deepEquals(await spent(router), sums), "the sums");
			disk.remount("rw");
			await router.printed(/can be used again/);
			expect(await ledger(router)).toBeUndefined();
			expect(await spent(router)).toEqual(sums);
			process.kill(router.pid, "SIGKILL");
			await router.stop();
			router = await startRouter(options);
			expect(await spent(router)).toEqual(sums);
			expect(await call(router, two)).toBe(401);
			for (const secret of [one, three]) expect(await call(router, secret)).toBe(200);
		} finally {
			await router.stop();
		}
	},
	60_000,
);

test("a data directory that is removed under a running router is made anew, with its keys and with what they have spent", async () => {
	using home = directory();
	const data = join(home.path, "data");
	const options = { env: { DATA_DIR: data }, config };
	let router = await startRouter(options);
	try {
		const one = (await make(router, "one"))["secret"];
		const two = (await make(router, "two"))["secret"];
		expect(await call(router, one)).toBe(200);
		expect((await ask(router, "/admin/keys/two/revoke", {}))["warning"]).toBeUndefined();
		await until(async () => (await spent(router)).length === 1, "the first call's row");
		rmSync(data, { recursive: true });
		expect(await call(router, one)).toBe(200);
		await router.printed(/it was deleted or replaced while it was in use/);
		await router.printed(/can be used again/);
		expect(existsSync(join(data, "router.db"))).toBe(true);
		const three = (await make(router, "three"))["secret"];
		expect(await call(router, three)).toBe(200);
		const sums = [
			["one", 2, 2],
			["three", 1, 1],
		];
		await until(async () => Bun.deepEquals(await spent(router), sums), "the sums");
		process.kill(router.pid, "SIGKILL");
		await router.stop();
		router = await startRouter(options);
		expect(await spent(router)).toEqual(sums);
		for (const [secret, status] of [
			[one, 200],
			[two, 401],
			[three, 200],
		] as const) {
			expect(await call(router, secret)).toBe(status);
		}
	} finally {
		await router.stop();
	}
}, 60_000);

test.skipIf(!canMount)(
	"a router that ends while its disk is full says what is lost",
	async () => {
		using disk = smallDisk()!;
		const router = await startRouter({ env: { DATA_DIR: join(disk.path, "data") }, config });
		try {
			const one = (await make(router, "one"))["secret"];
			disk.fill();
			expect(await call(router, one)).toBe(200);
			await until(async () => (await ledger(router)) === "stopped", "a ledger that has stopped");
			process.kill(router.pid, "SIGTERM");
			await router.printed(/SQLITE_FULL\): what waited in memory is lost with this process/);
		} finally {
			await router.stop();
		}
	},
	60_000,
);
