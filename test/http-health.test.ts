import { expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import type { Lifecycle } from "../src/http/lifecycle.ts";
import { base, listenOn } from "./kit/http-base.ts";

const in_ = (state: Lifecycle["state"], role: "router" | "agent" = "router") => {
	const { app } = base({ role, lifecycle: { state } as Lifecycle });
	return (path: string) => app.handle(new Request(`http://localhost${path}`));
};

test.each(["starting", "draining"] as const)("while %s, ready is 503 and live is 200", async (state) => {
	const get = in_(state);
	const ready = await get("/health/ready");
	expect(ready.status).toBe(503);
	expect(await ready.json()).toEqual({ status: state });
	expect((await get("/health/live")).status).toBe(200);
});

test("ready is 200 when ready, and no cache may keep it", async () => {
	const ready = await in_("ready")("/health/ready");
	expect([ready.status, ready.headers.get("cache-control")]).toEqual([200, "no-store"]);
});

test("the agent has /health as vLLM does, the router has not", async () => {
	expect((await in_("ready", "agent")("/health")).status).toBe(200);
	expect((await in_("ready", "router")("/health")).status).toBe(404);
});

test("while draining answers close their connection; after it calls get 503 shutting_down", async () => {
	const draining = await in_("draining")("/metrics");
	expect([draining.status, draining.headers.get("connection")]).toEqual([200, "close"]);
	const stopping = await in_("stopping")("/metrics");
	expect([stopping.status, stopping.headers.get("connection")]).toEqual([503, "close"]);
	expect(stopping.headers.get("retry-after")).toBe("5");
	expect(await stopping.json()).toMatchObject({ error: { code: "shutting_down" } });
	expect((await in_("ready")("/metrics")).headers.get("connection")).toBeNull();
});

test("/metrics is the Prometheus text format", async () => {
	const response = await in_("ready")("/metrics");
	expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
	expect(await response.text()).toContain("# TYPE router_requests_total counter");
});

test("metrics and Swagger refuse what the server says; health never does", async () => {
	const refuse = () => new RouterError("foreign_host", "not here");
	const guarded = base({ refuse });
	const server = listenOn(guarded);
	try {
		const status = async (path: string) => (await fetch(`${server.url}${path}`)).status;
		expect(await Promise.all(["/metrics", "/swagger", "/swagger/json"].map(status))).toEqual([403, 403, 403]);
		expect(await status("/health/live")).toBe(200);
	} finally {
		await server.stop(true);
	}
});
