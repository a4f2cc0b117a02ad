/** Whether a router hears the others, by its own message: over a real Redis, which takes messages on one connection and brings them on another one. */
import { expect } from "bun:test";
import type { PeerLink, ScalingPeers } from "../src/server/agents/replica-scaler.ts";
import { scalingPeers } from "../src/server/agents/shared-goals.ts";
import { RedisBus } from "../src/store/redis-bus.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { logInto } from "./kit/replicas.ts";
import { connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, test } = needing("redis");

let server: RedisServer;
let now = 0;
const closing: (() => void)[] = [];
beforeAll(async () => {
	server = await startRedis();
});
afterAll(() => server.stop());
afterEach(() => {
	for (const close of closing.splice(0)) close();
});

/** A router, and who of the others it has heard. Its connection for messages to others is open. */
async function router(name: string, login = "") {
	const { redis, up, close } = connectRedis(server.url.replace("//", `//${login}`), { timeoutMs: 5_000 });
	const bus = new RedisBus(redis);
	const heard: string[] = [];
	const taken: Promise<boolean>[] = [];
	const channel = () => ({
		router: name,
		listen: (receive: (text: string) => void) => bus.listen("goals", receive),
		publish: (text: string) => void taken.push(bus.publish("goals", text)),
	});
	const features = {
		channel,
		get isUp() {
			return redis.isUp;
		},
	};
	const peers = scalingPeers(features, () => ({ hear: (from) => void heard.push(from) }), {
		now: () => now,
		log: logInto([]),
	});
	expect(peers.link).toBe("away");
	closing.push(close, bus.open());
	await up();
	return { peers, heard, taken };
}
/** Says that it can decide until the link is so. */
const told = (peers: ScalingPeers, link: PeerLink) =>
	until(() => {
		peers.tell({ role: "candidate" });
		return peers.link === link;
	}, link);

test("one that may not subscribe is heard, hears nobody, and knows it", async () => {
	await server.client.acl("SETUSER", "mute", "on", ">x", "~*", "&*", "+@all", "-subscribe");
	const [hears, mute] = [await router("a"), await router("b", "mute:x@")];
	await told(hears.peers, "up");
	await until(() => {
		mute.peers.tell({ role: "candidate" });
		return hears.heard.includes("b");
	}, "its message");
	expect(mute.peers.link).toBe("unproven");
	now += 5_001;
	expect([mute.peers.link, mute.heard, await Promise.all(mute.taken)]).toEqual([
		"unheard",
		[],
		mute.taken.map(() => true),
	]);
});

test("one whose subscription is lost hears the others no longer, until it is there again", async () => {
	const { peers } = await router("a");
	expect(peers.link).toBe("unproven");
	await told(peers, "up");
	now += 3_000;
	expect(peers.link).toBe("up");
	now += 1;
	expect(peers.link).toBe("unproven");
	await server.client.call("CLIENT", "KILL", "TYPE", "pubsub");
	await told(peers, "up");
});
