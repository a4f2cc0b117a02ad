/** Administration: over HTTP with a key of its own, and on the command line; what changes is told in the log. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cli, directory } from "./kit/cli.ts";
import { clientError } from "./kit/contract.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const ADMIN = "admin-key-of-the-test";
const TOKENS = "agent-token-one,agent-token-two";
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		config: {
			server: { metrics: "admin", swagger: "open", trusted_proxies: ["10.9.0.0/16"] },
			keys: [{ name: "old", key: "key-of-config" }],
			admin: { keys: [{ name: "ops", key: ADMIN }] },
		},
		env: { ROUTER_AGENT_TOKEN: TOKENS },
	});
});
afterAll(() => router.stop());

const at = (path: string, init: RequestInit = {}, key = ADMIN) =>
	fetch(router.url + path, { ...init, headers: { authorization: `Bearer ${key}`, ...init.headers } });
const send = (path: string, body?: Json | string, key?: string) =>
	at(
		path,
		{
			method: "POST",
			...(body === undefined
				? {}
				: {
						body: typeof body === "string" ? body : JSON.stringify(body),
						headers: { "content-type": "application/json" },
					}),
		},
		key,
	);
const json = async (answer: Response | Promise<Response>): Promise<Loose> => (await (await answer).json()) as Loose;
const HI = { model: "dummy", messages: [{ role: "user", content: "hi" }] };
const use = async (key: string) =>
	(await post(`${router.url}/v1/chat/completions`, HI, { authorization: `Bearer ${key}` })).status;
const config = () => join(router.directory, "router.yaml");
/** The command line beside the running router. */
const run = (...args: string[]) =>
	cli([...args, "--config", config()], {
		cwd: router.directory,
		env: { DATA_DIR: join(router.directory, "data"), LOG_DIR: join(router.directory, "logs") },
	});
const audits = () =>
	readFileSync(join(router.directory, "logs/router.log"), "utf8")
		.split("\n")
		.filter((line) => line.includes('"audit"'))
		.map((line) => JSON.parse(line) as Loose);

describe("/admin", () => {
	test.each([
		["GET", "/admin/keys"],
		["POST", "/admin/keys"],
		["POST", "/admin/keys/old/rotate"],
		["POST", "/admin/keys/old/revoke"],
		["GET", "/admin/usage"],
		["GET", "/admin/calls"],
		["GET", "/admin/calls/req_1"],
		["GET", "/admin/invitations"],
		["POST", "/admin/invitations/1/revoke"],
	])("%s %s is for admins: no other key will do, nor none", async (method, path) => {
		for (const key of ["key-of-config", "agent-token-one", "", `${ADMIN}x`]) {
			const answer = await at(path, { method }, key);
			const text = await answer.text();
			expect([answer.status, clientError(text).code]).toEqual([401, "invalid_admin_key"]);
			if (key) expect(text).not.toContain(key);
		}
	});

	test("has no key that may call", async () => {
		expect(await use(ADMIN)).toBe(401);
	});

	test("says what to set where there is no admin", async () => {
		const other = await startRouter();
		const answer = await fetch(`${other.url}/admin/keys`);
		expect(clientError(await answer.text()).message).toContain("ROUTER_ADMIN_KEYS");
		await other.stop();
	});

	test("makes keys, shows their secret once, rotates and revokes them", async () => {
		const made = await send("/admin/keys", {
			name: "team a/ü",
			team: "red",
			models: ["dummy", "gpt-*"],
			rpm: 100,
			budget: { usd: 5, per: "day" },
		});
		expect([made.status, made.headers.get("cache-control")]).toEqual([201, "no-store"]);
		const { key, secret } = await json(made);
		expect(key).toEqual({
			id: expect.stringMatching(/^key_/),
			name: "team a/ü",
			team: "red",
			prefix: secret.slice(0, 7),
			models: ["dummy", "gpt-*"],
			limits: { rpm: 100 },
			budget: { usd: 5, per: "day", spent: 0 },
			source: "made",
			created_at: expect.stringMatching(/^20.*Z$/),
		});
		expect(await use(secret)).toBe(200);
		const listed = await json(at("/admin/keys"));
		expect(listed["data"].map(({ name, source }: Loose) => [name, source])).toContainEqual(["team a/ü", "made"]);
		expect(listed["data"][0]).toMatchObject({ name: "old", source: "config" });
		expect(JSON.stringify(listed)).not.toContain(secret.slice(8));
		expect(JSON.stringify(listed)).not.toContain("key-of-config");

		const path = `/admin/keys/${encodeURIComponent("team a/ü")}`;
		const rotated = await json(send(`${path}/rotate`, { overlap: "1h" }));
		expect(rotated["key"].old_secret_until).toBeDefined();
		expect([await use(secret), await use(rotated["secret"])]).toEqual([200, 200]);
		const again = await json(send(`${path}/rotate`));
		expect([await use(rotated["secret"]), await use(again["secret"])]).toEqual([401, 200]);
		expect((await json(send(`/admin/keys/${key.id}/revoke`)))["revoked_at"]).toBeDefined();
		expect(await use(again["secret"])).toBe(401);
		const gone = await send(`${path}/revoke`);
		expect([gone.status, clientError(await gone.text()).code]).toEqual([404, "key_not_found"]);
	});

	test.each([
		[{}, "name"],
		[{ name: "" }, "name"],
		[{ name: "a\nb" }, "name"],
		[{ name: "x", models: [] }, "models"],
		[{ name: "x", models: "all" }, "models"],
		[{ name: "x", models: { fast: true } }, "models"],
		[{ name: "x", models: null }, "models"],
		[{ name: "x", models: [["fast"]] }, "models[0]"],
		[{ name: "x", budget: [] }, "budget"],
		[{ name: "x", budget: null }, "budget"],
		[{ name: "x", rpm: "60" }, "rpm"],
		[{ name: "x", rpm: 0 }, "rpm"],
		[{ name: "x", rpm: 1.5 }, "rpm"],
		[{ name: "x", budget: { usd: -1 } }, "budget.usd"],
		[{ name: "x", budget: { usd: 1, per: "week" } }, "budget.per"],
		[{ name: "x", secret: "mine" }, "secret"],
	])("refuses a key like %j, naming the field", async (body, param) => {
		const answer = await send("/admin/keys", body);
		expect([answer.status, clientError(await answer.text())]).toMatchObject([400, { code: "invalid_value", param }]);
	});

	test.each([
		[{ name: "x", rpm: -1 }, 'The field "rpm" must be 1 or more.'],
		[{ name: "x", budget: { usd: 1e12 } }, 'The field "budget.usd" must be 1000000000 or less.'],
		[{ name: "x", secret: "mine" }, 'There is no field "secret" here.'],
		[{ name: "a\nb" }, 'The field "name" must be a text of 1 to 64 characters in one line; it is a string.'],
	])("says of %j what it may be", async (body, message) => {
		expect(clientError(await (await send("/admin/keys", body)).text()).message).toBe(message);
	});

	test("an overlap longer than a year is refused, and leaves the key as it was", async () => {
		const { secret } = await json(send("/admin/keys", { name: "long" }));
		for (const overlap of ["366d", "99999999999d"]) {
			const answer = await send("/admin/keys/long/rotate", { overlap });
			expect([answer.status, clientError(await answer.text()).param]).toEqual([400, "overlap"]);
		}
		expect([await use(secret), (await at("/admin/keys")).status]).toEqual([200, 200]);
	});

	test.each([
		["a name that is taken", "/admin/keys", { name: "old" }, 409, "key_name_taken"],
		["a key of the configuration", "/admin/keys/old/revoke", {}, 404, "key_not_found"],
		["an overlap that is none", "/admin/keys/old/rotate", { overlap: "soon" }, 400, "invalid_value"],
		["a body that is none", "/admin/keys", "{", 400, "invalid_json"],
		["an invitation that is none", "/admin/invitations/abc/revoke", {}, 404, "invitation_not_found"],
	])("refuses %s", async (_, path, body, status, code) => {
		const answer = await send(path, body as Json);
		expect([answer.status, clientError(await answer.text()).code]).toEqual([status, code]);
	});

	test("knows past calls, and says so of those it does not", async () => {
		const answer = await at("/admin/calls/req_unknown");
		expect([answer.status, clientError(await answer.text()).code]).toEqual([404, "call_not_found"]);
	});

	test("is in Swagger, with its own kind of key", async () => {
		const document = await json(fetch(`${router.url}/swagger/json`));
		const paths = Object.keys(document["paths"]).filter((path) => path.startsWith("/admin"));
		expect(paths.sort()).toEqual([
			"/admin/calls",
			"/admin/calls/{id}",
			"/admin/configuration",
			"/admin/configuration/reload",
			"/admin/invitations",
			"/admin/invitations/{id}/revoke",
			"/admin/keys",
			"/admin/keys/{key}/change",
			"/admin/keys/{key}/revoke",
			"/admin/keys/{key}/rotate",
			"/admin/models/retiring",
			"/admin/runaways",
			"/admin/shadow",
			"/admin/usage",
		]);
		for (const operation of paths.flatMap((path) => Object.values(document["paths"][path]) as Loose[]))
			expect(operation["security"]).toEqual([{ adminKey: [] }]);
	});
});

describe("the command line", () => {
	test("makes a key that the running router knows at once, and takes it back at once", async () => {
		const { stdout, stderr, code } = await run(
			"keys",
			"create",
			"--name",
			"cli",
			"--models",
			"dummy, gpt-*",
			"--rpm",
			"50",
			"--budget",
			"2/day",
		);
		expect(code).toBe(0);
		const secret = stdout.trim();
		expect(secret).toMatch(/^rk-[\w-]{43}$/);
		expect(stderr).toContain('The secret of "cli"');
		expect(await use(secret)).toBe(200);
		const list = await run("keys");
		expect(list.stdout).toMatch(/^cli +key_\S+ +dummy,gpt-\* +50 rpm +0 of 2 USD a day +in use$/m);
		// Without its unit it must not pass for no overlap: who has the old secret would be shut out.
		const senseless = await run("keys", "rotate", "cli", "--overlap", "24");
		expect([senseless.code === 0, await use(secret)]).toEqual([false, 200]);
		const rotated = (await run("keys", "rotate", "cli", "--overlap", "1h")).stdout.trim();
		expect([await use(secret), await use(rotated)]).toEqual([200, 200]);
		expect((await run("keys", "revoke", "cli")).stdout).toBe('The key "cli" is revoked.\n');
		expect([await use(secret), await use(rotated)]).toEqual([401, 401]);
	});

	test("does the same over HTTP, with an admin key", async () => {
		const secret = (await run("keys", "create", "--name", "far", "--url", router.url)).stdout.trim();
		expect(await use(secret)).toBe(200);
		expect((await run("keys", "list", "--url", router.url)).stdout).toContain("far");
		expect((await run("keys", "revoke", "far", "--url", router.url)).code).toBe(0);
		expect(await use(secret)).toBe(401);
		const { code, stderr } = await run("keys", "revoke", "far", "--url", router.url);
		expect([code, stderr]).toEqual([1, expect.stringContaining('There is no key "far" that is in use.')]);
	});

	test.each([
		[["keys", "create"], 2, "keys create needs a name"],
		[["keys", "create", "--name", "x", "--rpm", "many"], 1, "--rpm must be"],
		[["keys", "create", "--name", "x", "--budget", "5/week"], 1, "--budget must be USD"],
		[["keys", "create", "--name", "old"], 1, 'There is a key called "old"'],
		[["keys", "revoke"], 2, "keys revoke needs the name or id"],
		[["keys", "frobnicate"], 2, "there are list, create, change, revoke and rotate"],
		[["usage", "--by", "colour"], 1, "by must be some of key, team"],
		[["why"], 2, "why needs the id of a call"],
		[["why", "req_unknown"], 1, 'There is no call "req_unknown"'],
		[["why", "req_unknown"], 1, "a call is in it about a second after its end"],
	])("%j is refused in a sentence", async (args, code, message) => {
		const outcome = await run(...args);
		expect([outcome.code, outcome.stderr]).toEqual([code, expect.stringContaining(message)]);
	});

	test("says why a past call went where it went, and what it cost", async () => {
		const answer = await post(
			`${router.url}/v1/chat/completions`,
			{ model: "dummy", messages: [{ role: "user", content: "hi" }], user: "bob" },
			{ authorization: "Bearer key-of-config" },
		);
		const id = answer.headers.get("x-request-id")!;
		await router.idle();
		for (const url of [[], ["--url", router.url]]) {
			// The ledger is written twice a second.
			let stdout = "";
			for (let look = 0; look < 100 && stdout === ""; look++) ({ stdout } = await run("why", id, ...url));
			expect(stdout).toContain(`${id}, 20`);
			expect(stdout).toContain("key old, user bob");
			expect(stdout).toMatch(/attempt 1 +dummy\/dummy +answered +200/);
			expect(stdout).toMatch(/^cost +0 USD, on our own hardware/m);
		}
	});

	test("says of a call that the cache answered that it did", async () => {
		const body = { model: "dummy", messages: [{ role: "user", content: "again" }], temperature: 0 };
		const send = () => post(`${router.url}/v1/chat/completions`, body, { authorization: "Bearer key-of-config" });
		await send();
		const id = (await send()).headers.get("x-request-id")!;
		let stdout = "";
		for (let look = 0; look < 100 && stdout === ""; look++) ({ stdout } = await run("why", id));
		expect(stdout).toContain("dummy: chat, built in, from the cache\n");
	});

	test("shows usage as a table and as CSV", async () => {
		const table = (await run("usage", "--by", "key", "--url", router.url)).stdout;
		expect(table).toMatch(/^KEY +CALLS +FAILED +IN +CACHED +OUT +USD +UNPRICED$/m);
		expect(table).toMatch(/^old +\d+/m);
		expect((await run("usage", "--by", "key", "--csv")).stdout).toStartWith("key,calls,failed,");
	});

	test("lists invitations of agents and takes them back: agents that came with one are refused", async () => {
		const invited = await run("agents", "invite");
		const token = /ROUTER_AGENT_TOKEN=(\S+)/.exec(invited.stdout)![1]!;
		const agents = () => at("/agents", {}, token);
		expect((await agents()).status).toBe(200);
		const id = /^([0-9a-f]{12}) +20/m.exec((await run("agents", "invitations")).stdout)![1]!;
		expect((await json(at("/admin/invitations")))["data"]).toMatchObject([{ id }]);
		expect((await run("agents", "revoke", id)).stdout).toBe(`The invitation ${id} is revoked.\n`);
		expect((await agents()).status).toBe(401);
	});
});

test("a key that was made lets the router listen beyond loopback, also once it is revoked: then nobody gets in", async () => {
	using home = directory();
	const env = { DATA_DIR: join(home.path, "data"), LOG_DIR: join(home.path, "logs") };
	const start = () => startRouter({ env: { ...env, HOST: "0.0.0.0" } });
	await expect(start()).rejects.toThrow("run `router keys create`");
	const secret = (await cli(["keys", "create", "--name", "first"], { cwd: home.path, env })).stdout.trim();
	const open = await start();
	const url = open.url.replace("0.0.0.0", "127.0.0.1");
	const models = async (key: string) =>
		(await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;
	expect([await models(secret), await models("other")]).toEqual([200, 401]);
	await cli(["keys", "revoke", "first"], { cwd: home.path, env });
	expect(await models(secret)).toBe(401);
	await open.stop();
	const shut = await start();
	expect((await fetch(`${shut.url.replace("0.0.0.0", "127.0.0.1")}/v1/models`)).status).toBe(401);
	await shut.stop();
}, 30_000);

test("every change is in the log, with who made it; no secret is", () => {
	const lines = audits();
	const of = (by: RegExp) =>
		lines.filter((line) => by.test(line["by"])).map((line) => [line["audit"], line["name"] ?? line["invitation"]]);
	expect(of(/^ops$/)).toEqual([
		["key.create", "team a/ü"],
		["key.rotate", "team a/ü"],
		["key.rotate", "team a/ü"],
		["key.revoke", "team a/ü"],
		["key.create", "long"],
		["key.create", "far"],
		["key.revoke", "far"],
	]);
	expect(of(/^command line \(/)).toEqual([
		["key.create", "cli"],
		["key.rotate", "cli"],
		["key.revoke", "cli"],
		["invitation.revoke", expect.any(String)],
	]);
	expect(readFileSync(join(router.directory, "logs/router.log"), "utf8")).not.toMatch(/rk-[\w-]{43}|admin-key-of/);
});

describe("pages", () => {
	/** As from another machine: behind a proxy that nobody said to trust. */
	const outside = { "x-forwarded-for": "203.0.113.7" };

	test("that are the admin's are open on this machine, and elsewhere to admins", async () => {
		const metrics = (headers: Record<string, string>) => fetch(`${router.url}/metrics`, { headers });
		expect((await metrics({})).status).toBe(200);
		expect((await metrics(outside)).status).toBe(401);
		expect((await metrics({ ...outside, authorization: `Bearer ${ADMIN}` })).status).toBe(200);
		expect((await metrics({ ...outside, authorization: "Bearer key-of-config" })).status).toBe(401);
	});

	test("that are open are open everywhere", async () => {
		expect((await fetch(`${router.url}/swagger`, { headers: outside })).status).toBe(200);
	});
});

describe("agents", () => {
	test.each(TOKENS.split(","))("come with either of two tokens: %s", async (token) => {
		const answer = await send("/heartbeat", { name: "gpu-1", models: [] }, token);
		expect([answer.status, clientError(await answer.text()).code]).toEqual([404, "agent_not_found"]);
	});

	test.each([TOKENS, "agent-token-three"])("and with no other: %s", async (token) => {
		expect((await send("/heartbeat", { name: "gpu-1", models: [] }, token)).status).toBe(401);
	});

	test("are shown to admins, also as targets of Prometheus; to callers they are not", async () => {
		const agent = Bun.serve({
			port: 0,
			hostname: "127.0.0.1",
			fetch: () => Response.json({ object: "list", data: [] }),
		});
		const endpoint = `http://127.0.0.1:${agent.port}`;
		const registered = await send("/register", { name: "gpu-1", endpoint, models: ["m"] }, "agent-token-two");
		expect(registered.status).toBe(200);
		expect((await json(at("/agents")))["data"]).toMatchObject([{ name: "gpu-1" }]);
		for (const key of [ADMIN, "agent-token-one"]) {
			expect((await json(at("/agents/targets", {}, key))) as unknown).toEqual([
				{ targets: [`127.0.0.1:${agent.port}`], labels: { agent: "gpu-1", __scheme__: "http" } },
			]);
		}
		for (const path of ["/agents", "/agents/targets"]) expect((await at(path, {}, "key-of-config")).status).toBe(401);
		await agent.stop(true);
	});
});
