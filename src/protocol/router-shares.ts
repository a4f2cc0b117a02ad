/** What the routers that call one agent have of its hardware: each prices and measures its own calls alone, and the agent sees those of all. */
import { type Static, Type } from "@sinclair/typebox";

/** Header of a router's calls to an agent: names it among the routers that call it. No client's header of this name goes further than the router. */
export const ROUTER_NAME_HEADER = "x-router-name";

/** Most routers that a report tells apart. */
export const MOST_ROUTERS = 64;

/** By a router's name, of what ran while its calls did the part that is theirs: below 1 where calls of others ran beside them. */
export const RouterShares = Type.Record(
	Type.String({ pattern: "^[A-Za-z0-9._-]{1,64}$" }),
	Type.Number({ minimum: 0, maximum: 1 }),
	{ maxProperties: MOST_ROUTERS },
);
export type RouterShares = Static<typeof RouterShares>;

/** A router's part; 1 where nothing is said of it. */
export function routerShare(shares: RouterShares | undefined, router: string | undefined): number {
	return router !== undefined && shares !== undefined && Object.hasOwn(shares, router) ? shares[router]! : 1;
}
