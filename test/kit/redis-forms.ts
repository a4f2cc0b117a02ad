/** Redis in its other forms: under Sentinel, and as a Cluster. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, type RedisServer, startRedis } from "./redis.ts";
import { until } from "./until.ts";

/** A master, its replica and one Sentinel over both. */
export interface Watched {
	readonly master: RedisServer;
	readonly replica: RedisServer;
	/** Of the Sentinel. */
	readonly port: number;
	stop(): Promise<void>;
}

/** Starts them; the Sentinel calls the master `main` and gives up on it after half a second. */
export async function startSentinel(): Promise<Watched> {
	const master = await startRedis();
	const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(master.port)] });
	const directory = mkdtempSync(join(tmpdir(), "sentinel-"));
	const port = freePort();
	const conf = join(directory, "sentinel.conf");
	writeFileSync(
		conf,
		[
			`port ${port}`,
			"bind 127.0.0.1",
			`dir ${directory}`,
			`sentinel monitor main 127.0.0.1 ${master.port} 1`,
			"sentinel down-after-milliseconds main 500",
			"sentinel failover-timeout main 2000",
			"",
		].join("\n"),
	);
	const child = Bun.spawn(["redis-server", conf, "--sentinel"], {
		stdin: "ignore",
		stdout: "ignore",
		stderr: "ignore",
	});
	await until(async () => (await replica.client.info("replication")).includes("master_link_status:up"), "the replica");
	return {
		master,
		replica,
		port,
		async stop() {
			child.kill("SIGKILL");
			await child.exited;
			await Promise.all([master.stop(), replica.stop()]);
			rmSync(directory, { recursive: true, force: true });
		},
	};
}

/** Three masters that share the slots. */
export interface RedisCluster {
	readonly nodes: readonly RedisServer[];
	stop(): Promise<void>;
}

const SLOTS = 16_384;

/** Starts them and waits until all slots are served. The bus of each listens at its port + 10,000. */
export async function startCluster(): Promise<RedisCluster> {
	const nodes = await Promise.all(
		[0, 1, 2].map(() => {
			let port = freePort();
			while (port > 55_000) port = freePort();
			return startRedis({ port, args: ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"] });
		}),
	);
	const share = Math.ceil(SLOTS / nodes.length);
	for (const [index, { client }] of nodes.entries()) {
		const last = Math.min(SLOTS, (index + 1) * share) - 1;
		await client.cluster("ADDSLOTSRANGE" as never, index * share, last);
		await client.cluster("SET-CONFIG-EPOCH" as never, index + 1);
	}
	for (const { client } of nodes) await client.cluster("MEET", "127.0.0.1", nodes[0]!.port);
	for (const { client } of nodes) {
		await until(async () => {
			const info = String(await client.cluster("INFO"));
			return info.includes("cluster_state:ok") && info.includes("cluster_known_nodes:3");
		}, "the cluster");
	}
	return { nodes, stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))) };
}
