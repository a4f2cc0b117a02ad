/** What an upstream is to its router: one of the user's own machines, llm-d, or a vendor. Routing asks here alone. */
import { isLocal as isLocalAddress } from "../providers/locality.ts";
import type { Upstream } from "../providers/registry.ts";
import type { Destination } from "./model-patterns.ts";
import type { Kind } from "./route.ts";

/**
 * What an upstream's address leads to. A server of unknown make (`openai-compatible`) at a local address is taken for one of
 * the user's own: its prompts are compared with its cache, and it costs nothing. A vendor's type at one is a gateway to that
 * vendor, who is paid: it stays a vendor, though it is called without a proxy.
 */
export function kindOf(upstream: KindInputs): Kind {
	let kind = kinds.get(upstream);
	if (!kind) {
		kind = kindAt(upstream);
		kinds.set(upstream, kind);
	}
	return kind;
}

type KindInputs = Pick<Upstream, "baseUrl" | "row">;

/** Every call asks, and parsing an address costs. */
const kinds = new WeakMap<KindInputs, Kind>();

function kindAt(upstream: KindInputs): Kind {
	const { site } = upstream.row;
	if (site === "cluster") return "llm-d";
	return (site === "replica" || site === "address") && isLocalAddress(upstream) ? "local" : "cloud";
}

/** Where prompts go that it is sent: its kind decides; what is built in asks nobody. */
export function destinationAt(upstream: Upstream): Destination {
	if (upstream.type === "local") return "agents";
	return kindOf(upstream) === "cloud" && upstream.row.site !== "process" ? "vendor" : "own";
}
