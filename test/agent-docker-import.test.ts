/** A list of GPUStack's models, imported: an agent starts from the file as it was written, on a real Docker Engine, and the models answer. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type AgentHost, becomes, modelOf, startAgentHost } from "./kit/agent-host.ts";
import { cli, directory } from "./kit/cli.ts";
import { GPUSTACK } from "./kit/import-files.ts";
import { needing } from "./kit/needing.ts";
import { post } from "./kit/rig.ts";

const messages = [{ role: "user", content: "hi" }];

needing("docker").describe("models of GPUStack", () => {
	let host: AgentHost;
	beforeAll(async () => {
		host = await startAgentHost({ gpus: "8x80GB" });
	}, 60_000);
	afterAll(() => host?.stop(), 60_000);

	test("run in containers as the imported file says, and answer by the names that they had", async () => {
		using home = directory({ "models.json": GPUSTACK });
		expect((await cli(["import", "gpustack", "models.json"], { cwd: home.path })).code).toBe(0);
		const config = Bun.YAML.parse(readFileSync(join(home.path, "router.yaml"), "utf8")) as {
			agent: Readonly<Record<string, unknown>> & { models: readonly { model: string }[] };
		};
		// The other one is a directory of the machine that it came from.
		const models = config.agent.models.filter(({ model }) => !model.startsWith("/"));
		const agent = await host.agent({ agent: { ...config.agent, models } });
		try {
			await becomes(agent, "qwen3", "ready");
			const { replicas } = await modelOf(agent, "qwen3");
			expect(replicas).toHaveLength(2);
			const answer = await post(`${agent.url}/v1/chat/completions`, { model: "qwen3", messages });
			expect([answer.status, JSON.parse(answer.text).model]).toEqual([200, "qwen3"]);
			const [id] = await host.containers();
			const { Args } = JSON.parse(await host.engine.docker("inspect", id!))[0];
			expect(Args.join(" ")).toContain("--max-model-len 32768 --enable-prefix-caching");
		} finally {
			await agent.stop();
		}
	}, 60_000);
});
