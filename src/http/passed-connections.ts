/**
 * A server whose connections another thread accepts and passes on, over this machine's loopback. To its routes they look as if clients had
 * connected themselves; who connects past that thread is refused.
 */
import type { Peers } from "./client-address.ts";
import type { PeerAddresses } from "./peer-addresses.ts";
import type { RequestGuard } from "./request-guard.ts";

/** Where such a server listens, and from where connections are passed on. Programs of this machine may connect from others, such as 127.0.0.2. */
export const PASSING_HOST = "127.0.0.1";

/** The part of Bun's server that is used. */
interface NamedPeers {
	requestIP(request: Request): { readonly address: string; readonly family: string; readonly port: number } | null;
}

/** Has Bun's server say the address of whoever has connected to the thread that passes on; null to who has not. */
export function nameClients(server: NamedPeers, peers: PeerAddresses): void {
	const { requestIP } = server;
	server.requestIP = (request) => {
		const passing = requestIP.call(server, request);
		const address = passing?.address === PASSING_HOST ? peers.at(passing.port) : undefined;
		if (address === undefined) return null;
		return { address, family: address.includes(":") ? "IPv6" : "IPv4", port: passing!.port };
	};
}

/** The guard of such a server: refuses who has connected to it directly. */
export function refusingStrangers(guard: RequestGuard): RequestGuard {
	return (request, server) => (isPassed(request, server) ? guard(request, server) : refusal());
}

/** Routes of Bun's router that no guard looks at, of such a server. */
export function routesForPassed<Handle extends (request: Request, server: Peers) => Response | Promise<Response>>(
	routes: Readonly<Record<string, Readonly<Record<string, Handle>>>>,
) {
	const passed = (handle: Handle) => (request: Request, server: Peers) =>
		isPassed(request, server) ? handle(request, server) : refusal();
	return mapValues(routes, (methods) => mapValues(methods, passed));
}

function mapValues<From, To>(record: Readonly<Record<string, From>>, change: (value: From) => To): Record<string, To> {
	return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

const isPassed = (request: Request, server: Peers | null | undefined): boolean =>
	(server?.requestIP(request) ?? null) !== null;

const refusal = (): Response =>
	new Response("Connections to this port are the router's own. Call the address that its log says it listens on.\n", {
		status: 403,
		headers: { connection: "close" },
	});
