/** Agents while another process takes a router's place: those with an address, and those behind NAT, whose tunnels lead to one process. */
import { describe, expect, test } from "bun:test";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { until } from "./kit/until.ts";
import { AGENT_TOKEN, isRouter, slowUpstream, UPGRADE_KEY, upgradedRouter } from "./kit/upgrades.ts";

/** Calls the agent's model over a connection of its own, and gives the status. */
async function call(url: string): Promise<number> {
	const answer = await fetch(`${url}/v1/chat/completions`, {
		method: "POST",
		headers: { authorization: `Bearer ${UPGRADE_KEY}`, "content-type": "application/json", connection: "close" },
		body: JSON.stringify({ model: "qwen", messages: [{ role: "user", content: "hello" }] }),
	});
	await answer.text();
	return answer.status;
}

describe.if(process.platform === "linux").each(["never", "always"] as const)(
	"an upgrade, with a tunnel %s",
	(tunnel) => {
		test("leaves the agent's model callable at each moment, and a call whole that the old process has sent there", async () => {
			const upstream = slowUpstream();
			const router = await upgradedRouter(upstream.url);
			const gate = Promise.withResolvers<undefined>();
			const agent = startFakeAgent({
				router: router.url,
				token: AGENT_TOKEN,
				...(tunnel === "always" && { tunnel }),
				before: ({ messages }) => (messages[0]!.content === "slow" ? gate.promise : undefined),
			});
			try {
				await until(async () => (await call(router.url)) === 200, "the agent");
				const slow = fetch(`${router.url}/v1/chat/completions`, {
					method: "POST",
					headers: { authorization: `Bearer ${UPGRADE_KEY}`, "content-type": "application/json", connection: "close" },
					body: JSON.stringify({ model: "qwen", messages: [{ role: "user", content: "slow" }] }),
				});
				await until(() => agent.authorizations.length === 2, "the slow call");
				const statuses: number[] = [];
				let isWanted = true;
				const calling = (async () => {
					while (isWanted) statuses.push(await call(router.url));
				})();
				expect((await router.upgrade()).code).toBe(0);
				await until(() => statuses.length > 50, "more calls");
				isWanted = false;
				await calling;
				expect(statuses.filter((status) => status !== 200)).toEqual([]);
				if (tunnel === "always") await until(() => agent.tunnel?.size === 2, "the second tunnel");
				gate.resolve(undefined);
				expect((await slow).status).toBe(200);
				await (await fetch(`${router.url}/health/live`)).text();
				await until(() => !isRouter(router.pid), "the end of the old process");
				expect(await call(router.url)).toBe(200);
				if (tunnel === "always") expect(agent.tunnel?.size).toBe(1);
			} finally {
				gate.resolve(undefined);
				await agent.stop();
				await router.end();
				upstream.stop();
			}
		});
	},
);
