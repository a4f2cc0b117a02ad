/** Upstreams with the transports that reach them. */
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import { providerOf } from "../providers/create.ts";
import { DUMMY_UPSTREAM, dummyTransport } from "../providers/dummy.ts";
import { isLocal } from "../providers/locality.ts";
import { openAiCompatible } from "../providers/openai/index.ts";
import type { Upstream } from "../providers/registry.ts";
import { proxyFromEnvironment } from "../proxy/net/environment-proxy.ts";
import { world } from "../proxy/net/media-fetch.ts";
import { suppliesFor } from "../proxy/net/request-inputs.ts";
import { fileFetch, httpTransport, readCa } from "../proxy/net/transport.ts";
import type { CatalogEntry } from "../routing/catalog.ts";

/** What the catalog is made of: each upstream's provider, and `dummy`. Throws StartError where `ca_file` can't be read. */
export function catalogEntries(upstreams: readonly Upstream[], config: Config, env: Environment): CatalogEntry[] {
	const proxyFor = proxyFromEnvironment(env);
	const ca = readCa(config.ca_file);
	const supplies = suppliesFor(world(fileFetch({ ca, proxyFor })));
	const entries = upstreams.map((upstream): CatalogEntry => {
		const transport = httpTransport({ ca, proxyFor: isLocal(upstream) ? undefined : proxyFor });
		return { upstream, provider: providerOf(upstream, transport, supplies(upstream.name)) };
	});
	const dummy: Upstream = { ...DUMMY_UPSTREAM, timeouts: config.timeouts };
	return [...entries, { upstream: dummy, provider: openAiCompatible(dummy, dummyTransport) }];
}
