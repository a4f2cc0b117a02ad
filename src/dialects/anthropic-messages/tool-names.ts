/** Names of tools: Anthropic takes 128 characters (MCP's need them), OpenAI 64. Longer ones go out short and come back whole. */
import type { MessagesRequest } from "./messages-schema.ts";

/** Characters that every server takes. */
const MOST = 64;
/** Of a hash, in hex. */
const HASH = 8;

/** The name that is sent to upstreams that are not Anthropic's; the same each time. */
export function sentToolName(name: string): string {
	if (name.length <= MOST) return name;
	const hash = new Bun.SHA256().update(name).digest("hex").slice(0, HASH);
	return `${name.slice(0, MOST - HASH - 1)}_${hash}`;
}

/** The names that were sent short, with the whole ones; undefined where there are none. */
export function shortToolNames({ tools }: Pick<MessagesRequest, "tools">): ReadonlyMap<string, string> | undefined {
	let short: Map<string, string> | undefined;
	for (const { name } of tools ?? []) {
		if (name === undefined || name.length <= MOST) continue;
		short ??= new Map();
		short.set(sentToolName(name), name);
	}
	return short;
}
