/** The console in a worker thread whose main thread does not answer as it should: who asks is not blamed for it. */
import { describe, expect, test } from "bun:test";
import { createAdminAccess } from "../src/accounts/auth/admin-access.ts";
import { RouterError } from "../src/errors.ts";
import type { Forward } from "../src/server/threads/forwarding.ts";
import { WorkerConsole } from "../src/server/threads/worker-console.ts";

const admin = createAdminAccess([{ name: "ops", key: "right" }]);
const refusalOf = async (forward: Forward) => {
	const worker = new WorkerConsole(
		forward,
		() => admin,
		() => {},
	);
	const request = new Request("http://router.test/console/events", { headers: { cookie: "session=one" } });
	const thrown = await Promise.resolve(worker.authenticate(request, null)).catch((error: unknown) => error);
	expect(thrown).toBeInstanceOf(RouterError);
	const { status, message, body, headers } = thrown as RouterError;
	return [status, body.error.code, message, headers["retry-after"]];
};
const answers =
	(status: number, body: string, headers: [string, string][] = []): Forward =>
	async () => ({ status, headers, body: await new Response(body).arrayBuffer() });

describe("a session that can't be looked for is no wrong key, where the main thread", () => {
	test("has ended", async () => {
		expect((await refusalOf(async () => undefined)).slice(0, 2)).toEqual([500, "internal_error"]);
	});

	test("answers a 503, whose words are told", async () => {
		const error = { message: "The router is ending.", type: "server_error", param: null, code: "shutting_down" };
		const forward = answers(503, JSON.stringify({ error }), [["retry-after", "3"]]);
		expect(await refusalOf(forward)).toEqual([503, "shutting_down", "The router is ending.", "3"]);
	});

	test("answers a 500 that is no JSON", async () => {
		const message = "The router could not look for your session (500).";
		expect(await refusalOf(answers(500, "<html>"))).toEqual([500, "internal_error", message, undefined]);
	});
});
