/**
 * Runs on a host behind NAT until its stdin ends: an agent with a tunnel, over an engine that already runs, or over a Docker Engine of the
 * tests' own. Arguments: the router's URL; `engine` or `docker`. Prints `ready` once the agent takes calls.
 */
import { startAgentHost } from "./agent-host.ts";
import { continuingEngine } from "./continuing-engine.ts";
import { startRouter } from "./router.ts";

const [router = "", over] = process.argv.slice(2);
const args = ["--agent", "--tunnel", "--router", router];
const env = {
	ROUTER_AGENT_TOKEN: process.env["ROUTER_AGENT_TOKEN"] ?? "",
	AGENT_PORT: "0",
	ROUTER_AGENT_NAME: "gpu-1",
};

async function overEngine() {
	const engine = continuingEngine("qwen");
	const agent = await startRouter({ args, env: { ...env, VLLM_BASE_URL: engine.url } });
	return async () => {
		const opened = agent.output().split("The tunnel to the router is open").length - 1;
		console.log(`The tunnel was opened ${opened} times.`);
		await agent.stop();
		await engine.stop();
	};
}

async function overDocker() {
	const host = await startAgentHost({ gpus: "1x24GB" });
	const models = [{ model: "Qwen/Qwen3-0.6B", name: "qwen/small", gpu_memory: "2GiB", load: "on-demand" }];
	const agent = await host.agent({ args, env, models, agent: { name: "gpu-1" } });
	return async () => {
		await agent.stop();
		await host.stop();
	};
}

const stop = await (over === "docker" ? overDocker() : overEngine());
console.log("ready");
for await (const _ of Bun.stdin.stream());
await stop();
process.exit(0);
