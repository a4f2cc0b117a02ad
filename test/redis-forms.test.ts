/** Redis behind a password, behind TLS, in another database, under Sentinel and as a Cluster: each is a form of its address. */
import { expect } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { certificate } from "./kit/certificate.ts";
import { needing } from "./kit/needing.ts";
import { freePort, startRedis } from "./kit/redis.ts";
import { startCluster, startSentinel } from "./kit/redis-forms.ts";
import { type Connected, connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterEach, describe, test } = needing("redis");

let connected: Connected;
afterEach(() => connected?.close());

const setAndGet = async (key = "t:x") => {
	const set = await connected.redis.run((client) => client.set(key, "1"));
	return [set, await connected.redis.run((client) => client.get(key))];
};

test("a password and a database", async () => {
	const server = await startRedis({ args: ["--requirepass", "p@ss/word"], client: { password: "p@ss/word" } });
	connected = connectRedis(`redis://:p%40ss%2Fword@127.0.0.1:${server.port}/5`);
	await connected.up();
	expect(await setAndGet()).toEqual(["OK", "1"]);
	expect(await server.client.get("t:x")).toBeNull();
	await server.client.select(5);
	expect(await server.client.get("t:x")).toBe("1");
	await server.stop();
});

test("a user of its own, and one that may not get in", async () => {
	const server = await startRedis();
	await server.client.acl("SETUSER", "router", "on", ">secret", "~t:*", "&t:*", "+@all");
	connected = connectRedis(`redis://router:secret@127.0.0.1:${server.port}`);
	await connected.up();
	expect(await setAndGet()).toEqual(["OK", "1"]);
	connected.close();
	connected = connectRedis(`redis://router:wrong@127.0.0.1:${server.port}`);
	await until(() => connected.reasons.includes("WRONGPASS"));
	expect(connected.redis.isUp).toBe(false);
	expect(connected.reasons.join()).not.toContain("wrong");
	await server.stop();
});

describe("TLS", () => {
	test("with an authority of one's own; a server that it did not sign is refused", async () => {
		const directory = mkdtempSync(join(tmpdir(), "redis-tls-"));
		const { cert, key } = certificate("redis");
		const file = (name: string, text: string) => {
			writeFileSync(join(directory, name), text);
			return join(directory, name);
		};
		const port = freePort();
		const tls = [
			"--tls-port",
			String(port),
			"--tls-cert-file",
			file("cert.pem", cert),
			"--tls-key-file",
			file("key.pem", key),
		];
		const server = await startRedis({
			args: [...tls, "--tls-auth-clients", "no", "--tls-ca-cert-file", file("ca.pem", cert)],
		});
		connected = connectRedis(`rediss://localhost:${port}`, { ca: cert });
		await connected.up();
		expect(await setAndGet()).toEqual(["OK", "1"]);
		connected.close();
		connected = connectRedis(`rediss://localhost:${port}`);
		await until(() => connected.reasons.length > 0);
		expect(connected.redis.isUp).toBe(false);
		expect(connected.reasons.join()).toContain("CERT");
		await server.stop();
		rmSync(directory, { recursive: true, force: true });
	});
});

test("Sentinel: the master is found, and after a failover the new one", async () => {
	const watched = await startSentinel();
	connected = connectRedis(`redis+sentinel://127.0.0.1:${watched.port}/main`);
	await connected.up();
	expect(await setAndGet()).toEqual(["OK", "1"]);
	expect(await watched.master.client.get("t:x")).toBe("1");
	await watched.master.kill();
	await connected.down();
	await connected.up();
	await until(async () => (await setAndGet())[0] === "OK", "the new master");
	expect(await watched.replica.client.role()).toContain("master");
	await watched.stop();
}, 60_000);

test("Cluster: keys of every node, and scripts over the keys of one hash tag", async () => {
	const cluster = await startCluster();
	const nodes = cluster.nodes.slice(0, 2).map(({ port }) => `127.0.0.1:${port}`);
	connected = connectRedis(`redis+cluster://${nodes.join(",")}`, { timeoutMs: 2_000 });
	await connected.up();
	for (let index = 0; index < 30; index++) expect(await setAndGet(`t:${index}`)).toEqual(["OK", "1"]);
	const sizes = await Promise.all(cluster.nodes.map(({ client }) => client.dbsize()));
	expect(sizes.every((size) => size > 0)).toBe(true);
	const script = { name: "both", lua: "redis.call('SET', KEYS[1], 'a') return redis.call('GET', KEYS[2])" };
	expect(await connected.redis.script(script, ["t:{one}a", "t:{one}b"], [])).toBeNull();
	expect(await connected.redis.script(script, ["t:{one}b", "t:{one}a"], [])).toBe("a");
	await cluster.stop();
}, 60_000);
