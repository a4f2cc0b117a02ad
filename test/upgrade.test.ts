/** Another process takes a running router's place: `router upgrade`, `--replace`, SIGUSR2. Linux alone shares a port so. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cli, directory } from "./kit/cli.ts";
import { rawClient } from "./kit/raw-client.ts";
import { connectSocket } from "./kit/responses-socket.ts";
import { until } from "./kit/until.ts";
import {
	callProblem,
	isRouter,
	type SlowUpstream,
	slowUpstream,
	startLoad,
	UPGRADE_KEY,
	type UpgradedRouter,
	upgradedRouter,
} from "./kit/upgrades.ts";

describe.if(process.platform === "linux")("an upgrade", () => {
	let upstream: SlowUpstream;
	beforeAll(() => {
		upstream = slowUpstream();
	});
	afterAll(() => upstream.stop());

	const replaced = async (work: (router: UpgradedRouter) => Promise<void>, key: object = {}) => {
		const router = await upgradedRouter(upstream.url, { key });
		try {
			await work(router);
		} finally {
			upstream.finish();
			await router.end();
		}
	};
	/** Over a connection that this process has kept alive: the old router's are closed with that. */
	const endKept = async (router: UpgradedRouter) => {
		expect(await callProblem(router.url, false)).toBeUndefined();
		await until(() => !isRouter(router.pid), "the end of the old process");
	};
	const stream = (url: string) => callProblem(url, true, true);
	const call = (url: string) => callProblem(url, false, true);

	test("of a router that does not run says what to do", async () => {
		using home = directory();
		const { code, stderr } = await cli(["upgrade"], { cwd: home.path, env: { DATA_DIR: home.path } });
		expect(code).toBe(1);
		expect(stderr).toContain(
			`no router on ${home.path} takes an upgrade: none runs there, or it is of a version before`,
		);
	});

	test("to a program that is none, that ends, or that is killed is taken back and told; the router goes on, and the next one works", async () =>
		replaced(async (router) => {
			const program = (name: string, text: string) => {
				const file = join(router.directory, name);
				writeFileSync(file, `#!/bin/sh\n${text}\n`);
				chmodSync(file, 0o755);
				return file;
			};
			const missing = await router.upgrade("--to", "/nowhere/router");
			expect(missing.code).toBe(1);
			expect(missing.output).toContain("/nowhere/router can't be started (ENOENT)");
			const ended = await router.upgrade("--to", program("ends", "exit 3"));
			expect(ended.code).toBe(1);
			expect(ended.output).toMatch(
				new RegExp(`process \\d+ ended with 3 before it was ready: process ${router.pid} goes on`),
			);
			const killed = await router.upgrade("--to", program("killed", "kill -SEGV $$"));
			expect(killed.output).toContain("ended by SIGSEGV");
			expect(await call(router.url)).toBeUndefined();
			expect((await router.upgrade()).code).toBe(0);
			expect(await call(router.url)).toBeUndefined();
		}));

	test("to a program that does not get ready is taken back after 10 s", async () =>
		replaced(async (router) => {
			const file = join(router.directory, "hangs");
			writeFileSync(file, "#!/bin/sh\nexec sleep 60\n");
			chmodSync(file, 0o755);
			const { code, output } = await router.upgrade("--to", file);
			expect(code).toBe(1);
			expect(output).toContain("was not ready within 10 s");
			const pid = Number(/process (\d+) has started/.exec(output)?.[1]);
			await until(() => !isRouter(pid), "the end of the new process");
			expect(await call(router.url)).toBeUndefined();
		}));

	test("leaves a stream whole that began before, and ends the old process with it; what it held of a limit is free then", async () =>
		replaced(
			async (router) => {
				const running = stream(router.url);
				await until(() => upstream.open() === 1, "the stream");
				expect((await router.upgrade()).code).toBe(0);
				expect(await call(router.url)).toContain("429");
				expect(isRouter(router.pid)).toBe(true);
				upstream.finish();
				expect(await running).toBeUndefined();
				expect(await call(router.url)).toBeUndefined();
				await until(() => !isRouter(router.pid), "the end of the old process");
				await until(() => router.calls() === 3, "three calls in the ledger");
			},
			{ concurrency: 1 },
		));

	test("lets no key have more calls a minute than it may, whichever process they come to", async () =>
		replaced(
			async (router) => {
				const kept = await rawClient(router.url, get("/v1/models"));
				await kept.until(/"object":"list"/);
				expect([await call(router.url), await call(router.url)]).toEqual([undefined, undefined]);
				expect((await router.upgrade()).code).toBe(0);
				expect(await call(router.url)).toBeUndefined();
				// The old process asks the new one.
				const body = JSON.stringify({ model: "slow/m", messages: [{ role: "user", content: "hello" }] });
				kept.write(
					`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${UPGRADE_KEY}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
				);
				expect(await kept.closed).toMatch(/HTTP\/1\.1 200[\s\S]+x-ratelimit-remaining-requests: 0/i);
				expect(await call(router.url)).toContain("429");
			},
			{ rpm: 4 },
		));

	test("answers over connections from before once more, and closes them: whether it is ready, and calls", async () =>
		replaced(async (router) => {
			const kept = await rawClient(router.url, get("/health/ready"));
			await kept.until(/"ready"/);
			expect((await router.upgrade()).code).toBe(0);
			kept.write(get("/health/ready"));
			const both = await kept.closed;
			expect(both.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
			expect(both).toMatch(/connection: close/i);
			await endKept(router);
		}));

	test("ends WebSockets with 1012", async () =>
		replaced(async (router) => {
			const client = await connectSocket(router.url, { authorization: `Bearer ${UPGRADE_KEY}` });
			expect((await router.upgrade()).code).toBe(0);
			expect(await client.closed).toBe(1012);
			await endKept(router);
		}));

	test("sends no new connection to the process before, also while one before that ends", async () =>
		replaced(async (router) => {
			const running = stream(router.url);
			await until(() => upstream.open() === 1, "the stream");
			expect((await router.upgrade()).code).toBe(0);
			expect((await router.upgrade()).code).toBe(0);
			upstream.finish();
			expect(await running).toBeUndefined();
			await callProblem(router.url, false);
			await until(() => !isRouter(router.pid), "the end of the first process");
			// A process that is replaced says so with each answer.
			for (let one = 0; one < 20; one++) {
				const client = await rawClient(router.url, get("/health/live"));
				expect(await client.until(/"ok"/)).not.toMatch(/connection: close/i);
				client.leave();
			}
		}));

	test("is none of a router that does not ask for it: it finds the port taken", async () =>
		replaced(async (router) => {
			using home = directory();
			const { port } = new URL(router.url);
			const { code, stderr } = await cli(["--port", port, "--host", "127.0.0.1"], {
				cwd: home.path,
				env: { DATA_DIR: home.path, ROUTER_WORKERS: "1" },
			});
			expect(code).toBe(1);
			expect(stderr).toContain(`Port ${port} on 127.0.0.1 is taken`);
		}));

	test("by SIGUSR2 starts the same program anew", async () =>
		replaced(async (router) => {
			process.kill(router.pid, "SIGUSR2");
			await router.printed(/has taken over from process/);
			const pid = Number(/process (\d+) has taken over/.exec(router.output())![1]);
			expect(await call(router.url)).toBeUndefined();
			await until(() => !isRouter(router.pid), "the end of the old process");
			process.kill(pid, "SIGKILL");
			await until(() => !isRouter(pid));
		}));

	test("fails no call and cuts no stream, five times under load, one of them to a broken program; the ledger has each call", async () => {
		const slow = slowUpstream(400);
		const router = await upgradedRouter(slow.url);
		try {
			const broken = join(router.directory, "broken");
			writeFileSync(broken, "#!/bin/sh\nexit 1\n");
			chmodSync(broken, 0o755);
			const load = startLoad(router.url, { keptAlive: 4, fresh: 4, streams: 6 });
			const codes: number[] = [];
			for (const words of [[], [], ["--to", broken], [], []]) {
				codes.push((await router.upgrade(...words)).code);
			}
			await load.end();
			expect(codes).toEqual([0, 0, 1, 0, 0]);
			expect(load.problems).toEqual([]);
			await until(() => router.calls() >= load.made(), "all calls in the ledger");
			expect(router.calls()).toBe(load.made());
		} finally {
			await router.end();
			slow.stop();
		}
	});
});

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${UPGRADE_KEY}\r\n\r\n`;
