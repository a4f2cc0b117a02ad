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

const LOCAL_HOST = /^(?:localhost|127(?:\.\d+){3}|::1|\[::1\])$/;

/** Decides at each request, by the snapshot in force. */
export class AgentAccess {
	/** Of `ROUTER_AGENT_TOKEN`. */
	readonly #configured: readonly Buffer[];

	/** @param store holds the tokens that `router agents invite` has made; asked each time, since that is another process */
	constructor(
		env: Environment,
		private readonly store: Pick<Store, "agentTokens">,
		private readonly current: CurrentSnapshot<RouterSnapshot>,
		private readonly administrators: Pick<Administrators, "find">,
	) {
		this.#configured = agentTokens(env).map(hashKey);
	}

	/**
	 * Lets an agent's request in or throws why not. Without any token a router on loopback that has no keys either takes agents
	 * of this machine: its API is open to them, too. With keys that would be a way past them.
	 * @param peer the address that the request comes from
	 */
	admitAgent(request: Request, peer: string): void {
		const { auth, config } = this.current.snapshot;
		const hashes = [...this.#configured, ...this.store.agentTokens().map(({ hash }) => hash)];
		if (hashes.length === 0 && auth.isKeyless && LOCAL_HOST.test(config.server.host) && isLoopbackAddress(peer)) {
			const refusal = crossSiteRefusal(auth, request, config);
			if (refusal) throw refusal;
			return;
		}
		if (hashes.length === 0) {
			const message =
				"This router has no agent token: set ROUTER_AGENT_TOKEN where it runs, or run `router agents invite` there.";
			throw new RouterError("invalid_agent_token", message);
		}
		const secret = presentedSecret(request.headers);
		if (secret === undefined) {
			const message =
				"No agent token: send one as `Authorization: Bearer …` (the agent takes it from ROUTER_AGENT_TOKEN).";
			throw new RouterError("invalid_agent_token", message);
		}
		const hash = hashKey(secret);
		let isKnown = false;
		// Every hash is compared, whether or not one has matched: the time tells nothing.
		for (const each of hashes) if (timingSafeEqual(each, hash)) isKnown = true;
		if (!isKnown) {
			throw new RouterError("invalid_agent_token", `This agent token is not known here${whyUnknown(request.headers)}.`);
		}
	}

	/** Lets in who may see the agents: an administrator, or an agent. Throws what `admitAgent` does. */
	admitReader(request: Request, server: Peers | null): void {
		if (this.administrators.find(request, server)) return;
		this.admitAgent(request, server?.requestIP(request)?.address ?? "");
	}
}
