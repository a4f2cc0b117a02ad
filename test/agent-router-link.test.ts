/** The agent's link to its router: it registers, is heard of, and finds back from whatever happens. */
import { afterEach, describe, expect, test } from "bun:test";
import { inProcessClient } from "../src/agent/router-link/link-client.ts";
import type { LinkOptions } from "../src/agent/router-link/link-options.ts";
import { NOT_JOINED, nextLinkStep } from "../src/agent/router-link/link-step.ts";
import { httpOrigin, localAddressTo } from "../src/agent/router-link/local-address.ts";
import { startLink } from "../src/agent/router-link/router-link.ts";
import { RouterError } from "../src/errors.ts";
import type { ModelReport, ModelState } from "../src/protocol/agent.ts";
import { httpTransport } from "../src/proxy/net/transport.ts";
import { type FakeRouter, type Heard, refusal, startFakeRouter, TAKEN } from "./kit/fake-router.ts";
import { until } from "./kit/until.ts";

const TOKEN = "the-shared-token";
const transport = httpTransport();
const isRegistration = (heard: Heard): heard is Heard & { path: "/register" } => heard.path === "/register";
const isHeartbeat = ({ path }: Heard) => path === "/heartbeat";

let routers: FakeRouter[] = [];
let links: { stop(): Promise<void> }[] = [];
afterEach(async () => {
	await Promise.all(links.map((link) => link.stop()));
	await Promise.all(routers.map((router) => router.stop()));
	routers = [];
	links = [];
});

function fake(port = 0): FakeRouter {
	const router = startFakeRouter(port);
	routers.push(router);
	return router;
}

/** A link, what it logged, the secrets it was told, and what it reports, which a test may change. */
function link(router: string, options: Partial<LinkOptions> = {}) {
	const lines: string[] = [];
	const secrets: string[] = [];
	const report = { models: ["qwen"] as (string | ModelReport)[] };
	const write = (_fields: unknown, text: string) => void lines.push(text);
	const running = startLink({
		router,
		token: TOKEN,
		name: "gpu-1",
		...{ instance: "11111111-2222-3333-4444-555555555555", process: "of-this-start" },
		port: 5000,
		transport,
		report: () => report,
		onSecret: (secret) => secrets.push(secret),
		// What this machine's other networks do in the meantime is no part of the test.
		addresses: { to: localAddressTo, now: () => "" },
		log: { logger: { info: write, warn: write, error: write } as unknown as LinkOptions["log"]["logger"] },
		...options,
	});
	links.push(running);
	return { running, lines, secrets, report };
}

describe("a link", () => {
	test("registers with the shared token, all it has to say and the address that reaches the router", async () => {
		const router = fake();
		const gpus = [{ index: 0, name: "L4", memory_total: 24e9, memory_used: 0 }];
		const { running, secrets } = link(router.url, { report: () => ({ models: ["qwen"], gpus }) });
		const { body, authorization } = await router.hears(isRegistration);
		expect(authorization).toBe(`Bearer ${TOKEN}`);
		expect(body).toMatchObject({
			name: "gpu-1",
			...{ instance: "11111111-2222-3333-4444-555555555555", process: "of-this-start" },
			endpoint: "http://127.0.0.1:5000",
			models: ["qwen"],
			gpus,
			version: expect.stringMatching(/^\d/),
		});
		expect((await router.hears(isHeartbeat)).body).toMatchObject({ process: "of-this-start" });
		expect(secrets).toEqual(["of-this-agent"]);
		expect(running.state).toMatchObject({ state: "joined", reachable: true, endpoint: "http://127.0.0.1:5000" });
	});

	test.each([
		["http://gpu-1.lan:5000/", "http://gpu-1.lan:5000"],
		["https://gpu-1.lan/v1/", "https://gpu-1.lan"],
	])("says %s where it is told to advertise that", async (advertise, endpoint) => {
		const router = fake();
		link(`${router.url}/`, { advertise });
		expect((await router.hears(isRegistration)).body).toMatchObject({ endpoint });
	});

	test("is heard of again and again, with what its models do at that moment", async () => {
		const router = fake();
		const { report } = link(router.url);
		await router.hears(isHeartbeat);
		report.models = [{ name: "qwen", state: "ready", running: 3 }];
		const { body } = await router.hears(
			(heard) => isHeartbeat(heard) && typeof heard.body.models[0] === "object" && heard.body.models[0].running === 3,
		);
		expect(body.name).toBe("gpu-1");
		expect(router.heard.filter(isRegistration)).toHaveLength(1);
	});

	test("tells a model that became ready before the next heartbeat is due", async () => {
		const router = fake();
		router.answer(({ path }) => (path === "/register" ? Response.json({ ...TAKEN, heartbeat_ms: 60_000 }) : undefined));
		const { report } = link(router.url);
		await router.hears(isRegistration);
		report.models = ["qwen", "llama"];
		expect((await router.hears(isHeartbeat)).body.models).toEqual(["qwen", "llama"]);
	});

	test("tells a replica that is gone, and one that is on a GPU, before the next heartbeat is due, and not how busy one is", async () => {
		const router = fake();
		router.answer(({ path }) => (path === "/register" ? Response.json({ ...TAKEN, heartbeat_ms: 60_000 }) : undefined));
		const replicas = (second: ModelState, running = 0, gpus: number[] = []) => [
			{ replica: 0, state: "ready" as const, running, gpus },
			{ replica: 1, state: second },
		];
		const { report } = link(router.url);
		await router.hears(isRegistration);
		report.models = [{ name: "qwen", state: "ready", replicas: replicas("ready") }];
		await router.hears((heard) => isHeartbeat(heard) && typeof heard.body.models[0] === "object");
		report.models = [{ name: "qwen", state: "ready", replicas: replicas("ready", 3) }];
		await Bun.sleep(1_500);
		expect(router.heard.filter(isHeartbeat)).toHaveLength(1);
		report.models = [{ name: "qwen", state: "ready", replicas: replicas("draining", 3) }];
		await router.hears((heard) => isHeartbeat(heard) && JSON.stringify(heard.body.models).includes('"draining"'));
		report.models = [{ name: "qwen", state: "ready", replicas: replicas("draining", 3, [7]) }];
		await router.hears((heard) => isHeartbeat(heard) && JSON.stringify(heard.body.models).includes("[7]"));
	});

	test("tells at once what it is told to", async () => {
		const router = fake();
		router.answer(({ path }) => (path === "/register" ? Response.json({ ...TAKEN, heartbeat_ms: 60_000 }) : undefined));
		const { running } = link(router.url);
		await until(() => running.state.state === "joined");
		await Bun.sleep(0);
		running.changed();
		await router.hears(isHeartbeat);
	});

	test("registers again when the router has forgotten it", async () => {
		const router = fake();
		const { secrets } = link(router.url);
		await router.hears(isHeartbeat);
		const before = router.heard.length;
		router.answer(({ path }) => (path === "/heartbeat" ? refusal(404, "agent_not_found") : undefined));
		await router.hears(isRegistration, before);
		router.answer(() => undefined);
		await router.hears(isHeartbeat, router.heard.length);
		expect(secrets.length).toBeGreaterThan(1);
	});

	test("registers again when an address of this host changes, with the new one", async () => {
		const router = fake();
		const addresses = { here: "10.0.0.1" };
		link(router.url, { addresses: { to: async () => addresses.here, now: () => addresses.here } });
		expect((await router.hears(isRegistration)).body).toMatchObject({ endpoint: "http://10.0.0.1:5000" });
		addresses.here = "10.0.0.2";
		const moved = await router.hears((heard) => isRegistration(heard) && heard.body !== router.heard[0]?.body);
		expect(moved.body).toMatchObject({ endpoint: "http://10.0.0.2:5000" });
	});

	test("stays as it is when an address changes that is not the router's way to it", async () => {
		const router = fake();
		const addresses = { all: "10.0.0.1" };
		link(router.url, { addresses: { to: async () => "10.0.0.1", now: () => addresses.all } });
		await router.hears(isHeartbeat);
		addresses.all = "10.0.0.1 172.17.0.1";
		for (let beats = 0; beats < 3; beats++) await router.hears(isHeartbeat, router.heard.length);
		expect(router.heard.filter(isRegistration)).toHaveLength(1);
	});

	test("registers under the address that the router sees where that is one of its own, too", async () => {
		const router = fake();
		const own = "10.0.0.1 fd00::1";
		const { lines, running } = link(router.url, { addresses: { to: async () => "fd00::1", now: () => own } });
		router.answer((heard) => {
			if (!isRegistration(heard) || heard.body.endpoint === "http://10.0.0.1:5000") return undefined;
			const answer = refusal(403, "endpoint_not_allowed");
			answer.headers.set("x-router-peer", "::ffff:10.0.0.1");
			return answer;
		});
		await until(() => running.state.state === "joined");
		expect(router.heard.filter(isRegistration).map(({ body }) => body.endpoint)).toEqual([
			"http://[fd00::1]:5000",
			"http://10.0.0.1:5000",
		]);
		expect(lines).toEqual(["The router has this agent."]);
	});

	test("does not take the address of a proxy for its own", async () => {
		const router = fake();
		const { running } = link(router.url, { addresses: { to: async () => "10.0.0.1", now: () => "10.0.0.1" } });
		router.answer(() => {
			const answer = refusal(403, "endpoint_not_allowed", "Not that one.");
			answer.headers.set("x-router-peer", "10.0.0.200");
			return answer;
		});
		await until(() => router.heard.length >= 2);
		expect(router.heard.map(({ body }) => "endpoint" in body && body.endpoint)).toEqual([
			"http://10.0.0.1:5000",
			"http://10.0.0.1:5000",
		]);
		expect(running.state).toMatchObject({ state: "refused", problem: "Not that one." });
	});

	test("outlasts a router that goes and comes back, and says each once", async () => {
		const router = fake();
		const { running, lines } = link(router.url);
		await router.hears(isHeartbeat);
		await router.stop();
		await until(() => running.state.state === "away");
		const back = fake(router.port);
		await back.hears(isHeartbeat);
		await until(() => running.state.state === "joined");
		expect(lines.filter((line) => line.includes("is away"))).toHaveLength(1);
		expect(lines.at(-1)).toBe("The router takes this agent again.");
	});

	test("starts without a router and joins when there is one", async () => {
		const router = fake();
		await router.stop();
		const { running } = link(router.url);
		await until(() => running.state.state === "away");
		await fake(router.port).hears(isRegistration);
	});

	test.each([
		["another agent of its name", 409, "agent_name_taken", "Another agent is called gpu-1."],
		["a wrong token", 401, "invalid_agent_token", "This agent token is not known here."],
		["an address that is not allowed", 403, "endpoint_not_allowed", "Not that address."],
	])("explains %s once, and goes on trying", async (_, status, code, message) => {
		const router = fake();
		router.answer(() => refusal(status, code, message));
		const { running, lines } = link(router.url);
		await until(() => router.heard.length >= 2);
		expect(lines).toEqual([`The router refuses: ${message}`]);
		expect(running.state).toMatchObject({ state: "refused", problem: message });
		router.answer(() => undefined);
		await until(() => running.state.state === "joined");
		expect(lines.join()).not.toContain(TOKEN);
	});

	test("says so where the address is no router's", async () => {
		const router = fake();
		router.answer(() => new Response("<html>", { status: 404 }));
		const { lines } = link(router.url);
		await until(() => lines.length > 0);
		expect(lines[0]).toContain(`${router.url}/register answered 404: is that the router?`);
	});

	test("is joined, and says what is wrong, where the router can't call back", async () => {
		const router = fake();
		const problem = "http://10.0.0.7:5000 does not answer: open port 5000 in its firewall.";
		router.answer(({ path }) =>
			Response.json(path === "/register" ? { ...TAKEN, reachable: false, problem } : { reachable: false, problem }),
		);
		const { running, lines } = link(router.url);
		await router.hears(isHeartbeat);
		expect(running.state).toMatchObject({ state: "joined", reachable: false, problem });
		expect(lines.filter((line) => line.includes(problem))).toHaveLength(1);
		router.answer(({ path }) => (path === "/heartbeat" ? Response.json({ reachable: true }) : undefined));
		await until(() => running.state.reachable === true);
		expect(running.state.problem).toBeUndefined();
	});

	test("does not warn of a router that has no tunnel of it while one is open to another router at the same address", async () => {
		const router = fake();
		let beats = 0;
		const problem = "it has no tunnel here";
		router.answer(({ path }) => {
			if (path === "/register") return undefined;
			return Response.json(++beats % 2 ? { reachable: false, problem } : { reachable: true });
		});
		const client = { isOpen: true, opened: async () => {} };
		const { lines } = link(router.url, { tunnel: { mode: "always", client } });
		await until(() => beats >= 5);
		expect(lines).toEqual(["The router has this agent."]);
		client.isOpen = false;
		await until(() => lines.some((line) => line.includes(problem)));
	});

	test("says that its models drain when it stops, and on which GPUs their calls still run", async () => {
		const router = fake();
		const { running, report } = link(router.url);
		report.models = [{ name: "qwen", state: "ready", gpus: [0] }];
		await router.hears(isHeartbeat);
		await running.stop();
		await running.stop();
		expect(router.heard.at(-1)).toMatchObject({
			path: "/heartbeat",
			body: { models: [{ name: "qwen", state: "draining", gpus: [0] }] },
		});
		expect(running.state.state).toBe("stopped");
	});

	test("stops also while it waits for a router that is not there", async () => {
		const router = fake();
		await router.stop();
		const { running } = link(router.url);
		await until(() => running.state.state === "away");
		await running.stop();
		expect(running.state.state).toBe("stopped");
	});

	test("survives a report that throws", async () => {
		const router = fake();
		let isBroken = true;
		const { lines } = link(router.url, {
			report() {
				if (isBroken) throw new Error("broken");
				return { models: [] };
			},
			addresses: { to: async () => "10.0.0.1", now: () => "10.0.0.1" },
		});
		await until(() => lines.length > 0);
		isBroken = false;
		await router.hears(isRegistration);
	});
});

describe("how long it waits", () => {
	const waits = (outcomes: Parameters<typeof nextLinkStep>[1][], random = 0) => {
		let phase = NOT_JOINED;
		return outcomes.map((outcome) => {
			const next = nextLinkStep(phase, outcome, 5000, random);
			phase = next.phase;
			return next.waitMs;
		});
	};

	test("doubles up to 8 s, so that a router is found within 10 s of coming back", () => {
		expect(waits(Array(7).fill("away"))).toEqual([1000, 2000, 4000, 8000, 8000, 8000, 8000]);
		expect(waits(Array(5).fill("away"), 1)).toEqual([750, 1500, 3000, 6000, 6000]);
	});

	test("is nothing for the first heartbeat that is not known, and grows for those after", () => {
		expect(waits(["ok", "unknown", "away", "unknown"])).toEqual([5000, 0, 2000, 4000]);
		expect(waits(["ok", "away", "ok", "unknown"])).toEqual([5000, 1000, 5000, 0]);
	});

	test("keeps on with heartbeats while the router is away, and registers anew after a no", () => {
		const joined = { isJoined: true, failures: 0 };
		expect(nextLinkStep(joined, "away", 5000, 0).phase.isJoined).toBe(true);
		for (const outcome of ["unknown", "conflict", "refused"] as const) {
			expect(nextLinkStep(joined, outcome, 5000, 0).phase.isJoined).toBe(false);
		}
	});
});

describe("this host's address", () => {
	test("is the one from which it reaches the router", async () => {
		const router = fake();
		expect(await localAddressTo(router.url)).toBe("127.0.0.1");
	});

	test("is not known where the router is not there", async () => {
		const router = fake();
		await router.stop();
		await expect(localAddressTo(router.url)).rejects.toThrow();
	});

	test.each([
		["10.0.0.7", "http://10.0.0.7:5000"],
		["::ffff:10.0.0.7", "http://10.0.0.7:5000"],
		["fd00::7", "http://[fd00::7]:5000"],
	])("%s becomes %s", (address, origin) => expect(httpOrigin(address, 5000)).toBe(origin));
});

describe("a link to the router of its own process", () => {
	const answer = { secret: "of-this-agent", heartbeat_ms: 100, reachable: true };

	test("registers at the address it is given, sends heartbeats, and asks nothing over HTTP", async () => {
		const bodies: object[] = [];
		const client = inProcessClient({
			async register(body) {
				bodies.push(body);
				return answer;
			},
			async heartbeat(body) {
				bodies.push(body);
				return {};
			},
		});
		const nobody = "http://127.0.0.1:1";
		const { running, secrets } = link(nobody, { client, advertise: "http://127.0.0.1:5000" });
		await until(() => bodies.length > 1);
		expect(bodies[0]).toMatchObject({ name: "gpu-1", endpoint: "http://127.0.0.1:5000", models: ["qwen"] });
		expect(bodies[1]).not.toHaveProperty("endpoint");
		expect([secrets, running.state.state]).toEqual([["of-this-agent"], "joined"]);
	});

	test.each([
		[new RouterError("agent_not_found", "not registered"), "unknown"],
		[new RouterError("agent_name_taken", "another agent"), "conflict"],
		[new RouterError("invalid_value", "too many agents"), "refused"],
		[new Error("the database is closed"), "away"],
	] as const)("takes %p as %p", async (thrown, outcome) => {
		const client = inProcessClient({ register: async () => answer, heartbeat: () => Promise.reject(thrown) });
		const reply = await client.heartbeat({ name: "gpu-1", models: [] }, new AbortController().signal);
		expect(reply).toEqual({ outcome, message: thrown.message });
	});
});
