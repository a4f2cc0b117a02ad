/** `GET /agents/tunnel` as Bun's router has it: the WebSocket of a tunnel is opened in the thread that gets the request. */
import { asRouterError, RouterError } from "../../errors.ts";
import { TUNNEL_AGENT_HEADER, TUNNEL_INSTANCE_HEADER, TUNNEL_PATH } from "../../protocol/tunnel.ts";
import type { AgentTunnel } from "./agent-tunnel.ts";
import type { ThreadTunnels } from "./tunnels.ts";

/** The part of Bun's server that is used. */
interface Upgrading {
	requestIP(request: Request): { readonly address: string } | null;
	upgrade(request: Request, options: { readonly data: AgentTunnel }): boolean;
}

/** Who a tunnel's request says that it is. */
export function tunnelHeaders({ headers }: Request): { readonly agent: string; readonly instance: string } {
	const agent = headers.get(TUNNEL_AGENT_HEADER) ?? "";
	return { agent, instance: headers.get(TUNNEL_INSTANCE_HEADER) ?? "" };
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
			const { agent, instance } = tunnelHeaders(request);
			const isOpen = upgrade.call(server, request, { data: tunnels.accept(agent, instance) });
			// Bun has answered it.
			if (isOpen) return undefined as unknown as Response;
			throw new RouterError("invalid_value", "This is no WebSocket's handshake.");
		} catch (thrown) {
			return asRouterError(thrown).response();
		}
	};
	return { [TUNNEL_PATH]: { GET: open } };
}
