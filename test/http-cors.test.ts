import { afterAll, describe, expect, test } from "bun:test";
import { rejectCrossSite } from "../src/accounts/auth/csrf.ts";
import { allowedOrigin, loopbackHost } from "../src/accounts/auth/origin.ts";
import { base, listenOn } from "./kit/http-base.ts";

const CHAT = "https://chat.example.com";
const server = base({ corsOrigins: [`${CHAT}/`] });
server.app.get("/stream", () => {
	const events = ["data: 1\n\n", "data: 2\n\n"].map((event) => new TextEncoder().encode(event));
	const body = new ReadableStream({
		async pull(controller) {
			await Bun.sleep(1);
			const next = events.shift();
			if (next) controller.enqueue(next);
			else controller.close();
		},
	});
	return new Response(body, { headers: { "content-type": "text/event-stream" } });
});
const listening = listenOn(server);
afterAll(() => listening.stop(true));

const call = (path: string, headers: Record<string, string>, method = "GET") =>
	fetch(`${listening.url}${path}`, { method, headers });
const preflight = (origin: string, more: Record<string, string> = {}) =>
	call("/stream", { origin, "access-control-request-method": "POST", ...more }, "OPTIONS");

describe("which origins may call", () => {
	test.each([
		"https://evil.example",
		"http://localhost.evil.example",
		"http://localhost@evil.example",
		"http://evil.example/http://localhost",
		"http://localhost:3000/path",
		"file://localhost",
		"null",
		"",
		"http://127.0.0.1.nip.io",
		"https://chat.example.com.evil.example",
		"http://chat.example.com",
	])("%p may not", (origin) => {
		expect(allowedOrigin(origin, [CHAT])).toBe(false);
	});

	test.each([
		"http://localhost",
		"http://localhost:5173",
		"https://localhost:8443",
		"http://127.0.0.1:3000",
		"http://[::1]:3000",
		CHAT,
		"HTTPS://CHAT.EXAMPLE.COM",
	])("%p may", (origin) => {
		expect(allowedOrigin(origin, [`${CHAT}/`])).toBe(true);
	});

	test("`*` lets every origin in, files too", () => {
		expect(["https://any.example", "null"].map((origin) => allowedOrigin(origin, ["*"]))).toEqual([true, true]);
	});
});

describe("preflight", () => {
	test("of a foreign origin is 403, says what to set, and gives the page nothing", async () => {
		const response = await preflight("https://evil.example");
		expect(response.status).toBe(403);
		expect(response.headers.get("access-control-allow-origin")).toBeNull();
		expect(await response.text()).toContain("CORS_ORIGINS");
	});

	test("of an allowed origin is 204 with what was asked for", async () => {
		const response = await preflight(CHAT, {
			"access-control-request-headers": "authorization,x-stainless-lang",
			"access-control-request-private-network": "true",
		});
		expect(response.status).toBe(204);
		expect(Object.fromEntries(response.headers)).toMatchObject({
			"access-control-allow-origin": CHAT,
			"access-control-allow-headers": "authorization,x-stainless-lang",
			"access-control-allow-methods": expect.stringContaining("POST"),
			"access-control-allow-private-network": "true",
			"access-control-max-age": "7200",
			vary: expect.stringContaining("origin"),
		});
	});
});

describe("answers to a web page", () => {
	test("a stream carries the origin and names the headers a page may read", async () => {
		const response = await call("/stream", { origin: "http://localhost:5173" });
		expect(response.headers.get("access-control-allow-origin")).toBe("http://localhost:5173");
		const exposed = response.headers.get("access-control-expose-headers")?.split(", ");
		expect(exposed).toContain("x-request-id");
		expect(exposed).toContain("x-router-provider");
		expect(exposed).toContain("x-router-dropped");
		expect(exposed).toContain("retry-after");
		expect(exposed).toContain("x-ratelimit-remaining-tokens");
		expect(response.headers.get("vary")).toBe("origin");
		expect(await response.text()).toBe("data: 1\n\ndata: 2\n\n");
	});

	test("an error can be read by an allowed page, not by a foreign one", async () => {
		const [allowed, foreign] = await Promise.all([
			call("/nope", { origin: CHAT }),
			call("/nope", { origin: "https://evil.example" }),
		]);
		expect([allowed.status, allowed.headers.get("access-control-allow-origin")]).toEqual([404, CHAT]);
		expect([foreign.status, foreign.headers.get("access-control-allow-origin")]).toEqual([404, null]);
	});

	test("a program without an origin gets no CORS header", async () => {
		const response = await call("/stream", {});
		expect([...response.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
	});
});

describe("a router without keys", () => {
	const refuse = (headers: Record<string, string>, url = "http://localhost:8000/v1/models") =>
		rejectCrossSite(new Headers(headers), url, [CHAT])?.errorCode;

	test("refuses a host that is not loopback (DNS rebinding), also when it only looks so", () => {
		for (const host of ["rebound.example:8000", "localhost.example", "127.0.0.1.nip.io", "127.0.0.1@x", "10.0.0.5", ""])
			expect(refuse({ host })).toBe("foreign_host");
		expect(refuse({}, "http://rebound.example/v1/models")).toBe("foreign_host");
	});

	test("refuses a foreign origin and a cross-site load without one", () => {
		const host = "localhost:8000";
		expect(refuse({ host, origin: "https://evil.example" })).toBe("foreign_origin");
		expect(refuse({ host, origin: "null" })).toBe("foreign_origin");
		expect(refuse({ host, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" })).toBe("foreign_origin");
	});

	test("answers programs, its own page, allowed origins and followed links", () => {
		const host = "localhost:8000";
		for (const headers of [
			{},
			{ origin: "http://localhost:8000", "sec-fetch-site": "same-origin" },
			{ origin: CHAT, "sec-fetch-site": "cross-site" },
			{ "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" },
		])
			expect(refuse({ host, ...headers })).toBeUndefined();
		expect(["127.0.0.1:8000", "[::1]:8000", "localhost", "127.9.9.9"].map(loopbackHost)).toEqual([
			true,
			true,
			true,
			true,
		]);
	});
});
