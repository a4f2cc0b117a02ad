/** Who may register agents and see them. Tokens are held as hashes and compared in constant time. */
import { timingSafeEqual } from "node:crypto";
import { crossSiteRefusal } from "../../accounts/auth/csrf.ts";
import { hashKey, presentedSecret, whyUnknown } from "../../accounts/auth/keys.ts";
import { agentTokens } from "../../config/agent-tokens.ts";
import type { Environment } from "../../config/interpolate.ts";
import { RouterError } from "../../errors.ts";
import type { Peers } from "../../http/client-address.ts";
import type { Store } from "../../store/store.ts";
import type { Administrators } from "../admin/administrators.ts";
import type { CurrentSnapshot, RouterSnapshot } from "../snapshot.ts";
import { isLoopbackAddress } from "./endpoint.ts";
import type { AgentRefusal } from "./refused-agents.ts";

const LOCAL_HOST = /^(?:localhost|127(?:\.\d+){3}|::1|\[::1\])$/;

/** Decides at each request, by the snapshot in force. */
export class AgentAccess {
	/** Of `ROUTER_AGENT_TOKEN`. */
	readonly #configured: readonly Buffer[];

	/**
	 * @param store holds the tokens that `router agents invite` has made; asked each time, since that is another process
	 * @param refused hears of agents that are not let in for want of a token which counts
	 */
	constructor(
		env: Environment,
		private readonly store: Pick<Store, "agentTokens" | "revokedAgentTokens">,
		private readonly current: CurrentSnapshot<RouterSnapshot>,
		private readonly administrators: Pick<Administrators, "find">,
		private readonly refused: (request: Request, peer: string, refusal: AgentRefusal) => void,
	) {
		this.#configured = agentTokens(env).map(hashKey);
	}

	/**
	 * Lets an agent's request in or throws why not. Without any token a router on loopback that has no keys either takes agents
	 * of this machine: its API is open to them, too. With keys that would be a way past them.
	 * @param peer the address that the request comes from
	 */
	admitAgent(request: Request, peer: string): void {
		const refusal = this.#refusalOf(request, peer);
		if (refusal === undefined) return;
		this.refused(request, peer, refusal);
		throw refusedToken(request, refusal);
	}

	/** Throws where the request is a page's of another site. */
	#refusalOf(request: Request, peer: string): AgentRefusal | undefined {
		const { auth, config } = this.current.snapshot;
		const hashes = [...this.#configured, ...this.store.agentTokens().map(({ hash }) => hash)];
		if (needsNoToken(this.current.snapshot, hashes.length) && isLoopbackAddress(peer)) {
			const refusal = crossSiteRefusal(auth, request, config);
			if (refusal) throw refusal;
			return undefined;
		}
		const secret = presentedSecret(request.headers);
		if (secret === undefined) return hashes.length === 0 ? "none known" : "no token";
		const hash = hashKey(secret);
		if (isAmong(hash, hashes)) return undefined;
		if (isAmong(hash, this.store.revokedAgentTokens())) return "revoked";
		return hashes.length === 0 ? "none known" : "unknown";
	}

	/** Lets in who may see the agents: an administrator, or an agent. Throws what `admitAgent` does. */
	admitReader(request: Request, server: Peers | null): void {
		if (this.administrators.find(request, server)) return;
		// Not told to the log: it may be a person who looks.
		const refusal = this.#refusalOf(request, server?.requestIP(request)?.address ?? "");
		if (refusal !== undefined) throw refusedToken(request, refusal);
	}
}

/** Who may call a router, and where it listens. */
interface Openness {
	readonly auth: { readonly isKeyless: boolean };
	readonly config: { readonly server: { readonly host: string } };
}

/** Whether agents of the router's own machine need no token. Pure. @param tokens how many the router knows */
function needsNoToken({ auth, config }: Openness, tokens: number): boolean {
	return tokens === 0 && auth.isKeyless && LOCAL_HOST.test(config.server.host);
}

/** That a router refuses the agents which have registered with it, since none of them can have a token; undefined where it does not. */
export function shutOutAgents(
	router: Openness,
	env: Environment,
	store: Pick<Store, "agents" | "agentTokens">,
): string | undefined {
	const tokens = agentTokens(env).length + store.agentTokens().length;
	const { length: agents } = tokens > 0 || needsNoToken(router, tokens) ? [] : store.agents();
	if (agents === 0) return undefined;
	const [who, them] =
		agents === 1 ? ["1 agent that has registered is", "it"] : [`${agents} agents that have registered are`, "them"];
	const why = router.auth.isKeyless ? "the router listens beyond loopback" : "the router has keys";
	return `${who} refused: ${why}, and neither ROUTER_AGENT_TOKEN nor an invitation. Set that variable where the router runs, or run \`router agents invite\` there, and start ${them} with that token.`;
}

/** Every hash is compared, whether or not one has matched: the time tells nothing. */
function isAmong(hash: Buffer, hashes: readonly Buffer[]): boolean {
	let isFound = false;
	for (const each of hashes) if (timingSafeEqual(each, hash)) isFound = true;
	return isFound;
}

function refusedToken({ headers }: Request, refusal: AgentRefusal): RouterError {
	const messages: Record<AgentRefusal, string> = {
		"none known":
			"This router has no agent token: set ROUTER_AGENT_TOKEN where it runs, or run `router agents invite` there.",
		"no token": "No agent token: send one as `Authorization: Bearer …` (the agent takes it from ROUTER_AGENT_TOKEN).",
		unknown: `This agent token is not known here${whyUnknown(headers)}.`,
		revoked: "This agent token was taken back: `router agents invite` makes another one.",
	};
	return new RouterError("invalid_agent_token", messages[refusal]);
}
