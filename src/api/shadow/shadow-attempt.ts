/** One copy on its way: where it goes, whether there is room for it, and its answer. It has one attempt, and waits for nobody. */
import type { Caller } from "../../accounts/auth/keys.ts";
import { CallCost } from "../../accounts/usage/call-cost.ts";
import type { ClientCall } from "../../dialects/dialect.ts";
import { asRouterError, type RouterError } from "../../errors.ts";
import { queueSettings } from "../../proxy/call-queue.ts";
import { CallRecord } from "../../proxy/call-record.ts";
import type { ProxyState } from "../../proxy/proxy-state.ts";
import { relay } from "../../proxy/relay.ts";
import { limitedNames } from "../../routing/limited-names.ts";
import type { Route, RouteTarget } from "../../routing/route.ts";
import type { CallSettled, ShadowOutcome, Sink } from "../../telemetry/events.ts";
import type { Accounts } from "../call-context.ts";
import { choose } from "../route-call.ts";
import { HeardAnswer, type HeldBytes } from "./heard-answer.ts";

/** How often it is looked whether callers' calls wait for the place of a copy, ms. */
const LOOK_MS = 25;

/** A copy that may be made. */
export interface ShadowAttempt {
	readonly call: ClientCall;
	/** Gives it up. */
	readonly controller: AbortController;
	/** Where the model's name leads, as far as the caller may go there. */
	readonly route: Route;
	/** The model's name. */
	readonly to: string;
	/** Who pays: no caller, but the budget of its kind. */
	readonly account: Caller;
	readonly accounts: Pick<Accounts, "admission" | "usage">;
	readonly state: ProxyState;
	readonly held: HeldBytes;
	/** Hear of attempts at agents. */
	readonly sinks: readonly Partial<Sink>[];
	readonly onFault: (id: string, error: unknown) => void;
}

/** What came of it. */
export interface ShadowEnd {
	readonly settled: CallSettled;
	/** OpenAI's JSON; undefined where there is none, or it can't be told. */
	readonly answer: string | undefined;
}

/** Sends the copy, and hears its answer; or says why it is not sent. Never rejects. */
export async function sendCopy(attempt: ShadowAttempt): Promise<ShadowEnd | ShadowOutcome> {
	const { call, route, state, to, account, accounts } = attempt;
	if (state.suspects.hasAny) return "busy";
	const { targets, work, refusal } = choose(call, route, { state }, false);
	if (refusal) return "unsupported";
	const now = state.targets.now();
	const target = targets.find((each) => isIdle(each, state, now));
	if (!target) return "busy";
	const alias = route.alias && { ...route.alias, hedge: false };
	const settings = alias && queueSettings(alias);
	const queue = settings && state.queue(alias!.name, settings);
	if (queue && !queue.hasRoom) return "busy";
	let settled: CallSettled | undefined;
	const callSettled = (each: CallSettled) => {
		settled = each;
	};
	const record = new CallRecord(call.id, call.operation, call.startedAt, [{ callSettled }, ...attempt.sinks]);
	record.onFault = attempt.onFault;
	record.caller = account;
	record.requested = to;
	record.stream = call.stream;
	record.named({ reason: route.reason, label: route.label }, true);
	record.cost = new CallCost(call, account, { targets: [target], label: route.label }, accounts.usage);
	let answer: string | undefined;
	const heard = new HeardAnswer(call, attempt.held, undefined, (told) => {
		answer = told;
	});
	record.listener = heard;
	const watching = queue && setInterval(() => queue.waiting > 0 && attempt.controller.abort(), LOOK_MS);
	try {
		const names = accounts.admission.limitsModels ? limitedNames(to, route, []) : undefined;
		const request = { caller: account, cost: record.cost, names, address: undefined, isShadow: true };
		record.admission = await accounts.admission.enter(request);
		// No time for further attempts, nor for a place in a queue.
		const plan = { targets: [target], work, alias, attemptsMs: 0 };
		const response = await relay(call, plan, record, { state, keepAliveMs: 0 });
		if (call.stream) await response.body?.pipeTo(new WritableStream());
	} catch (thrown) {
		const error = asRouterError(thrown);
		if (error.errorCode === "internal_error") attempt.onFault(call.id, error.cause ?? error);
		record.settle(error.status, error.errorCode);
		if (record.attempts === 0) return whyNot(error);
	} finally {
		clearInterval(watching);
		heard.fail();
	}
	return settled ? { settled, answer } : "failed";
}

/** Ready at once, well, and on hardware of one's own without anybody who waits for it. */
function isIdle(target: RouteTarget, { targets }: ProxyState, now: number): boolean {
	const { kind = "cloud", readiness = 0, isKeyless, isAsleep, isQueue, reportedWaiting = 0 } = target;
	if (isKeyless || isAsleep || isQueue || readiness >= 1) return false;
	const { breaker, pausedUntil, waiting } = targets.of(target.id);
	if (breaker.state !== "closed" || pausedUntil > now) return false;
	return kind === "cloud" || (reportedWaiting === 0 && waiting === 0);
}

const REASONS: Partial<Record<string, ShadowOutcome>> = {
	rate_limit_exceeded: "limited",
	input_too_large: "limited",
	insufficient_quota: "budget",
	price_unknown: "no_price",
	model_not_allowed: "not_allowed",
	engine_field_not_allowed: "not_allowed",
	model_busy: "busy",
	upstream_quota: "busy",
	unsupported_parameter: "unsupported",
};

/** Why nothing is sent. */
export const whyNot = ({ errorCode }: RouterError): ShadowOutcome => REASONS[errorCode] ?? "unavailable";
