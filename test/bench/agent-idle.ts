/** What an idle agent with four ready models costs: CPU, its children's included, and memory; promised: less than 1 % of a core, less than 90 MB. `bun test/bench/agent-idle.ts` */
import { readFileSync } from "node:fs";
import { becomes, startAgentHost } from "../kit/agent-host.ts";

/** Seconds that are measured, after as many that are not: start and first lists are no idling. */
const SECONDS = Number(process.env["SECONDS"] ?? 60);
/** Linux counts CPU time in hundredths of a second for user space, whatever the kernel's own. */
const TICKS = 100;

const host = await startAgentHost({ gpus: "1x24GB" });
try {
	const models = ["a", "b", "c", "d"].map((name) => ({ model: "Qwen/Qwen3-0.6B", name, gpu_memory: "5GiB" }));
	const agent = await host.agent({ models, ...(process.env["SOURCE"] ? {} : { source: "binary" }) });
	try {
		for (const { name } of models) await becomes(agent, name, "ready");
		await Bun.sleep(10_000);
		const before = cpu(agent.pid);
		await Bun.sleep(SECONDS * 1000);
		const after = cpu(agent.pid);
		const share = (own: number) => `${((100 * own) / SECONDS).toFixed(2)} %`;
		console.log(`CPU of the agent      ${share(after.own - before.own)} of a core`);
		console.log(
			`CPU of its children   ${share(after.children - before.children)} (docker, nvidia-smi: those that ended)`,
		);
		const memory = (kind: string) => {
			const rollup = readFileSync(`/proc/${agent.pid}/smaps_rollup`, "utf8");
			return Number(new RegExp(`^${kind}:\\s+(\\d+)`, "m").exec(rollup)![1]) * 1024;
		};
		console.log(
			`memory                ${(memory("Rss") / 1e6).toFixed(0)} MB resident, ${(memory("Private_Dirty") / 1e6).toFixed(0)} MB of it its own`,
		);
	} finally {
		await agent.stop();
	}
} finally {
	await host.stop();
}

/** Seconds of CPU so far. */
function cpu(pid: number): { own: number; children: number } {
	const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
		.replace(/^.*\) /, "")
		.split(" ")
		.map(Number);
	const [user, system, childUser, childSystem] = fields.slice(11, 15) as [number, number, number, number];
	return { own: (user + system) / TICKS, children: (childUser + childSystem) / TICKS };
}
