/** Agents that have run away, as administrators see them. */
import type { RunawayAction, Runaways } from "../../accounts/runaway/runaways.ts";

/** An agent that repeats itself, a session over its budget, or a key that spends too fast: whose, and nothing of what it says. */
export type ShownRunaway =
	| {
			readonly kind: "session";
			readonly key: string | null;
			readonly action: "stop";
			readonly session: string;
			readonly budget_usd: number;
			readonly last_seen: string;
	  }
	| {
			readonly kind: "loop";
			readonly key: string | null;
			readonly action: RunawayAction;
			readonly session: string | null;
			readonly model: string;
			/** How often it has done the same. */
			readonly rounds: number;
			/** The id of its last call. */
			readonly call: string;
			readonly last_seen: string;
	  }
	| {
			readonly kind: "spending";
			readonly key: string;
			readonly action: RunawayAction;
			/** Of five minutes. */
			readonly usd: number;
			readonly usual_usd: number;
			readonly until: string;
	  };

/** Agents that have run away within the last hour, and keys that spend too fast. */
export function shownRunaways(runaways: Pick<Runaways, "list">): ShownRunaway[] {
	const { loops, keys, sessions } = runaways.list();
	return [
		...keys.map(
			({ key, usd, usual, action, until }): ShownRunaway => ({
				kind: "spending",
				key,
				action,
				usd,
				usual_usd: usual,
				until: new Date(until).toISOString(),
			}),
		),
		...sessions.map(
			({ key = null, session, usd, at }): ShownRunaway => ({
				...{ kind: "session", key, action: "stop", session, budget_usd: usd },
				last_seen: new Date(at).toISOString(),
			}),
		),
		...loops.map(
			({ key = null, session = null, model, rounds, action, call, at }): ShownRunaway => ({
				kind: "loop",
				key,
				action: action!,
				session,
				model,
				rounds,
				call,
				last_seen: new Date(at).toISOString(),
			}),
		),
	];
}
