/** `ca_file` beyond upstreams: agents behind TLS, and the router that an agent or a command calls. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificate } from "./kit/certificate.ts";
import { cli, directory } from "./kit/cli.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const pair = certificate("an authority of one's own");
const home = directory();
const file = (name: string, text: string) => {
	writeFileSync(join(home.path, name), text);
	return join(home.path, name);
};
const ca_file = file("ca.pem", pair.cert);
const paths: string[] = [];
/** An agent, and a router, as far as they are asked here. */
const agent = Bun.serve({
	port: 0,
	hostname: "localhost",
	tls: pair,
	fetch({ url }) {
		paths.push(new URL(url).pathname);
		return Response.json({ object: "list", data: [] });
	},
});
const TOKEN = "agent-token-of-the-test";
let plain: RunningRouter;
let trusting: RunningRouter;
beforeAll(async () => {
	const agents = { allow: ["localhost"] };
	const env = { ROUTER_AGENT_TOKEN: TOKEN };
	[plain, trusting] = await Promise.all([
		startRouter({ env, config: { agents } }),
		startRouter({ env, config: { agents, ca_file } }),
	]);
});
afterAll(async () => {
	await Promise.all([plain.stop(), trusting.stop(), agent.stop(true)]);
	home[Symbol.dispose]();
});

async function register({ url }: RunningRouter) {
	const answer = await fetch(`${url}/register`, {
		method: "POST",
		headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
		body: JSON.stringify({ name: "gpu-1", instance: "one", endpoint: `https://localhost:${agent.port}`, models: [] }),
	});
	return (await answer.json()) as { reachable?: boolean; problem?: string };
}

test("an agent behind TLS is reached by a router that trusts its authority, and by no other", async () => {
	const refused = await register(plain);
	expect([refused.reachable, refused.problem]).toEqual([false, expect.stringContaining("can't be reached")]);
	expect(await register(trusting)).toMatchObject({ reachable: true });
});

test("an authority that is renewed in its file is trusted after a reload", async () => {
	const renewed = file("renewed.pem", certificate("an authority of last year").cert);
	const running = await startRouter({
		env: { ROUTER_AGENT_TOKEN: TOKEN },
		config: { agents: { allow: ["localhost"] }, ca_file: renewed },
	});
	expect(await register(running)).toMatchObject({ reachable: false });
	file("renewed.pem", pair.cert);
	process.kill(running.pid, "SIGHUP");
	await running.printed(/loaded anew/);
	expect(await register(running)).toMatchObject({ reachable: true });
	await running.stop();
});

test("a command trusts the authority of the router that --url names", async () => {
	const ask = (env: Record<string, string>) =>
		cli(["agents", "--url", `https://localhost:${agent.port}`], { cwd: home.path, env });
	const refused = await ask({});
	expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("nothing answers at https://localhost")]);
	const { code, stdout } = await ask({ ROUTER_CA_FILE: ca_file });
	expect([code, stdout]).toEqual([0, expect.stringContaining("No agent has registered")]);
});

test("an agent trusts the authority of its router", async () => {
	const config = { ca_file, agent: { name: "gpu-2", router: `https://localhost:${agent.port}`, host: "127.0.0.1" } };
	const running = await startRouter({ args: ["--agent"], config });
	await until(() => paths.includes("/register"), "a registration");
	await running.stop();
});
