/** What a key may do is changed while it is in use, and how much of its limits is taken is shown; with one thread and with several. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { cli } from "./kit/cli.ts";
import { clientError } from "./kit/contract.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { hello } from "./kit/hello-answer.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const ADMIN = "admin-key-of-the-test";
const VIEWER = "viewer-key-of-the-test";

describe.each([1, 2])("a router with %i workers", (workers) => {
	let router: RunningRouter;
	/** Answers only when it is told to. */
	const held: (() => void)[] = [];
	const upstream = Bun.serve({
		hostname: "127.0.0.1",
		port: 0,
		idleTimeout: 0,
		async fetch(request) {
			const { model } = (await request.json()) as { model: string };
			if (model === "slow") await new Promise<void>((go) => held.push(go));
			return Response.json(hello(70, 30, model));
		},
	});
	beforeAll(async () => {
		router = await startRouter({
			config: {
				server: { workers },
				providers: { box: { type: "vllm", base_url: `http://127.0.0.1:${upstream.port}` } },
				keys: [{ name: "fixed", key: "key-of-config", rpm: 10 }],
				admin: {
					keys: [
						{ name: "ops", key: ADMIN },
						{ name: "wall", key: VIEWER, role: "viewer" },
					],
				},
			},
		});
	}, 60_000);
	afterAll(async () => {
		for (const go of held) go();
		await router.stop();
		await upstream.stop(true);
	});
	const ask = (path: string, body?: Json, key = ADMIN) =>
		fetch(router.url + path, {
			method: body ? "POST" : "GET",
			headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
			...(body && { body: JSON.stringify(body) }),
		});
	const make = async (body: Json) => (await (await ask("/admin/keys", body)).json()) as Loose;
	const change = async (name: string, body: Json, key?: string) => {
		const answer = await ask(`/admin/keys/${encodeURIComponent(name)}/change`, body, key);
		return { status: answer.status, text: await answer.text() };
	};
	const listed = async (name: string) => {
		const { data } = (await (await ask("/admin/keys")).json()) as { data: Loose[] };
		return data.find((key) => key["name"] === name)!;
	};
	const call = (secret: string, model = "box/m") =>
		post(
			`${router.url}/v1/chat/completions`,
			{ model, messages: [{ role: "user", content: "hi" }] },
			{ authorization: `Bearer ${secret}` },
		);

	test.each([
		[{}, "Say what is to change"],
		[{ rpm: 0 }, "rpm"],
		[{ rpm: "5" }, "rpm"],
		[{ rpm: 1.5 }, "rpm"],
		[{ models: [] }, "models"],
		[{ models: null }, "models"],
		[{ team: "" }, "team"],
		[{ budget: { per: "day" } }, "budget"],
		[{ budget: { usd: -1 } }, "budget"],
		[{ session_usd: "5" }, "session_usd"],
		[{ name: "other" }, "name"],
		[{ role: "viewer" }, "role"],
		[{ secret: "mine" }, "secret"],
	])("refuses %j, naming what is wrong, and changes nothing", async (body, words) => {
		const name = `refusing ${JSON.stringify(body)}`;
		const { key } = await make({ name, rpm: 7, team: "red" });
		const { status, text } = await change(name, body as Json);
		expect([status, clientError(text).code]).toEqual([400, "invalid_value"]);
		expect(clientError(text).message).toContain(words);
		expect(await listed(name)).toEqual({ ...key, use: { rpm: 0 } });
	});

	test("changes no key of the configuration, none that is not there, and for no viewer", async () => {
		for (const [name, words] of [
			["fixed", "stands in the configuration"],
			["nobody", "There is no key"],
		] as const) {
			const { status, text } = await change(name, { rpm: 5 });
			expect([status, clientError(text).code]).toEqual([404, "key_not_found"]);
			expect(clientError(text).message).toContain(words);
		}
		await make({ name: "seen by all" });
		const { status, text } = await change("seen by all", { rpm: 5 }, VIEWER);
		expect([status, clientError(text).code]).toEqual([403, "read_only_key"]);
	});

	test("gives a viewer's key a team, and no limits of calls that it can't make", async () => {
		await make({ name: "screen", role: "viewer" });
		expect(clientError((await change("screen", { rpm: 5 })).text).message).toContain("a viewer's makes none");
		expect((await change("screen", { team: "office" })).status).toBe(200);
		expect(await listed("screen")).toMatchObject({ team: "office", role: "viewer", models: [] });
	});

	test("has a change hold from the next call on, in each thread; what is absent stays, what is null goes", async () => {
		const { secret } = await make({
			name: "moving",
			team: "red",
			rpm: 1000,
			tpm: 5000,
			budget: { usd: 5, per: "day" },
		});
		expect((await call(secret)).status).toBe(200);
		expect((await change("moving", { rpm: 1, models: ["box/*"] })).status).toBe(200);
		// Of this minute one is taken.
		for (let each = 0; each < 4; each++) expect((await call(secret)).status).toBe(429);
		expect((await change("moving", { rpm: null, budget: { usd: 9 } })).status).toBe(200);
		for (let each = 0; each < 4; each++) expect((await call(secret)).status).toBe(200);
		const refused = await call(secret, "dummy");
		expect([refused.status, clientError(refused.text).code]).toEqual([403, "model_not_allowed"]);
		expect(await listed("moving")).toMatchObject({
			team: "red",
			models: ["box/*"],
			limits: { tpm: 5000 },
			budget: { usd: 9, per: "day", spent: 0 },
		});
		expect((await change("moving", { team: null, tpm: null, budget: null })).status).toBe(200);
		const { team, limits, budget, use } = await listed("moving");
		expect([team, limits, budget, use]).toEqual([undefined, {}, undefined, undefined]);
	});

	test("shows what is taken of a key's limits: calls and tokens of the minute, and calls under way", async () => {
		const { secret } = await make({ name: "counted", rpm: 50, tpm: 100_000, concurrency: 4, input: 9_000 });
		expect((await listed("counted"))["use"]).toEqual({ rpm: 0, tpm: 0, concurrency: 0 });
		for (let each = 0; each < 3; each++) expect((await call(secret)).status).toBe(200);
		await until(async () => (await listed("counted"))["use"].tpm === 300, "the tokens");
		expect((await listed("counted"))["use"]).toEqual({ rpm: 3, tpm: 300, concurrency: 0 });
		const before = held.length;
		const slow = [call(secret, "box/slow"), call(secret, "box/slow")];
		await until(() => held.length === before + 2, "both calls");
		expect((await listed("counted"))["use"]).toMatchObject({ rpm: 5, concurrency: 2 });
		for (const go of held) go();
		for (const { status } of await Promise.all(slow)) expect(status).toBe(200);
		expect((await listed("counted"))["use"]).toEqual({ rpm: 5, tpm: 500, concurrency: 0 });
		await ask("/admin/keys/counted/revoke", {});
		expect((await listed("counted"))["use"]).toBeUndefined();
	}, 60_000);

	test("counts a key of the configuration, too", async () => {
		expect((await call("key-of-config")).status).toBe(200);
		expect(await listed("fixed")).toMatchObject({ limits: { rpm: 10 }, use: { rpm: 1 } });
	});

	describe("the command line", () => {
		const run = (...args: string[]) =>
			cli(["keys", ...args, "--config", join(router.directory, "router.yaml")], {
				cwd: router.directory,
				env: { DATA_DIR: join(router.directory, "data"), LOG_DIR: join(router.directory, "logs") },
			});

		test.each([
			[["change"], 2, "keys change needs the name or id of a key"],
			[["change", "typed", "--name", "other"], 2, "--name of a key can't be changed"],
			[["change", "typed"], 1, "Say what is to change"],
			[["change", "typed", "--rpm", "many"], 1, "--rpm must be a whole number"],
			[["change", "typed", "--budget", "lots"], 1, "--budget must be USD"],
		])(
			"refuses %j in a sentence",
			async (args, code, message) => {
				if (args.length > 1 && (await listed("typed")) === undefined) await make({ name: "typed", rpm: 3 });
				const outcome = await run(...args);
				expect([outcome.code, outcome.stderr]).toEqual([code, expect.stringContaining(message)]);
			},
			60_000,
		);

		test("changes a key beside the router and from afar, and lists what is taken where it asks the router", async () => {
			const { secret } = await make({ name: "by hand", rpm: 500, budget: { usd: 4 } });
			const beside = await run("change", "by hand", "--rpm", "60", "--budget", "7/day", "--session-usd", "0.5");
			expect([beside.code, beside.stdout]).toEqual([0, 'The key "by hand" is changed.\n']);
			await until(async () => (await listed("by hand"))["limits"].rpm === 60, "the change");
			expect((await listed("by hand"))["limits"]).toEqual({ rpm: 60, session_usd: 0.5 });
			const afar = await run(
				"change",
				"by hand",
				"--session-usd",
				"none",
				"--budget",
				"none",
				"--tpm",
				"900",
				"--url",
				router.url,
			);
			expect([afar.code, afar.stdout]).toEqual([0, 'The key "by hand" is changed.\n']);
			const { limits, budget } = await listed("by hand");
			expect([limits, budget]).toEqual([{ rpm: 60, tpm: 900 }, undefined]);
			expect((await call(secret)).status).toBe(200);
			expect((await run("list", "--url", router.url)).stdout).toContain("1 of 60 rpm, 100 of 900 tpm");
			// Another process counts nothing.
			expect((await run("list")).stdout).toContain("60 rpm, 900 tpm");
		}, 60_000);
	});
});
