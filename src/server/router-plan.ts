/** What the router role will be. */

import { KEY_HINT } from "../accounts/auth/listen-policy.ts";
import { askVendors, namedTargets, retiringModels } from "../api/retiring-models.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import { configureUpstreams, lacksPrices, type Upstream } from "../providers/registry.ts";
import { createCatalog } from "../routing/catalog.ts";
import { shutOutAgents } from "./agents/agent-access.ts";
import { redisServer } from "./redis-features.ts";
import { catalogEntries, plannedEntries, type RolePlan } from "./role-plan.ts";
import { RouterState } from "./router-state.ts";
import { workerCount } from "./threads/worker-count.ts";

/** The plan. Opens nothing. @throws {StartError} where an upstream's address is none, or the system has not what the setting wants */
export function routerPlan(config: Config, env: Environment): RolePlan {
	const { host, port, tls, generate_key } = config.server;
	const workers = workerCount(config);
	const upstreams = configureUpstreams(config, env);
	return {
		role: "router",
		config,
		env,
		host,
		port,
		tls,
		keys: config.keys,
		generatesKey: config.keys.length === 0 && generate_key,
		keyHint: KEY_HINT,
		workers,
		upstreams,
		title: "router",
		description: "One OpenAI API in front of every model you have.",
		lines: [...providerLines(upstreams, config.prices), ...(workers > 1 ? [`workers  ${workers}`] : [])],
	};
}

/**
 * Decides what a start decides before it tries the port. Opens nothing but the database's keys.
 * @throws {StartError} all that a start would refuse, and FindingsError for targets of `models:` that lead nowhere
 */
export function checkRouter(config: Config, env: Environment): void {
	const plan = routerPlan(config, env);
	redisServer(config);
	const { keys } = new RouterState(config);
	createCatalog(config, plannedEntries(plan, keys));
}

/** What `shutOutAgents` says of the router that would start. */
export function refusedAgents(config: Config, env: Environment): string | undefined {
	const { generatesKey } = routerPlan(config, env);
	const { keys, store } = new RouterState(config);
	const isKeyless = config.keys.length === 0 && !generatesKey && keys.isEmpty;
	return shutOutAgents({ auth: { isKeyless }, config }, env, store);
}

/** Asks the vendors that `models:` names, and resolves with a sentence for each target that ends. Never rejects for want of an answer. */
export async function retiringLines(config: Config, env: Environment): Promise<string[]> {
	const catalog = configuredCatalog(config, env);
	await askVendors(config.models, catalog);
	return retiringModels(config.models, catalog).map(({ text }) => text);
}

/** @throws {FindingsError} targets of `models:` that lead nowhere; StartError where an upstream's address is none */
export function checkTargets(config: Config, env: Environment): void {
	configuredCatalog(config, env);
}

/** A sentence for each target of `models:` whose provider lacks its key or its address. */
export function targetsNotReady(config: Config, env: Environment): string[] {
	const upstreams = configureUpstreams(config, env);
	const lacking = new Map(
		upstreams.map(({ name, state, variable }) => [name, state === "ready" ? undefined : variable]),
	);
	return namedTargets(config.models, configuredCatalog(config, env, upstreams)).flatMap(({ name, target }) => {
		const variable = lacking.get(target.provider.name);
		return variable === undefined ? [] : [`${name}: ${target.id} can't be asked until ${variable} is set`];
	});
}

const configuredCatalog = (config: Config, env: Environment, upstreams = configureUpstreams(config, env)) =>
	createCatalog(config, catalogEntries(upstreams, config, env));

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

/** The plan of a worker, without the files that the main thread alone reads. */
export function workerPlan(config: Config, env: Environment): RolePlan {
	return { ...routerPlan(config, env), tls: undefined };
}
