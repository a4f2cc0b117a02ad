import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { t } from "elysia";
import { type ErrorBody, RouterError } from "../src/errors.ts";
import { methodsAt } from "../src/http/error-response.ts";
import { similarPaths } from "../src/http/similar-paths.ts";
import { base, listenOn } from "./kit/http-base.ts";

const server = base();
server.app
	.post("/v1/chat/completions", () => "answered", { parse: "none" })
	.get("/v1/models", () => "all")
	.get("/v1/models/*", () => "one")
	.get("/broken", () => {
		throw new Error("SECRET detail of the inside");
	})
	.get("/thrown-later", async () => {
		await Bun.sleep(1);
		throw Object.assign(new Error("SECRET"), { code: "NOT_FOUND", status: 418 });
	})
	.get("/limited", ({ set }) => {
		set.headers["x-request-id"] = "req_given";
		throw new RouterError("rate_limit_exceeded", "Too many.", { headers: { "retry-after": "7" } });
	})
	.post("/typed", () => "typed", { body: t.Object({ count: t.Number() }) });
const listening = listenOn(server);
afterAll(() => listening.stop(true));

const call = (path: string, init?: RequestInit) => fetch(`${listening.url}${path}`, init);
const errorOf = async (response: Response) => ((await response.json()) as ErrorBody).error;

describe("errors tell nothing of the inside", () => {
	for (const path of ["/broken", "/thrown-later"])
		test(`${path}: an unexpected error is a bare internal_error, and the log has its stack under the request id`, async () => {
			const response = await call(path);
			expect(response.status).toBe(500);
			const text = await response.clone().text();
			expect(text).not.toContain("SECRET");
			expect(await errorOf(response)).toMatchObject({ type: "api_error", code: "internal_error", param: null });
			await server.log.flush();
			const id = String(response.headers.get("x-request-id"));
			const line = readFileSync(String(server.log.open().file), "utf8")
				.split("\n")
				.find((each) => each.includes(id));
			expect(JSON.parse(String(line))).toMatchObject({ level: "error", path, err: { stack: expect.any(String) } });
		});

	for (const [what, body] of [
		["a body that does not fit its schema", JSON.stringify({ count: "PROMPT", other: "PROMPT" })],
		["malformed JSON", "{PROMPT"],
	] as const)
		test(`${what}, on a route that Elysia parses, is echoed neither to the client nor to the log (trap: Elysia's 422)`, async () => {
			const headers = { "content-type": "application/json" };
			const response = await call("/typed", { method: "POST", headers, body });
			const text = await response.text();
			expect(JSON.parse(text).error).toMatchObject({ code: "internal_error" });
			await server.log.flush();
			expect(text + readFileSync(String(server.log.open().file), "utf8")).not.toContain("PROMPT");
		});
});

/** As the router has them. */
const PATHS = [
	...["/health/live", "/health/ready", "/metrics", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"],
	...[
		"/v1/models",
		"/v1/models/*",
		"/v1/route",
		"/agents",
		"/agents/targets",
		"/admin/keys",
		"/admin/keys/:key/revoke",
	],
];

describe("a wrong path or method", () => {
	test("an unknown path names itself and the nearest one there is", async () => {
		const response = await call("/v1/chat/completion", { method: "POST" });
		expect(response.status).toBe(404);
		const error = await errorOf(response);
		expect(error.code).toBe("unknown_path");
		expect(error.message).toContain("POST /v1/chat/completion");
		expect(error.message).toContain("Did you mean /v1/chat/completions?");
	});

	test.each([
		["/chat/completions", "/v1/chat/completions"],
		["/api/v1/chat/completions", "/v1/chat/completions"],
		["/v1/chatcompletions", "/v1/chat/completions"],
		["/V1/Chat/Completion", "/v1/chat/completions"],
		["/v1/model/gpt-5", "/v1/models/{name}"],
		["/metrisc", "/metrics"],
	])("%s is near %s", (path, near) => {
		expect(similarPaths(path, PATHS)).toEqual([near]);
	});

	test("a path with a few others right below it names those", () => {
		expect(similarPaths("/health", PATHS)).toEqual(["/health/live", "/health/ready"]);
		expect(similarPaths("/v1/chat", PATHS)).toEqual(["/v1/chat/completions"]);
	});

	test.each(["/", "/v1", "/x", "/v1/moderations", "/v1/messages", "/agents/foo", "/.env", "/wp-admin", "//"])(
		"nothing is near %s",
		(path) => {
			expect(similarPaths(path, PATHS)).toEqual([]);
		},
	);

	test("a path like no other points to /swagger, and a long one is cut", async () => {
		const error = await errorOf(await call(`/${"x".repeat(4000)}`));
		expect(error.message).toContain("/swagger");
		expect(error.message.length).toBeLessThan(400);
	});

	test("a wrong method is 405 with `allow`, not Elysia's 404 (trap: wrong method)", async () => {
		const response = await call("/v1/chat/completions");
		expect(response.status).toBe(405);
		expect(response.headers.get("allow")).toBe("POST, OPTIONS");
		expect(await errorOf(response)).toMatchObject({ code: "method_not_allowed" });
	});

	test("a wrong method under a wildcard path is 405 as well", async () => {
		const response = await call("/v1/models/org/name", { method: "DELETE" });
		expect(response.status).toBe(405);
		expect(response.headers.get("allow")).toBe("GET, HEAD, OPTIONS");
	});

	test("OPTIONS without CORS lists the methods; on an unknown path it is 404", async () => {
		const known = await call("/v1/models", { method: "OPTIONS" });
		expect([known.status, known.headers.get("allow")]).toEqual([204, "GET, HEAD, OPTIONS"]);
		expect((await call("/nope", { method: "OPTIONS" })).status).toBe(404);
	});

	test("HEAD answers as GET does, without a body", async () => {
		const response = await call("/v1/models", { method: "HEAD" });
		expect([response.status, await response.text()]).toEqual([200, ""]);
		expect((await call("/v1/chat/completions", { method: "HEAD" })).status).toBe(405);
	});
});

test.each([
	[{ "retry-after": "61" }, "false"],
	[{ "retry-after": "3600" }, "false"],
	[{ "retry-after": "60" }, null],
	[{ "retry-after": "0" }, null],
	[{}, null],
	[{ "retry-after": "90", "x-should-retry": "true" }, "true"],
] as const)("a client told %j hears x-should-retry: %p", (headers, expected) => {
	const answer = new RouterError("rate_limit_exceeded", "Too many.", { headers }).response();
	expect(answer.headers.get("x-should-retry")).toBe(expected);
});

test("a RouterError keeps its status, headers and the request id that was set before it", async () => {
	const response = await call("/limited");
	expect(response.status).toBe(429);
	expect(response.headers.get("retry-after")).toBe("7");
	expect(response.headers.get("x-request-id")).toBe("req_given");
	expect(response.headers.get("content-type")).toBe("application/json");
});

test("methods are found by parameter and wildcard, a trailing slash apart, and a wildcard needs something to match", () => {
	const routes = [
		{ method: "GET", path: "/a/:id" },
		{ method: "POST", path: "/a/*" },
	];
	expect(methodsAt("/a/b/", routes)).toEqual(["GET", "HEAD", "POST"]);
	expect(methodsAt("/a/b/c", routes)).toEqual(["POST"]);
	expect(methodsAt("/a", routes)).toEqual([]);
	// Elysia serves no doubled slash but below a wildcard.
	expect(methodsAt("//a/b", routes)).toEqual([]);
	expect(methodsAt("/a//b", routes)).toEqual(["POST"]);
});
