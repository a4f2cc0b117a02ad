/** Keys that see everything and change nothing, made while the router runs: `router keys create --role viewer`; with one thread and with several. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { cli } from "./kit/cli.ts";
import { clientError } from "./kit/contract.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const ADMIN = "admin-key-of-the-test";

describe.each([1, 2])("with %i worker(s)", (workers) => {
	let router: RunningRouter;
	beforeAll(async () => {
		router = await startRouter({
			config: {
				server: { workers },
				keys: [{ name: "team", key: "key-of-a-caller" }],
				admin: { keys: [{ name: "ops", key: ADMIN }] },
			},
		});
	});
	afterAll(() => router.stop());

	const ask = (path: string, key: string, body?: Json) =>
		fetch(router.url + path, {
			method: body ? "POST" : "GET",
			headers: { authorization: `Bearer ${key}`, ...(body && { "content-type": "application/json" }) },
			...(body && { body: JSON.stringify(body) }),
		});
	const make = async (body: Json) => (await (await ask("/admin/keys", ADMIN, body)).json()) as Loose;
	const codeOf = async (answer: Response) => [answer.status, clientError(await answer.text()).code] as unknown[];
	const run = (...args: string[]) =>
		cli([...args, "--config", join(router.directory, "router.yaml")], {
			cwd: router.directory,
			env: { DATA_DIR: join(router.directory, "data"), LOG_DIR: join(router.directory, "logs") },
		});

	test.each([
		[{ role: "admin" }, "role"],
		[{ role: "viewer", models: ["dummy"] }, "models"],
		[{ role: "viewer", budget: { usd: 1 } }, "budget"],
		[{ role: "viewer", rpm: 1 }, "rpm"],
		[{ role: "viewer", engine_fields: true }, "engine_fields"],
	])("is not made with %p", async (more, field) => {
		const answer = await ask("/admin/keys", ADMIN, { name: "refused", ...more });
		const { code, param } = clientError(await answer.text());
		expect([answer.status, code, param]).toEqual([400, "invalid_value", field]);
	});

	test("makes no calls, which it is told", async () => {
		const { secret } = await make({ name: "caller-to-be", role: "viewer" });
		for (const [path, body] of [
			["/v1/chat/completions", { model: "dummy", messages: [{ role: "user", content: "hi" }] }],
			["/v1/models", undefined],
		] as const) {
			const answer = await ask(path, secret as string, body);
			const text = await answer.text();
			expect([answer.status, clientError(text).code]).toEqual([401, "invalid_api_key"]);
			expect(text).toContain("viewer");
		}
	});

	test("sees everything and changes nothing, until it is revoked; its sessions end with it", async () => {
		const { key, secret } = await make({ name: "wall", role: "viewer" });
		expect(key).toMatchObject({ name: "wall", role: "viewer", models: [] });
		for (const path of ["/admin/keys", "/admin/usage", "/agents"]) {
			expect((await ask(path, secret as string)).status).toBe(200);
		}
		expect(await codeOf(await ask("/admin/keys", secret as string, { name: "theirs" }))).toEqual([
			403,
			"read_only_key",
		]);
		expect(await codeOf(await ask("/agents/nobody/models/a/load", secret as string, {}))).toEqual([
			403,
			"read_only_key",
		]);
		const signedIn = await fetch(`${router.url}/console/session`, {
			method: "POST",
			headers: { "content-type": "application/json", "sec-fetch-site": "same-origin" },
			body: JSON.stringify({ key: secret }),
		});
		expect(await signedIn.json()).toMatchObject({ signed_in: true, name: "wall", role: "viewer" });
		const cookie = signedIn.headers.get("set-cookie")!.split(";")[0]!;
		const bySession = () => fetch(`${router.url}/admin/keys`, { headers: { cookie } });
		expect((await bySession()).status).toBe(200);
		expect((await ask("/admin/keys/wall/revoke", ADMIN, {})).status).toBe(200);
		expect(await codeOf(await ask("/admin/keys", secret as string))).toEqual([401, "invalid_admin_key"]);
		expect(await codeOf(await bySession())).toEqual([401, "invalid_admin_key"]);
	});

	test("is made on the command line beside the running router, and listed as what it is", async () => {
		const refused = await run("keys", "create", "--name", "tv", "--role", "boss");
		expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("--role must be viewer")]);
		const made = await run("keys", "create", "--name", "tv", "--role", "viewer");
		expect(made.code).toBe(0);
		const secret = made.stdout.trim();
		await until(async () => (await ask("/admin/keys", secret)).status === 200, "the key is known");
		expect((await run("keys")).stdout).toMatch(/^tv +key_\S+ .*viewer: makes no calls/m);
	});
});

test("no viewer's key is made where it would be the first one, since nobody could call then: by HTTP nor on the command line", async () => {
	const router = await startRouter({ config: { admin: { keys: [{ name: "ops", key: ADMIN }] } } });
	try {
		const make = (body: Json) =>
			fetch(`${router.url}/admin/keys`, {
				method: "POST",
				headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
				body: JSON.stringify(body),
			});
		const refused = await make({ name: "look", role: "viewer" });
		const { code, param, message } = clientError(await refused.text());
		expect([refused.status, code, param]).toEqual([400, "invalid_value", "role"]);
		expect(message).toContain("router keys create --name me");
		const config = join(router.directory, "router.yaml");
		const made = await cli(["keys", "create", "--name", "look", "--role", "viewer", "--config", config], {
			cwd: router.directory,
			env: { DATA_DIR: join(router.directory, "data"), LOG_DIR: join(router.directory, "logs") },
		});
		expect([made.code, made.stderr]).toEqual([1, expect.stringContaining("router keys create --name me")]);
		expect((await fetch(`${router.url}/v1/models`)).status).toBe(200);
		expect((await make({ name: "ops" })).status).toBe(409);
		expect((await make({ name: "me" })).status).toBe(201);
		expect((await make({ name: "look", role: "viewer" })).status).toBe(201);
	} finally {
		await router.stop();
	}
});
