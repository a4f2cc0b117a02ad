/** Who reaches a model's engine: its agent, and nothing from another host or another container. On a real Docker Engine that sets its firewall up. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ModelView } from "../src/agent/models/model-view.ts";
import { type AgentHost, keyOf, startAgentHost } from "./kit/agent-host.ts";
import { createNamespace, isOpen, type Namespace, openPorts } from "./kit/namespace.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";
import { command, type RunningRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const TOKEN = "the-token-of-the-agent";
const as = (key: string) => ({ authorization: `Bearer ${key}` });
const messages = [{ role: "user", content: "hi" }];

needing("docker").describe("while models run", () => {
	let namespace: Namespace;
	let host: AgentHost;
	let agent: RunningRouter;
	let engines: { readonly id: string; readonly ip: string; readonly port: number }[];
	beforeAll(async () => {
		namespace = await createNamespace();
		host = await startAgentHost({ namespace });
		agent = await host.agent({
			command: [...namespace.enter, ...command("source")],
			env: { HOST: namespace.address, AGENT_PORT: "0", ROUTER_AGENT_TOKEN: TOKEN },
			models: [{ model: "Qwen/Qwen3-0.6B", name: "small", gpus: 0, replicas: 2 }],
		});
		const ready = async () => {
			const answer = await fetch(`${agent.url}/models/small`, { headers: as(TOKEN) });
			const { replicas } = (await answer.json()) as ModelView;
			return replicas.filter(({ state }) => state === "ready").length;
		};
		for (const count of [1, 2]) await until(async () => (await ready()) >= count, `replica ${count}`);
		const inspected = JSON.parse(await host.engine.docker("inspect", ...(await host.containers())));
		engines = inspected.map(({ Id, NetworkSettings: { Networks, Ports } }: Inspected) => ({
			id: Id,
			ip: Object.values(Networks)[0]!.IPAddress,
			port: Number(Ports["8000/tcp"]![0]!.HostPort),
		}));
	}, 120_000);
	afterAll(async () => {
		await agent?.stop();
		await host?.stop();
		await namespace?.[Symbol.asyncDispose]();
	}, 60_000);

	test("a scan of all ports of the host from another one finds the agent, and nothing else", async () => {
		expect(await openPorts(namespace.address)).toEqual([Number(new URL(agent.url).port)]);
		const { status } = await post(`${agent.url}/v1/chat/completions`, { model: "small", messages }, as(TOKEN));
		expect(status).toBe(200);
	}, 120_000);

	test("the scan would find a container that is published for all", async () => {
		const published = ["--detach", "--publish=18000:8000", "vllm-sim:test", "Qwen/Qwen3-0.6B"];
		const id = (await host.engine.docker("run", ...published)).trim();
		await until(() => isOpen(namespace.address, 18_000), "the port");
		await host.engine.docker("rm", "--force", id);
	}, 60_000);

	test("another container reaches none, neither by its address nor by the host's; one of its own network it does", async () => {
		const other = (await host.engine.docker("run", "--detach", "vllm-sim:test", "Qwen/Qwen3-0.6B")).trim();
		const format = "{{.NetworkSettings.IPAddress}}";
		const seen = (await host.engine.docker("inspect", "--format", format, other)).trim();
		const hosts = engines.flatMap(({ ip, port }) => [
			`${ip}:8000`,
			`172.17.0.1:${port}`,
			`${namespace.address}:${port}`,
		]);
		await until(async () => (await reachedFrom(host, [`${seen}:8000`])).length > 0, "the container beside it");
		expect(await reachedFrom(host, hosts)).toEqual([]);
		// In a network of the agent's own there is the other replica, too: none reaches another.
		const network = "router-test";
		expect(await reachedFrom(host, [`${engines[0]!.ip}:8000`], `--network=${network}`)).toEqual([]);
		await host.engine.docker("rm", "--force", other);
	}, 120_000);

	test("each has a key of its own, which opens no other", async () => {
		const keys = await Promise.all(engines.map(({ id }) => keyOf(host, id)));
		expect(new Set(keys).size).toBe(2);
		for (const [at, { port }] of engines.entries()) {
			for (const [of, key] of keys.entries()) {
				const asked = [
					...[...namespace.enter, process.execPath, "-e"],
					`console.log((await fetch("http://127.0.0.1:${port}/v1/models", { headers: { authorization: "Bearer " + process.env.KEY } })).status)`,
				];
				const child = Bun.spawn(asked, { env: { ...process.env, KEY: key }, stdout: "pipe", stderr: "inherit" });
				expect([at, of, (await new Response(child.stdout).text()).trim()]).toEqual([at, of, at === of ? "200" : "401"]);
			}
			expect(agent.output()).not.toContain(keys[at]!);
		}
	}, 60_000);
});

interface Inspected {
	readonly Id: string;
	readonly NetworkSettings: {
		readonly Networks: Record<string, { readonly IPAddress: string }>;
		readonly Ports: Record<string, readonly { readonly HostPort: string }[]>;
	};
}

/** Which of the addresses take a connection of a container: the sim's program is Bun, too. */
async function reachedFrom({ engine }: AgentHost, addresses: readonly string[], ...flags: string[]): Promise<string[]> {
	const script = `
		const open = await Promise.all(${JSON.stringify(addresses)}.map(async (address) => {
			const [hostname, port] = address.split(":");
			const late = Bun.sleep(2000);
			const socket = Bun.connect({ hostname, port: Number(port), socket: { data() {} } }).catch(() => undefined);
			return (await Promise.race([socket, late])) ? [address] : [];
		}));
		console.log(JSON.stringify(open.flat()));
		process.exit(0);
	`;
	const bun = ["--env=BUN_BE_BUN=1", "--entrypoint=vllm", "vllm-sim:test", "-e", script];
	return JSON.parse(await engine.docker("run", "--rm", ...flags, ...bun));
}
