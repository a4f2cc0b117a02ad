/** From a configured upstream to the provider that speaks its wire. */

import type { Wire } from "../vendors.ts";
import { anthropic } from "./anthropic/index.ts";
import { gemini } from "./gemini/index.ts";
import { openAiCompatible } from "./openai/index.ts";
import type { Provider, RequestInputStore, Transport } from "./provider.ts";
import type { Upstream } from "./registry.ts";

/** The provider, and the same with each of its further keys. */
export function providerOf(upstream: Upstream, transport: Transport, inputStore: RequestInputStore): Provider {
	const { otherKeys = [], ...own } = upstream;
	const first = accountOf(own, transport, inputStore);
	if (otherKeys.length === 0) return first;
	const shared = own.sharesCache ? { ...own, cacheKey: own.apiKey } : own;
	return { ...first, otherAccounts: otherKeys.map((key) => accountOf({ ...shared, ...key }, transport, inputStore)) };
}

function accountOf(upstream: Upstream, transport: Transport, inputStore: RequestInputStore): Provider {
	return WIRES[upstream.row.wire](upstream, transport, inputStore);
}

/** Who speaks each wire. */
const WIRES: Readonly<Record<Wire, typeof anthropic>> = { openai: openAiCompatible, anthropic, gemini };
