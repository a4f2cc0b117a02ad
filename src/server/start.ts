/** The router role. */

import type { Loaded } from "../config/load.ts";
import { KEY_HINT } from "../gate/door.ts";
import { startRole } from "../http/role.ts";
import { configureUpstreams, type Upstream } from "../providers/registry.ts";
import { createCatalog } from "../routing/catalog.ts";
import type { Running } from "../running.ts";

/** Starts the router. Throws StartError (port taken, no key on a public address, a base URL that leads back here). */
export async function startRouter(loaded: Loaded, env: Readonly<Record<string, string | undefined>>): Promise<Running> {
	const { config } = loaded;
	const upstreams = configureUpstreams(config, env);
	return startRole({
		role: "router",
		loaded,
		env,
		host: config.server.host,
		port: config.server.port,
		keys: config.keys,
		keyHint: KEY_HINT,
		upstreams,
		catalogOf: (entries) => createCatalog(config, entries),
		title: "router",
		description: "One OpenAI API in front of every model you have.",
		lines: providerLines(upstreams),
	});
}

/** Which providers are ready, which lack a key, and which variable sets it. */
function providerLines(upstreams: readonly Upstream[]): string[] {
	const ready = upstreams.filter(({ state }) => state === "ready").map(({ name }) => name);
	const missing = upstreams
		.filter(({ state }) => state !== "ready")
		.map(({ name, variable }) => `${name} (${variable})`);
	return [
		`ready    ${[...ready, "dummy"].join(", ")}`,
		...(missing.length > 0 ? [`not set  ${missing.join(", ")}`] : []),
	];
}
