/** `router health`, as a container's health check runs it. */
import { expect, test } from "bun:test";
import { cli, directory } from "./kit/cli.ts";
import { startRouter } from "./kit/router.ts";

test("exits 1 and names the address where nothing answers", async () => {
	using home = directory();
	const { code, stderr } = await cli(["health", "--port", "1"], { cwd: home.path });
	expect([code, stderr]).toEqual([1, "router: nothing answers at http://127.0.0.1:1/health/ready\n"]);
});

test("asks the agent without TLS, which only the router serves", async () => {
	const config = { server: { tls: { cert: "cert.pem", key: "key.pem" } } };
	using home = directory({ "router.yaml": JSON.stringify(config) });
	const agent = await startRouter({ args: ["--agent"], config });
	try {
		const { port } = new URL(agent.url);
		const { code, stdout } = await cli(["health", "--agent", "--port", port], { cwd: home.path });
		expect([code, stdout]).toEqual([0, "ready\n"]);
	} finally {
		await agent.stop();
	}
});

test("exits 0 beside a router that takes calls, on every address it may listen on", async () => {
	using home = directory();
	const router = await startRouter();
	try {
		const { port } = new URL(router.url);
		for (const host of ["127.0.0.1", "0.0.0.0"]) {
			const { code, stdout } = await cli(["health", "--host", host, "--port", port], { cwd: home.path });
			expect([code, stdout]).toEqual([0, "ready\n"]);
		}
	} finally {
		await router.stop();
	}
});
