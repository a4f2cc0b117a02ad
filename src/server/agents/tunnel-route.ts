/** `GET /agents/tunnel` as Bun's router has it: the WebSocket of a tunnel is opened in the thread that gets the request. */
import { asRouterError, RouterError } from "../../errors.ts";
import { AGENT_HEADER } from "../../protocol/agent.ts";
import {
	TUNNEL_INSTANCE_HEADER,
	TUNNEL_PATH,
	TUNNEL_PROCESS_HEADER,
	TUNNEL_ROUTERS_HEADER,
	TUNNEL_STANDBY_HEADER,
} from "../../protocol/tunnel.ts";
import type { AgentTunnel } from "./agent-tunnel.ts";
import type { ThreadTunnels } from "./tunnels.ts";

/** The part of Bun's server that is used. */
interface Upgrading {
	requestIP(request: Request): { readonly address: string } | null;
	upgrade(request: Request, options: { readonly data: AgentTunnel }): boolean;
}

/** What a tunnel's request says of its agent. */
export function tunnelHeaders({ headers }: Request) {
	return {
		agent: headers.get(AGENT_HEADER) ?? "",
		/** "" where it has none. */
		instance: headers.get(TUNNEL_INSTANCE_HEADER) ?? "",
		/** Of its start; "" where it says none, as an older agent. */
		process: headers.get(TUNNEL_PROCESS_HEADER) ?? "",
		/** Routers that it has tunnels to. */
		known: headers.get(TUNNEL_ROUTERS_HEADER)?.split(",") ?? [],
		/** It wants none in the place of another agent's. */
		standsBack: headers.has(TUNNEL_STANDBY_HEADER),
	};
}

/**
 * The route.
 * @param refuse the answer to a request that may not open a tunnel; undefined where it may. Throws RouterError
 */
export function tunnelRoutes(
	tunnels: ThreadTunnels,
	refuse: (request: Request, peer: string) => Promise<Response | undefined>,
) {
	const open = async (request: Request, server: unknown): Promise<Response> => {
		const { requestIP, upgrade } = server as Upgrading;
		try {
			const refusal = await refuse(request, requestIP.call(server, request)?.address ?? "");
			if (refusal) return refusal;
			const { known, standsBack: _, ...whose } = tunnelHeaders(request);
			const isOpen = upgrade.call(server, request, { data: tunnels.accept(whose, known) });
			// Bun has answered it.
			if (isOpen) return undefined as unknown as Response;
			throw new RouterError("invalid_value", "This is no WebSocket's handshake.");
		} catch (thrown) {
			return asRouterError(thrown).response();
		}
	};
	return { [TUNNEL_PATH]: { GET: open } };
}
