/**
 * An agent of a bench, a process of its own: joins the router, which calls the bench's upstream in its place, at that address or through a
 * tunnel. `bun agent.ts ROUTER UPSTREAM address|tunnel`
 */
import { startLink } from "../../src/agent/router-link/router-link.ts";
import { TunnelClient } from "../../src/agent/router-link/tunnel-client.ts";
import { httpTransport } from "../../src/proxy/net/transport.ts";

const [router = "", upstream = "", way] = process.argv.slice(2);
const { hostname, port } = new URL(upstream);
const log = { logger: { info() {}, warn: console.error, error: console.error } } as unknown as Parameters<
	typeof startLink
>[0]["log"];
const common = { router, name: "bench", instance: "bench", transport: httpTransport(), log };
const client = new TunnelClient({ ...common, site: { hostname, port: Number(port) } });
startLink({
	...common,
	advertise: upstream,
	port: Number(port),
	tunnel: way === "tunnel" ? { mode: "always", client } : undefined,
	report: () => ({ models: ["bench"] }),
	onSecret: () => undefined,
});

// A bench that was killed can stop nobody: then this process ends by itself.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && process.exit(1), 1000);
