/** What the router role will be. */

import { KEY_HINT } from "../accounts/auth/listen-policy.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import { configureUpstreams, lacksPrices, type Upstream } from "../providers/registry.ts";
import type { RolePlan } from "./role-plan.ts";
import { routerCatalog } from "./router.ts";
import { createRouterState } from "./router-state.ts";

/**
 * The plan. Opens nothing but what is kept of keys. Throws StartError where an upstream's address is none.
 * @param house of the process, where one runs already
 */
export function routerPlan(config: Config, env: Environment, house = createRouterState(config)): RolePlan {
	const { host, port, tls, generate_key } = config.server;
	const upstreams = configureUpstreams(config, env);
	return {
		role: "router",
		config,
		env,
		host,
		port,
		tls,
		keys: config.keys,
		made: house.keys,
		generatesKey: config.keys.length === 0 && generate_key,
		keyHint: KEY_HINT,
		upstreams,
		catalogOf: (entries) => routerCatalog(config, env, entries, house),
		title: "router",
		description: "One OpenAI API in front of every model you have.",
		lines: providerLines(upstreams, config.prices),
	};
}

/** Which providers are ready, which lack a key, and which variable sets it; and which of the ready ones have no prices. */
function providerLines(upstreams: readonly Upstream[], prices: Config["prices"]): string[] {
	const usable = upstreams.filter(({ state }) => state === "ready");
	const ready = usable.map(({ name }) => name);
	const unpriced = usable.filter((upstream) => lacksPrices(upstream, prices)).map(({ name }) => name);
	const missing = upstreams
		.filter(({ state }) => state !== "ready")
		.map(({ name, variable }) => `${name} (${variable})`);
	return [
		`ready    ${[...ready, "dummy"].join(", ")}`,
		...(missing.length > 0 ? [`not set  ${missing.join(", ")}`] : []),
		...(unpriced.length > 0
			? [
					`unpriced ${unpriced.join(", ")}: set their models' prices under \`prices:\`, or keys with a budget can't use them`,
				]
			: []),
	];
}
