/** The console over HTTP: its page and files, who may sign in, what a session is good for, its live figures; with one thread and with several. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const ADMIN = "admin-key-of-the-test";
const VIEWER = "viewer-key-of-the-test";
const SAME = { "sec-fetch-site": "same-origin" };

const configured = (workers: number): Json => ({
	server: { workers },
	keys: [{ name: "team", key: "key-of-a-caller" }],
	admin: {
		keys: [
			{ name: "ops", key: ADMIN },
			{ name: "wall", key: VIEWER, role: "viewer" },
		],
	},
});

/** A browser's requests to a router. */
function browser(router: () => RunningRouter) {
	let cookie = "";
	const ask = (path: string, method = "GET", body?: Json, headers: Record<string, string> = SAME) =>
		fetch(router().url + path, {
			method,
			headers: { ...headers, cookie, ...(body && { "content-type": "application/json" }) },
			...(body && { body: JSON.stringify(body) }),
		});
	return {
		ask,
		json: async (path: string) => (await (await ask(path)).json()) as Loose,
		get cookie() {
			return cookie;
		},
		async signIn(body: Json) {
			const answer = await ask("/console/session", "POST", body);
			cookie = answer.headers.get("set-cookie")?.split(";")[0] ?? "";
			return answer;
		},
	};
}
const codeOf = async (answer: Response) => [answer.status, clientError(await answer.text()).code] as unknown[];

describe.each([1, 2])("with %i worker(s)", (workers) => {
	let router: RunningRouter;
	beforeAll(async () => {
		router = await startRouter({ config: configured(workers) });
	});
	afterAll(() => router.stop());
	const client = () => browser(() => router);

	describe("the page", () => {
		const page = () => fetch(`${router.url}/`, { headers: { accept: "text/html,*/*" } });

		test("is a browser's; other clients of `GET /` hear that a server is there", async () => {
			for (const accept of ["*/*", "application/json"]) {
				const answer = await fetch(`${router.url}/`, { headers: { accept } });
				expect(await answer.text()).toBe("Ollama is running");
			}
			expect((await page()).headers.get("content-type")).toBe("text/html; charset=utf-8");
		});

		test("allows nothing inline and nobody else", async () => {
			const answer = await page();
			const policy = answer.headers.get("content-security-policy")!;
			expect(policy).toStartWith("default-src 'none'; script-src 'self'; style-src 'self';");
			expect(policy).toContain("frame-ancestors 'none'");
			expect(policy).not.toContain("unsafe");
			expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
			expect(answer.headers.get("referrer-policy")).toBe("no-referrer");
			const text = await answer.text();
			expect(text).not.toMatch(/<script(?![^>]* src=)|<style| style=| on\w+=|https?:\/\//);
		});

		test("is asked for again without being sent again", async () => {
			const etag = (await page()).headers.get("etag")!;
			const again = await fetch(`${router.url}/`, { headers: { accept: "text/html", "if-none-match": etag } });
			expect([again.status, await again.text()]).toEqual([304, ""]);
		});

		test("loads files that browsers may keep, 100 KB at most to its first paint", async () => {
			const text = await (await page()).text();
			const names = [...text.matchAll(/(?:src|href)="(console\/[^"]+)"/g)].map(([, name]) => name!);
			expect(names.map((name) => name.replace(/-[0-9a-z]+/, "")).sort()).toEqual([
				"console/console.css",
				"console/console.js",
				"console/favicon.svg",
			]);
			let bytes = text.length;
			for (const name of names) {
				const answer = await fetch(`${router.url}/${name}`, {
					headers: { "accept-encoding": "gzip" },
					decompress: false,
				});
				expect(answer.status).toBe(200);
				expect(answer.headers.get("cache-control")).toContain("immutable");
				bytes += (await answer.arrayBuffer()).byteLength;
				const plain = await fetch(`${router.url}/${name}`, { headers: { "accept-encoding": "identity" } });
				expect(plain.headers.get("content-encoding")).toBeNull();
				expect((await plain.text()).length).toBeGreaterThan(100);
			}
			expect(bytes).toBeLessThan(100_000);
		});

		test("a file that there is none of is a 404 that says so", async () => {
			for (const name of ["console-00000000.js", "..%2f..%2fpackage.json", "%E0%A4%A"]) {
				expect(await codeOf(await fetch(`${router.url}/console/${name}`))).toEqual([404, "unknown_path"]);
			}
		});
	});

	describe("signing in", () => {
		test.each([[{ key: "key-of-a-caller" }], [{ key: "" }], [{}], [{ key: `${ADMIN}x` }]])(
			"is refused with %p, which no answer repeats",
			async (body) => {
				const answer = await client().signIn(body);
				expect(answer.headers.get("set-cookie")).toBeNull();
				const text = await answer.text();
				expect([answer.status, clientError(text).code]).toEqual([401, "invalid_admin_key"]);
				expect(text).not.toContain("key-of");
			},
		);

		test("is refused from a page of somebody else's, and for a body that is none", async () => {
			const { ask } = client();
			const foreign = { "sec-fetch-site": "same-site", origin: "http://localhost:3000" };
			expect(await codeOf(await ask("/console/session", "POST", { key: ADMIN }, foreign))).toEqual([
				403,
				"cross_site_request",
			]);
			expect((await ask("/console/session", "POST", { keys: ADMIN })).status).toBe(400);
			expect((await ask("/console/session", "POST")).status).toBe(415);
		});

		test("gives a cookie that scripts and other sites don't get, and /admin takes", async () => {
			const page = client();
			const answer = await page.signIn({ key: ` ${ADMIN}\n` });
			expect(await answer.json()).toMatchObject({ signed_in: true, name: "ops", role: "admin" });
			const cookie = answer.headers.get("set-cookie")!;
			expect(cookie).toMatch(/^router_session_[\w-]{8}=[\w.-]+; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Strict$/);
			expect(cookie).not.toContain(ADMIN);
			expect(await page.json("/console/session")).toMatchObject({ signed_in: true, name: "ops" });
			for (const path of ["/admin/keys", "/agents", "/console/live"]) expect((await page.ask(path)).status).toBe(200);
			expect(await codeOf(await page.ask("/agents/nobody/models"))).toEqual([404, "agent_not_found"]);
			const made = await page.ask("/admin/keys", "POST", { name: `made-${workers}` });
			expect(made.status).toBe(201);
		});

		test("gives a cookie for TLS alone where a proxy speaks it", async () => {
			const headers = { ...SAME, "x-forwarded-proto": "https" };
			const answer = await client().ask("/console/session", "POST", { key: ADMIN }, headers);
			expect(answer.headers.get("set-cookie")).toEndWith("; Secure");
		});

		test("no call of a model can be made with the cookie", async () => {
			const page = client();
			await page.signIn({ key: ADMIN });
			const answer = await page.ask("/v1/chat/completions", "POST", { model: "dummy", messages: [] });
			expect(await codeOf(answer)).toEqual([401, "invalid_api_key"]);
		});

		test("another site's page can do nothing with the cookie", async () => {
			const page = client();
			await page.signIn({ key: ADMIN });
			const foreign = { "sec-fetch-site": "same-site", origin: "http://localhost:3000" };
			for (const [method, path] of [
				["GET", "/admin/keys"],
				["POST", "/admin/keys"],
				["GET", "/console/events"],
				["DELETE", "/console/session"],
				["POST", "/agents/nobody/models/a/load"],
			] as const) {
				const body = method === "POST" ? { name: "theirs" } : undefined;
				expect(await codeOf(await page.ask(path, method, body, foreign))).toEqual([403, "cross_site_request"]);
			}
		});

		test("ends with signing out, also for who has kept the cookie", async () => {
			const page = client();
			await page.signIn({ key: ADMIN });
			const out = await page.ask("/console/session", "DELETE");
			expect([out.status, out.headers.get("set-cookie")]).toEqual([
				204,
				expect.stringContaining("=; Path=/; Expires=Thu, 01 Jan 1970"),
			]);
			expect(await codeOf(await page.ask("/admin/keys"))).toEqual([401, "invalid_admin_key"]);
			expect(await codeOf(await page.ask("/console/events"))).toEqual([401, "invalid_admin_key"]);
			expect(await page.json("/console/session")).toEqual({ signed_in: false, open: false, has_admin_keys: true });
		});
	});

	describe("a viewer", () => {
		test.each(["cookie", "key"])("sees everything and changes nothing, by its %s", async (by) => {
			const page = client();
			if (by === "cookie") await page.signIn({ key: VIEWER });
			const headers: Record<string, string> = by === "key" ? { authorization: `Bearer ${VIEWER}` } : SAME;
			for (const path of ["/admin/keys", "/admin/usage", "/agents", "/console/live"]) {
				expect((await page.ask(path, "GET", undefined, headers)).status).toBe(200);
			}
			for (const path of ["/admin/keys", "/admin/keys/team/revoke", "/agents/nobody/models/a/load"]) {
				const answer = await page.ask(path, "POST", { name: "theirs" }, headers);
				const text = await answer.text();
				expect([answer.status, clientError(text).code]).toEqual([403, "read_only_key"]);
				expect(text).toContain("wall");
			}
		});
	});

	describe("the live figures", () => {
		test("are for who is signed in alone", async () => {
			for (const path of ["/console/live", "/console/events"]) {
				expect(await codeOf(await client().ask(path))).toEqual([401, "invalid_admin_key"]);
			}
		});

		test("tell of calls while they are watched", async () => {
			const page = client();
			await page.signIn({ key: VIEWER });
			const answer = await page.ask("/console/events");
			expect(answer.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
			let isSeen = false;
			const calling = (async () => {
				while (!isSeen) {
					const body = { model: "dummy", stream: true, messages: [{ role: "user", content: "hi" }] };
					await post(`${router.url}/v1/chat/completions`, body, { authorization: "Bearer key-of-a-caller" });
					await Bun.sleep(50);
				}
			})();
			let text = "";
			for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
				text += chunk;
				const samples = [...text.matchAll(/^data: (.+)$/gm)].map(([, sample]) => JSON.parse(sample!) as Loose);
				const sample = samples.find(({ calls, models }) => calls > 0 && models.length > 0);
				if (!sample) continue;
				expect(sample["models"][0]).toMatchObject({ model: "dummy", errors: 0 });
				expect(sample["firstToken"].p50).toBeGreaterThan(0);
				expect(sample["tokens"].output).toBeGreaterThan(0);
				break;
			}
			isSeen = true;
			await calling;
			expect((await page.json("/console/live"))["samples"].length).toBeGreaterThan(0);
		});
	});
});

describe("a router without any keys", () => {
	let router: RunningRouter;
	beforeAll(async () => {
		router = await startRouter();
	});
	afterAll(() => router.stop());

	test("is open to its own machine, whose session /admin takes", async () => {
		const page = browser(() => router);
		expect(await page.json("/console/session")).toEqual({ signed_in: false, open: true, has_admin_keys: false });
		expect(await codeOf(await page.ask("/admin/keys"))).toEqual([401, "invalid_admin_key"]);
		expect(await (await page.signIn({})).json()).toMatchObject({
			signed_in: true,
			name: "this machine",
			role: "admin",
		});
		expect((await page.ask("/admin/keys")).status).toBe(200);
	});

	test.each([
		["through a proxy", { "x-forwarded-for": "203.0.113.9" }],
		["by a name that is not this machine's", { host: "rebound.test" }],
	])("is not open to who comes %s, with or without a session", async (_, headers) => {
		const page = browser(() => router);
		const sent = { ...SAME, ...headers } as Record<string, string>;
		expect(await codeOf(await page.ask("/console/session", "POST", {}, sent))).toEqual([401, "invalid_admin_key"]);
		await page.signIn({});
		expect(await codeOf(await page.ask("/admin/keys", "GET", undefined, sent))).toEqual([401, "invalid_admin_key"]);
	});

	test("is not open any more once there is a key", async () => {
		const page = browser(() => router);
		await page.signIn({});
		expect((await page.ask("/admin/keys", "POST", { name: "first" })).status).toBe(201);
		expect(await codeOf(await page.ask("/admin/keys"))).toEqual([401, "invalid_admin_key"]);
		expect(await page.json("/console/session")).toEqual({ signed_in: false, open: false, has_admin_keys: false });
	});
});
