/** Who may register agents and see them. Tokens are held as hashes and compared in constant time. */
import { timingSafeEqual } from "node:crypto";
import { type Gate, hashKey, presentedSecret, whyUnknown } from "../../accounts/auth/keys.ts";
import { RouterError } from "../../errors.ts";
import type { Store } from "../../store/store.ts";
import { isLoopbackAddress } from "./endpoint.ts";

/** What decides. */
export interface AgentDoorOptions {
	/** Of `ROUTER_AGENT_TOKEN`. */
	readonly tokens: readonly string[];
	/** Holds the tokens that `router agents invite` has made; asked each time, since that is another process. */
	readonly store: Pick<Store, "agentTokens">;
	readonly gate: Pick<Gate, "isOpen">;
	/** The address that the router listens on. */
	readonly host: string;
	/** Why a request is refused that a web page may have made by stealth. */
	readonly refuse: (request: Request) => RouterError | undefined;
}

const LOCAL_HOST = /^(?:localhost|127(?:\.\d+){3}|::1|\[::1\])$/;

/**
 * Lets a request in or throws why not. Without any token a router on loopback that has no keys either takes agents
 * of this machine: its API is open to them, too. With keys that would be a way past them.
 */
export function agentDoor({ tokens, store, gate, host, refuse }: AgentDoorOptions) {
	const own = tokens.map(hashKey);
	return (request: Request, peer: string): void => {
		const hashes = [...own, ...store.agentTokens().map(({ hash }) => hash)];
		if (hashes.length === 0 && gate.isOpen && LOCAL_HOST.test(host) && isLoopbackAddress(peer)) {
			const refusal = refuse(request);
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
	};
}
