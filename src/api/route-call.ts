/** Where a call goes: the targets of its route, put in order, and said why where that was asked for. */

import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import type { SuspectsView } from "../proxy/suspects.ts";
import type { KeyState } from "../routing/cached-target.ts";
import { type Explained, type Explanation, explain } from "../routing/explain.ts";
import type { KeyedHash } from "../routing/keyed-hash.ts";
import { plan } from "../routing/plan.ts";
import { snapshotOf } from "../routing/plan-snapshot.ts";
import { historyRead, needsOf } from "../routing/requirements.ts";
import type { Feature, Route, RouteTarget } from "../routing/route.ts";
import { missingOf } from "../routing/score.ts";
import type { RoutingState, Work } from "../routing/target-state.ts";
import { refusalsOf, suspicionOf } from "./call-refusals.ts";

/** What the choice is made by, besides the call. */
export interface PlanContext {
	readonly state: { readonly targets: RoutingState; readonly suspects?: SuspectsView; readonly keys?: KeyState };
	/** Told how long a plan took, ms. */
	readonly onPlanned?: ((ms: number) => void) | undefined;
	/** Of what a snapshot has of the prompt; absent where no ledger keeps one. */
	readonly snapshotHash?: KeyedHash | undefined;
	/** 0 to 1. */
	readonly random?: () => number;
}

/** The targets in the order to try. */
export interface Choice {
	readonly targets: readonly RouteTarget[];
	/** Absent where there was nothing to choose. */
	readonly work?: Work | undefined;
	/** There where it was asked for. */
	readonly explained?: Explained | undefined;
	/** What is remembered of it; absent where there was nothing to choose. */
	readonly decision?: Explanation | undefined;
	/** What else it was made by: see `snapshotOf`. Absent where targets were refused, or nobody keeps it, too. */
	readonly snapshot?: string | undefined;
	/** There where no target can do what the call asks. */
	readonly refusal?: RouterError | undefined;
}

/** Makes the choice. A call with one target costs nothing; whoever wants reasons has the call put into each target's words, too. */
export function choose(asked: Call, route: Route, chooser: PlanContext, wantsReasons: boolean): Choice {
	const isSole = route.targets.length === 1;
	if (isSole && !wantsReasons) return { targets: route.targets };
	const { state, onPlanned, snapshotHash, random = Math.random } = chooser;
	const { targets: known } = state;
	const startedAt = performance.now();
	const needs = needsOf(asked);
	const now = known.now();
	const ranked = wantsReasons ? route.targets.length : undefined;
	const made = plan(needs, route, known, now, random, ranked, state.keys);
	onPlanned?.(performance.now() - startedAt);
	const refusals = wantsReasons ? refusalsOf(asked, made.targets, route.alias, state.suspects) : undefined;
	const suspicion = wantsReasons ? suspicionOf(asked, made.targets, state.suspects) : undefined;
	const explained = { model: asked.facts.model, needs, route, plan: made, now, refusals, suspicion };
	return {
		// One that was asked for by its own name gets what was asked: its upstream's word on that is the truer one.
		targets: isSole ? route.targets : made.targets,
		work: made.work,
		explained: wantsReasons ? explained : undefined,
		decision: explain(explained, MOST_REMEMBERED),
		snapshot:
			refusals?.size || !snapshotHash ? undefined : snapshotOf(made, MOST_REMEMBERED, historyRead(asked), snapshotHash),
		refusal:
			isSole || made.targets.length > 0 ? undefined : cannot(missingOf(made.scored[0]!.target, needs)!, route.label),
	};
}

/** Asks for the reasons of the choice, and gives them. */
export const EXPLAIN_HEADER = "x-router-explain";

/**
 * Puts the targets of a call's route in order, and leaves in its record why. Throws `unsupported_parameter` where none can do what the call
 * asks. Needed where there are several, or where the client asks for the reasons.
 */
export function planCall(call: Call, route: Route, chooser: PlanContext, record: CallRecord): Choice {
	const choice = choose(call, route, chooser, call.headers.get(EXPLAIN_HEADER) === "1");
	record.explanation = choice.explained && explainHeader(choice.explained);
	record.decision = choice.decision;
	record.snapshot = choice.snapshot;
	if (choice.refusal) throw choice.refusal;
	return choice;
}

/** Candidates that are remembered, the best first: those that are put in order. */
const MOST_REMEMBERED = 8;

const FIELDS: Record<Feature, { param: string; what: string }> = {
	tools: { param: "tools", what: "takes tools" },
	images: { param: "messages", what: "takes images" },
	schema: { param: "response_format", what: "can be held to a JSON schema" },
	embeddings: { param: "input", what: "makes embeddings" },
};

function cannot(missing: Feature, label: string): RouterError {
	const { param, what } = FIELDS[missing];
	return new RouterError("unsupported_parameter", `No target of "${label.slice(0, 100)}" ${what}.`, { param });
}

/** Longest header, bytes: proxies take 4 to 16 KB for all of them. */
const LONGEST_HEADER = 3_500;

/** The explanation as one header: JSON without its spaces, as many candidates as there is room for. */
function explainHeader(explained: Explained): string {
	const { candidates, ...rest } = explain(explained);
	const shown: unknown[] = [];
	let length = JSON.stringify(rest).length + 40;
	for (const candidate of candidates) {
		length += JSON.stringify(candidate).length + 1;
		if (length > LONGEST_HEADER) break;
		shown.push(candidate);
	}
	const more = candidates.length - shown.length;
	return ascii(JSON.stringify({ ...rest, candidates: shown, ...(more > 0 && { more }) }));
}

/** JSON whose characters every header takes. */
function ascii(json: string): string {
	return json.replace(/[^\x20-\x7e]/g, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
