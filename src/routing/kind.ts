/** Whether a target is one of the house's own. */
import { isLocal } from "../providers/locality.ts";
import type { Upstream } from "../providers/registry.ts";
import type { Kind } from "./route.ts";

/**
 * What stands at an upstream's address. A server of unknown make (`openai-compatible`) at a local address is taken for one of
 * the house's own: its prompts are compared with its cache, and it costs nothing. A vendor's type at one is a gateway to that
 * vendor, who is paid: it stays a vendor, though it is called without a proxy.
 */
export function kindOf(upstream: Asked): Kind {
	let kind = known.get(upstream);
	if (!kind) {
		kind = look(upstream);
		known.set(upstream, kind);
	}
	return kind;
}

type Asked = Pick<Upstream, "baseUrl" | "row">;

/** Every call asks: parsing an address takes 1 µs. */
const known = new WeakMap<Asked, Kind>();

function look(upstream: Asked): Kind {
	const { site } = upstream.row;
	if (site === "cluster") return "llm-d";
	return (site === "replica" || site === "address") && isLocal(upstream) ? "local" : "cloud";
}
