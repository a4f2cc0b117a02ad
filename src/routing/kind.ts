/** Whether a target is one of the house's own. */
import type { Upstream } from "../providers/registry.ts";
import type { Kind } from "./route.ts";

/** Names that no public host has: of one label, or ended so. */
const PRIVATE_NAME = /^[^.:]+$|\.(?:local|internal|lan|home|svc|cluster\.local|localhost)$/i;
/** Loopback, RFC 1918, unique local IPv6; as URLs write them: four numbers, whatever was typed. */
const PRIVATE_ADDRESS =
	/^(?:(?:127|10)\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+$|^\[(?:::1|f[cd][0-9a-f]{2}:[0-9a-f:]+)\]$/;

/**
 * What stands at an upstream's address. A server of unknown make (`openai-compatible`) that answers at a private address is taken
 * for one of the house's own: its prompts are compared with its cache, and it costs nothing.
 */
export function kindOf(upstream: Asked): Kind {
	let kind = known.get(upstream);
	if (!kind) {
		kind = look(upstream);
		known.set(upstream, kind);
	}
	return kind;
}

type Asked = Pick<Upstream, "type" | "baseUrl" | "name">;

/** Every call asks: parsing an address takes 1 µs. */
const known = new WeakMap<Asked, Kind>();

function look({ type, baseUrl, name }: Asked): Kind {
	if (type === "local" || type === "vllm") return "local";
	if (type === "llm-d") return "llm-d";
	if (type !== "openai-compatible" || name === "dummy" || !baseUrl || !URL.canParse(baseUrl)) return "cloud";
	const { hostname } = new URL(baseUrl);
	return PRIVATE_NAME.test(hostname) || PRIVATE_ADDRESS.test(hostname) ? "local" : "cloud";
}
