/** How the router calls its agents. */
import { ROUTER_NAME_HEADER } from "../../protocol/router-shares.ts";
import { TUNNEL_PREFIX } from "../../protocol/tunnel.ts";
import { type CancelSignal, isOk, type Transport, type UpstreamRequest } from "../../providers/provider.ts";
import { httpTransport } from "../../proxy/net/transport.ts";
import type { ThreadTunnels } from "./tunnels.ts";

/** How long the agent has to answer, ms. */
const CALL_BACK_MS = 3_000;

/**
 * Calls agents: over their tunnels, where their endpoints say so, else over connections that notice within 5 s that a host has lost its power,
 * however long a model may think.
 */
export class AgentTransport implements Transport {
	#ca: string | undefined;
	#transport: Transport;

	/** @param ca PEM certificates that are trusted besides the system's, the content of `ca_file` */
	constructor(
		ca: string | undefined,
		private readonly tunnels: Pick<ThreadTunnels, "transportTo" | "router">,
	) {
		this.#ca = ca;
		this.#transport = httpTransport({ ca });
	}

	send(sent: UpstreamRequest, signal: CancelSignal, connectMs?: number): ReturnType<Transport["send"]> {
		const { router } = this.tunnels;
		const headers = router === undefined ? sent.headers : { ...sent.headers, [ROUTER_NAME_HEADER]: router };
		const request = { ...sent, headers };
		if (request.url.startsWith(TUNNEL_PREFIX)) {
			return this.tunnels.transportTo(request.url).send(request, signal, connectMs);
		}
		return this.#transport.send(request, signal);
	}

	/** These certificates are trusted from now on: a file that is renewed in its place keeps its name. */
	trust(ca: string | undefined): void {
		if (ca === this.#ca) return;
		this.#ca = ca;
		this.#transport = httpTransport({ ca });
	}
}

/**
 * Calls an agent back that registers. Resolves with why `GET {origin}/health` does not answer, one sentence with what to do; undefined
 * where it does. Never rejects. The call carries the agent's secret, as all calls to it do.
 */
export async function callBack(
	origin: string,
	secret: string,
	transport: Transport,
	ms = CALL_BACK_MS,
): Promise<string | undefined> {
	const isTunnel = origin.startsWith(TUNNEL_PREFIX);
	const { hostname, port, protocol } = new URL(origin);
	const number = port || (protocol === "https:" ? "443" : "80");
	const giveUp = new AbortController();
	const timer = setTimeout(() => giveUp.abort(), ms);
	try {
		const headers = { accept: "*/*", authorization: `Bearer ${secret}` };
		const answer = await transport.send({ url: `${origin}/health`, headers }, giveUp.signal);
		if (isOk(answer)) return undefined;
		if (isTunnel) return `The agent answers ${answer.status} through its tunnel.`;
		return `${origin}/health answers ${answer.status}: something else than the agent listens on port ${number}.`;
	} catch (thrown) {
		if (isTunnel)
			return "The agent does not answer through its tunnel, or has none open at this moment: it opens it by itself.";
		if (giveUp.signal.aborted) {
			return `${origin} does not answer within ${ms / 1000} s: a firewall may block port ${number} on ${hostname}, or the agent listens on another address. Open the port, or start the agent with --tunnel.`;
		}
		const code = thrown instanceof Error && "code" in thrown ? ` (${thrown.code})` : "";
		return `${origin} can't be reached${code}: nothing listens on port ${number} of ${hostname}, or a firewall refuses it. Open the port, have the agent listen there (--host 0.0.0.0), mend its --advertise where it has one, or start it with --tunnel.`;
	} finally {
		clearTimeout(timer);
		// Its body is of no interest.
		giveUp.abort();
	}
}
