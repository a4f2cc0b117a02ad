/** What the routers that call one agent have of its hardware: each prices and measures its own calls alone, and the agent sees those of all. */
import { type Static, Type } from "@sinclair/typebox";

/** Header of a router's calls to an agent: names it among the routers that call it. No client's header of this name goes further than the router. */
export const ROUTER_NAME_HEADER = "x-router-name";

/** Most routers that a report tells apart. */
export const MOST_ROUTERS = 64;

/** What a router calls itself; no other text in the header is a name. */
export const ROUTER_NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** By a router's name, of what ran while its calls did the part that is theirs: below 1 where calls of others ran beside them. */
export const RouterShares = Type.Record(
	Type.String({ pattern: ROUTER_NAME.source }),
	Type.Number({ minimum: 0, maximum: 1 }),
	{ maxProperties: MOST_ROUTERS },
);
export type RouterShares = Static<typeof RouterShares>;

/** Shares as a report of a model, or of one replica, has them. */
interface Shared {
	readonly energy_shares?: RouterShares;
	readonly time_shares?: RouterShares;
}

/** A report without shares of what is no router's name: they would be stored and passed on, and serve nobody. */
export function withNamedShares<Report extends Shared & { readonly replicas?: readonly Shared[] }>(
	report: Report,
): Report {
	const { replicas } = report;
	const isPlain = areNamed(report) && (replicas === undefined || replicas.every(areNamed));
	return isPlain ? report : { ...named(report), ...(replicas && { replicas: replicas.map(named) }) };
}

const isNamed = (name: string): boolean => ROUTER_NAME.test(name);
const areNamed = ({ energy_shares: energy = {}, time_shares: time = {} }: Shared): boolean =>
	Object.keys(energy).every(isNamed) && Object.keys(time).every(isNamed);

function named<Each extends Shared>(each: Each): Each {
	const { energy_shares: energy, time_shares: time } = each;
	return {
		...each,
		...(energy && { energy_shares: namedOf(energy) }),
		...(time && { time_shares: namedOf(time) }),
	};
}

const namedOf = (shares: RouterShares): RouterShares =>
	Object.fromEntries(Object.entries(shares).filter(([name]) => isNamed(name)));

/** A router's part; 1 where nothing is said of it. */
export function routerShare(shares: RouterShares | undefined, router: string | undefined): number {
	return router !== undefined && shares !== undefined && Object.hasOwn(shares, router) ? shares[router]! : 1;
}
