/** A call's plan, and where it may go once that has failed: asked then, so that it learns of agents that came since it began. */
import type { Config } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import type { CallPlan } from "../proxy/call-plan.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import type { Catalog } from "../routing/catalog.ts";
import { type Explanation, explain } from "../routing/explain.ts";
import { limitedNames } from "../routing/limited-names.ts";
import type { Route, RouteTarget } from "../routing/route.ts";
import type { Accounts, CallContext } from "./call-context.ts";
import { type Choice, choose, type PlanContext } from "./route-call.ts";

/** A call that runs. */
export interface RunningCall {
	readonly call: Call;
	/** Where it may go as it began: its caller's part of the route. */
	readonly route: Route;
	/** The configuration's that it began with. */
	readonly catalog: Pick<Catalog, "find">;
	readonly record: Pick<CallRecord, "decision">;
	/** What its caller may use of a route, by the rules that the call began with. Throws RouterError where that is nothing. */
	permit(found: Route): Route;
	/** Where models have limits of their own the call is counted towards those that its names told as it began. */
	readonly accounts: { readonly admission: Pick<Accounts["admission"], "limitsModels"> } | undefined;
}

/** The plan of a call that is to go where was chosen; behind a router it never asks again, since that knows of agents itself. */
export function callPlan(
	{ targets, work }: Choice,
	running: RunningCall,
	context: PlanContext & Pick<CallContext, "isBehindRouter">,
	{ timeouts }: Pick<Config, "timeouts">,
): CallPlan {
	const { alias } = running.route;
	const { isBehindRouter: noWaiting } = context;
	const replan = noWaiting ? undefined : () => targetsNow(running, context);
	return { targets, work, alias, attemptsMs: timeouts.attempts, replan, noWaiting };
}

/** What agents serve for the call now, in the order to try (`CallPlan.replan`). What is new is put behind the candidates of the call's record. */
function targetsNow(running: RunningCall, context: PlanContext): readonly RouteTarget[] {
	const { call, route } = running;
	const permitted = permittedNow(running);
	const now = {
		...route,
		targets: permitted.filter((target) => target.agent !== undefined && isCounted(running, target)),
	};
	if (now.targets.length === 0) return now.targets;
	const { explained } = choose(call, now, context, true);
	const { plan } = explained!;
	const { targets } = plan;
	const known = new Set(route.targets.map(({ id }) => id));
	if (targets.every(({ id }) => known.has(id))) return targets;
	const before = (running.record.decision ?? explain(choose(call, route, context, true).explained!)) as Explanation;
	const shown = new Set(before.candidates.map(({ id }) => id));
	const came = explain(explained!).candidates.filter(({ id, rank }) => rank !== undefined && !shown.has(id));
	const added = came.map((each, at) => ({ ...each, rank: before.candidates.length + at + 1, reason: CAME }));
	running.record.decision = { ...before, candidates: [...before.candidates, ...added] };
	return targets;
}

const CAME = "came while the call ran: asked once all others had failed";

function permittedNow({ call, catalog, permit }: RunningCall): readonly RouteTarget[] {
	const found = catalog.find(call.facts.model);
	try {
		return found ? permit(found).targets : [];
	} catch (thrown) {
		if (thrown instanceof RouterError) return [];
		throw thrown;
	}
}

/** It has no name by which a limit could count the call that it was not counted by. */
function isCounted({ call, route, accounts }: RunningCall, target: RouteTarget): boolean {
	if (!accounts?.admission.limitsModels) return true;
	const names = limitedNames(call.facts.model, route, []);
	return limitedNames(call.facts.model, { ...route, targets: [target] }, []).every((name) => names.includes(name));
}
