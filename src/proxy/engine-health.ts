/** Whether engines that have died are back, as their servers say it. */
import { isOk } from "../providers/provider.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { TargetView } from "../routing/target-state.ts";
import type { ProxyState } from "./proxy-state.ts";

/** How long a server may take to say how it is, ms. */
const HEALTH_TIMEOUT_MS = 2_000;
/** A server that can't say how it is counts as back so long after it last said that it is dead, ms; not an agent, which reports it. */
const ASSUMED_BACK_MS = 10_000;

/** By what an engine is known: the id of the target that it is; an adapter runs in its model's. */
export const engineIdOf = ({ id, engine }: Pick<RouteTarget, "id" | "engine">): string => engine ?? id;

/** Asks the servers of those of these targets whose engines are dead how they are. `ids`: of engines. */
export async function findBack(
	ids: readonly string[],
	tried: readonly { readonly target: RouteTarget }[],
	{ suspects, targets }: Pick<ProxyState, "suspects" | "targets">,
): Promise<void> {
	const dead = tried.filter(({ target }) => ids.includes(engineIdOf(target)) && suspects.isDead(engineIdOf(target)));
	await Promise.all(
		dead.map(async ({ target }) => {
			const id = engineIdOf(target);
			if ([target.id, id].some((each) => hasRecovered(targets.of(each), suspects.lastDead(id)))) {
				return suspects.cameBack(id);
			}
			const health = await healthOf(target);
			if (health === "dead") suspects.staysDead(id);
			const silentMs = performance.now() - (suspects.lastDead(id) ?? 0);
			const isAssumed = health === "unknown" && !target.provider.reportsLoading && silentMs >= ASSUMED_BACK_MS;
			if (health === "up" || isAssumed) suspects.cameBack(id);
		}),
	);
}

/** Whether its breaker closed after the death. One that has never opened knows nothing of it: another name of the engine met it. */
const hasRecovered = ({ breaker: { state, closedAt } }: TargetView, diedAt = 0): boolean =>
	state === "closed" && closedAt > diedAt;

/** What a vLLM says of itself: 503 while its engine is dead. Servers that have no such path say nothing. */
async function healthOf({ provider }: RouteTarget): Promise<"up" | "dead" | "away" | "unknown"> {
	const request = provider.healthRequest?.();
	if (!request) return "unknown";
	const giveUp = new AbortController();
	const timer = setTimeout(() => giveUp.abort(), HEALTH_TIMEOUT_MS);
	try {
		const answer = await provider.transport.send(request, giveUp.signal);
		return isOk(answer) ? "up" : answer.status >= 500 ? "dead" : "unknown";
	} catch {
		return "away";
	} finally {
		clearTimeout(timer);
		// Its body is of no interest.
		giveUp.abort();
	}
}
