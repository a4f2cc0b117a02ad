/** `/metrics` and `/swagger` that are administrators' alone, to whoever is signed in at the console: its links lead there; with one thread and with several. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const ADMIN = "admin-key-of-the-test";
const PATHS = ["/metrics", "/swagger", "/swagger/json"];

describe.each([1, 2])("with %i worker(s)", (workers) => {
	let router: RunningRouter;
	let cookie: string;
	beforeAll(async () => {
		router = await startRouter({
			config: {
				server: { workers, metrics: "admin", swagger: "admin", trusted_proxies: ["127.0.0.1"] },
				admin: { keys: [{ name: "ops", key: ADMIN }] },
			},
		});
		const answer = await fetch(`${router.url}/console/session`, {
			method: "POST",
			headers: { "content-type": "application/json", "sec-fetch-site": "same-origin", ...ELSEWHERE },
			body: JSON.stringify({ key: ADMIN }),
		});
		cookie = answer.headers.get("set-cookie")!.split(";")[0]!;
	});
	afterAll(() => router.stop());

	const statusOf = async (path: string, headers: Record<string, string>) => {
		const answer = await fetch(router.url + path, { headers: { ...ELSEWHERE, ...headers } });
		await answer.arrayBuffer();
		return answer.status;
	};

	test.each([
		["nothing", {}],
		["a wrong key", { authorization: "Bearer wrong" }],
		["a cookie that is no session", { cookie: "session=none" }],
	] as [string, Record<string, string>][])(
		"they are closed to who comes from elsewhere with %s",
		async (_, headers) => {
			for (const path of PATHS) expect([path, await statusOf(path, headers)]).toEqual([path, 401]);
		},
	);

	test("they are closed to another site's page with an administrator's cookie", async () => {
		for (const path of PATHS) {
			const status = await statusOf(path, { cookie, "sec-fetch-site": "cross-site" });
			expect([path, [401, 403].includes(status)]).toEqual([path, true]);
		}
	});

	test("they are open to who is signed in, and to an admin key", async () => {
		for (const path of PATHS) {
			expect([path, await statusOf(path, { cookie })]).toEqual([path, 200]);
			expect([path, await statusOf(path, { authorization: `Bearer ${ADMIN}` })]).toEqual([path, 200]);
		}
	});
});

/** As a proxy says of a client that is not on this machine. */
const ELSEWHERE = { "x-forwarded-for": "203.0.113.5" };
