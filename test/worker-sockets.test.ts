/** WebSockets at a router of several worker threads: what is told to the router reaches each of them, at whichever worker it is open. */
import { afterEach, describe, expect, test } from "bun:test";
import { goodStream } from "./kit/events.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { streams } from "./kit/faults.ts";
import { connectSocket, type SocketClient } from "./kit/responses-socket.ts";
import { until } from "./kit/until.ts";
import { recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const ADMIN = "admin-key-of-the-test";
const KEY = "key-of-a-1234";
const OTHER = "key-of-b-1234";
const asking = { model: "dummy", input: "hi", store: false };
const keys = [
	{ name: "a", key: KEY },
	{ name: "b", key: OTHER },
];
const last = (events: readonly Loose[]) => events.at(-1)!;
const typeOf = (events: readonly Loose[]) => last(events)["type"];

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

/** A router of two workers, with sockets of this key at both. */
async function opened(more: Json, key: string, server: Json = {}) {
	const recorded = recordWorkers();
	stops.push(() => recorded[Symbol.dispose]());
	const config = twoWorkers(more, server);
	const router = await startHere(config);
	stops.push(() => router.stop());
	return { ...(await atBoth(router.url, key)), router, recorded, config };

	/** By chance one worker gets a connection; so many are opened until both have answered some. */
	async function atBoth(url: string, secret: string) {
		const clients: SocketClient[] = [];
		do {
			const client = await connectSocket(url, { authorization: `Bearer ${secret}` });
			stops.push(() => client.socket.close());
			clients.push(client);
			expect(typeOf(await client.create(asking))).toBe("response.completed");
			await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${ADMIN}` } });
		} while (clients.length < 6 || recorded.workers.slice(0, 2).some((worker) => worker.calls() === 0));
		return { clients };
	}
}

async function admin(url: string, path: string, body?: Json): Promise<Loose> {
	const answer = await fetch(`${url}/admin${path}`, {
		method: "POST",
		headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json", connection: "close" },
		...(body ? { body: JSON.stringify(body) } : {}),
	});
	expect(answer.ok).toBe(true);
	return (await answer.json()) as Loose;
}

describe("what a key may no more is refused over each open connection", () => {
	test("at once where the key was revoked", async () => {
		const router = await startHere(twoWorkers({ admin: { keys: [{ name: "root", key: ADMIN }] }, keys }));
		stops.push(() => router.stop());
		const { secret, key } = await admin(router.url, "/keys", { name: "made" });
		const clients = await Promise.all(
			Array.from({ length: 12 }, () => connectSocket(router.url, { authorization: `Bearer ${secret}` })),
		);
		for (const client of clients) expect(typeOf(await client.create(asking))).toBe("response.completed");
		await admin(router.url, `/keys/${key.id}/revoke`);
		for (const client of clients) {
			expect(last(await client.create(asking))).toMatchObject({ status: 401, error: { code: "invalid_api_key" } });
			client.socket.close();
		}
		const refused = connectSocket(router.url, { authorization: `Bearer ${secret}` }).catch(() => "refused");
		expect(await refused).toBe("refused");
	});

	test("once the configuration that says so is in force; other keys' connections go on", async () => {
		const { router, clients, config } = await opened({ keys }, KEY);
		const other = await connectSocket(router.url, { authorization: `Bearer ${OTHER}` });
		router.write({ ...config, keys: [keys[1]!] });
		for (const client of clients) {
			await until(async () => last(await client.create(asking))["status"] === 401, "the refusal");
		}
		expect(typeOf(await other.create(asking))).toBe("response.completed");
		other.socket.close();
	});
});

test("a model that a reload adds is found over each open connection", async () => {
	const { router, clients, config } = await opened({ keys }, KEY);
	router.write({ ...config, models: [{ name: "new", targets: ["dummy"] }] });
	for (const client of clients) {
		await until(async () => typeOf(await client.create({ ...asking, model: "new" })) === "response.completed", "new");
	}
});

test("a response that one connection got is read, gone on from and deleted over any other, at whichever worker", async () => {
	const { router, clients } = await opened({ keys }, KEY);
	const ask = async (method: string, id: string, secret = KEY) => {
		const answer = await fetch(`${router.url}/v1/responses/${id}`, {
			...{ method, headers: { authorization: `Bearer ${secret}`, connection: "close" } },
		});
		return answer.status;
	};
	let previous: string | undefined;
	for (const client of [...clients, ...clients]) {
		const body = { ...asking, store: true, ...(previous ? { previous_response_id: previous } : {}) };
		const done = last(await client.create(body));
		expect(done).toMatchObject({ type: "response.completed", response: { previous_response_id: previous ?? null } });
		previous = done["response"].id as string;
		expect([await ask("GET", previous), await ask("GET", previous, OTHER)]).toEqual([200, 404]);
		expect(await ask("POST", `${previous}/cancel`)).toBe(400);
	}
	expect(await ask("DELETE", previous!)).toBe(200);
	// Its own connection has it for as long as that is open.
	for (const client of clients.slice(0, -1)) {
		const refused = last(await client.create({ ...asking, previous_response_id: previous! }));
		expect(refused).toMatchObject({ error: { code: "previous_response_not_found" } });
	}
});

test("a router that stops closes the connections that are at rest, at all workers, and answers first what it has begun", async () => {
	const gate = Promise.withResolvers<void>();
	const upstream = startFaultUpstream();
	stops.push(() => upstream.stop());
	upstream.run(async (connection) => {
		await gate.promise;
		await streams(goodStream(2))(connection);
	});
	const providers = { box: { type: "vllm", base_url: upstream.origin, responses: "chat" } };
	const { router, clients } = await opened({ keys, providers }, KEY);
	const [resting, busy] = [clients.slice(0, 3), clients.slice(3)];
	for (const client of busy) client.send({ type: "response.create", ...asking, model: "box/m" });
	await until(() => upstream.received.length === busy.length, "the calls at the upstream");
	const stopped = router.stop();
	for (const client of resting) expect(await client.closed).toBe(1001);
	gate.resolve();
	for (const client of busy) {
		expect(typeOf(await client.response())).toBe("response.completed");
		expect(await client.closed).toBe(1001);
	}
	await stopped;
});

test("a worker that ends takes its connections along; the others go on, and take new ones", async () => {
	const { router, clients, recorded } = await opened({ keys }, KEY);
	recorded.workers[0]!.worker.terminate();
	await until(() => router.log().includes("has taken the place"), "another worker");
	const ends = await Promise.all(
		clients.map(async (client) => {
			if (client.socket.readyState !== WebSocket.OPEN) return "ended";
			client.send({ type: "response.create", ...asking });
			return client.response().then(typeOf, () => "ended");
		}),
	);
	expect([...new Set(ends)].sort()).toEqual(["ended", "response.completed"]);
	for (let round = 0; round < 8; round++) {
		const client = await connectSocket(router.url, { authorization: `Bearer ${KEY}` });
		expect(typeOf(await client.create(asking))).toBe("response.completed");
		client.socket.close();
	}
});
