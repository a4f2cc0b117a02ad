/** Messages between routers of one Redis: a subscription that is refused, or whose connection leads nowhere, is made again by itself. */
import { expect } from "bun:test";
import { RedisBus } from "../src/store/redis-bus.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, slowProxy, startRedis } from "./kit/redis.ts";
import { startCluster, startSentinel } from "./kit/redis-forms.ts";
import { connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterEach, test } = needing("redis");

const CHANNEL = "t:news";
const closing: (() => unknown)[] = [];
afterEach(async () => {
	for (const close of closing.splice(0).reverse()) await close();
});

async function redisServer(): Promise<RedisServer> {
	const server = await startRedis();
	closing.push(() => server.stop());
	return server;
}

function proxyOf(server: Pick<RedisServer, "port">): ReturnType<typeof slowProxy> {
	const proxy = slowProxy(server.port);
	closing.push(() => proxy.stop());
	return proxy;
}

/** A bus that listens to one channel. What it has told: messages, and how often it said that some may have been missed. */
function listening(url: string) {
	const connected = connectRedis(url, { timeoutMs: 1_000 });
	const bus = new RedisBus(connected.redis);
	const told = { messages: [] as string[], resumed: 0 };
	bus.listen("news", (text) => told.messages.push(text));
	bus.onResumed(() => void told.resumed++);
	closing.push(connected.close);
	return { ...connected, told, open: () => void closing.push(bus.open()) };
}

type Listening = ReturnType<typeof listening>;

/** Resolves once what is published at a server comes. */
async function hears({ told }: Listening, { client }: Pick<RedisServer, "client">): Promise<void> {
	const text = crypto.randomUUID();
	await until(async () => {
		await client.publish(CHANNEL, text);
		return told.messages.includes(text);
	}, "a message");
}

const subscribers = async ({ client }: RedisServer): Promise<number> =>
	Number(((await client.pubsub("NUMSUB", CHANNEL)) as unknown[])[1]);

test("a user who may not subscribe: that is told, and tried until he may", async () => {
	const server = await redisServer();
	await server.client.acl("SETUSER", "router", "on", ">secret", "~*", "resetchannels", "+@all");
	const bus = listening(`redis://router:secret@127.0.0.1:${server.port}`);
	bus.open();
	await until(() => bus.refused.includes("NOPERM"), "the refusal");
	expect(bus.told.resumed).toBe(0);
	await server.client.acl("SETUSER", "router", "&t:*");
	await hears(bus, server);
	expect(bus.told.resumed).toBe(1);
});

test("a user who loses the right to subscribe, and gets it again", async () => {
	const server = await redisServer();
	await server.client.acl("SETUSER", "router", "on", ">secret", "~*", "&t:*", "+@all");
	const bus = listening(`redis://router:secret@127.0.0.1:${server.port}`);
	bus.open();
	await hears(bus, server);
	await server.client.acl("SETUSER", "router", "resetchannels");
	await until(() => bus.refused.includes("NOPERM"), "the refusal");
	await server.client.acl("SETUSER", "router", "&t:*");
	await hears(bus, server);
	expect(bus.told.resumed).toBe(2);
});

test("a server that takes no more clients: the subscription begins once it does", async () => {
	const server = await redisServer();
	const bus = listening(server.url);
	await bus.up();
	// The kit's own connection, and the one that is up.
	await server.client.config("SET", "maxclients", "2");
	const rejected = async () => Number(/rejected_connections:(\d+)/.exec(await server.client.info("stats"))?.[1]);
	bus.open();
	await until(async () => (await rejected()) >= 2, "two tries");
	await server.client.config("SET", "maxclients", "100");
	await hears(bus, server);
});

test("a connection that was cut without a word is given up for another one", async () => {
	const server = await redisServer();
	const proxy = proxyOf(server);
	const bus = listening(`redis://127.0.0.1:${proxy.port}`);
	bus.open();
	await bus.up();
	await hears(bus, server);
	proxy.cut();
	await hears(bus, server);
	expect(bus.told.resumed).toBe(2);
	await bus.up();
});

test("a server that is frozen, in whose place another one answers: that is subscribed to, and used", async () => {
	const [frozen, other] = [await redisServer(), await redisServer()];
	const proxy = proxyOf(frozen);
	const bus = listening(`redis://127.0.0.1:${proxy.port}`);
	bus.open();
	await bus.up();
	await hears(bus, frozen);
	frozen.hang();
	proxy.cut(other.port);
	const set = () => bus.redis.run((client) => client.set("t:x", "1"));
	await Promise.all([hears(bus, other), until(async () => (await set()) === "OK", "a command")]);
	expect(await other.client.get("t:x")).toBe("1");
});

test("a server that is frozen before its first answer: the connections are given up for such as are answered", async () => {
	const [frozen, other] = [await redisServer(), await redisServer()];
	const proxy = proxyOf(frozen);
	frozen.hang();
	const bus = listening(`redis://127.0.0.1:${proxy.port}`);
	bus.open();
	// Both have connected: the system accepts for a process that is frozen.
	await until(() => proxy.connections >= 2, "the connections");
	proxy.cut(other.port);
	await hears(bus, other);
	await bus.up();
});

test("Sentinel: the subscription goes to the new master once the old one has died", async () => {
	const watched = await startSentinel();
	closing.push(() => watched.stop());
	const bus = listening(`redis+sentinel://127.0.0.1:${watched.port}/main`);
	bus.open();
	await hears(bus, watched.master);
	await watched.master.kill();
	await until(async () => String(await watched.replica.client.role()).includes("master"), "the new master");
	await hears(bus, watched.replica);
}, 60_000);

test("Cluster: where the node freezes that brings messages, another one does", async () => {
	const cluster = await startCluster();
	closing.push(() => cluster.stop());
	const [first, second] = cluster.nodes;
	const bus = listening(`redis+cluster://127.0.0.1:${first!.port},127.0.0.1:${second!.port}`);
	bus.open();
	await hears(bus, first!);
	const counts = await Promise.all(cluster.nodes.map(subscribers));
	expect(counts.toSorted()).toEqual([0, 0, 1]);
	const at = counts.indexOf(1);
	const others = cluster.nodes.filter((_, index) => index !== at);
	cluster.nodes[at]!.hang();
	await hears(bus, others[0]!);
	expect((await Promise.all(others.map(subscribers))).toSorted()).toEqual([0, 1]);
}, 60_000);
