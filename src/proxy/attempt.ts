/** One try at one target: a Response for the client, or the failure it ended in. */
import type { Call } from "../openai/call.ts";
import { sseComment, sseData } from "../openai/sse.ts";
import { errorOf } from "../providers/failure-error.ts";
import { headerText } from "../providers/header-text.ts";
import {
	type Answer,
	type Failure,
	isFailure,
	isGood,
	type Target,
	type UpstreamAnswer,
	type UpstreamRequest,
} from "../providers/provider.ts";
import { answerHeaders } from "./answer-headers.ts";
import { readText } from "./body.ts";
import { Deadline } from "./deadline.ts";
import { guardedDecoder } from "./guarded-decoder.ts";
import type { CloseAttempt, Settlement } from "./settlement.ts";
import { EventRelay } from "./stream.ts";
import { transportFailure } from "./transport-failure.ts";

/** The answer's head; its text, too, unless that is a stream to relay. */
interface Reached {
	readonly response: UpstreamAnswer;
	readonly text: string | undefined;
}

/**
 * Throws RouterError where the call can't be put into the target's words (no key, a field it has no form for), and whatever a
 * fault of the router's own code throws. The attempt is closed in every case but one: a stream closes it at its end.
 */
export async function attempt(call: Call, target: Target, settlement: Settlement): Promise<Response | Failure> {
	const { provider } = target;
	const request = provider.encode(call, target);
	const close = settlement.attempt(target);
	const deadline = new Deadline(call.signal);
	const limit = call.stream ? provider.timeouts.first_token : provider.timeouts.total;
	deadline.within(Math.min(limit, timeLeft(call)), call.stream ? "first token" : "answer");

	const sentAt = performance.now();
	let status: number | undefined;
	const arrived = () => {
		settlement.waitedMs += performance.now() - sentAt;
	};
	const failed = (failure: Failure): Failure => {
		arrived();
		deadline.abort();
		deadline.clear();
		close(status, failure);
		return failure;
	};
	try {
		const reached = await reach(call, target, request, deadline);
		if ("kind" in reached) {
			status = reached.status;
			return failed(reached);
		}
		const { response, text } = reached;
		status = response.status;
		if (text === undefined) {
			const result = await stream(call, target, settlement, response, deadline, close, arrived);
			return result instanceof Response ? result : failed(result);
		}
		const result = whole(call, target, settlement, response, text, arrived);
		if (!(result instanceof Response)) return failed(result);
		deadline.clear();
		close(status);
		return result;
	} catch (thrown) {
		failed({ kind: "internal", message: "the router failed" });
		throw thrown;
	}
}

/** What is left of the time that the client gave its call, ms; Infinity where it gave none. At least 1. */
export function timeLeft({ timeoutMs, startedAt }: Call): number {
	return timeoutMs === undefined ? Number.POSITIVE_INFINITY : Math.max(1, timeoutMs - (performance.now() - startedAt));
}

/** Sends the request and takes what comes of it from the network. */
async function reach(
	call: Call,
	{ provider }: Target,
	request: UpstreamRequest,
	deadline: Deadline,
): Promise<Reached | Failure> {
	let response: UpstreamAnswer | undefined;
	try {
		response = await provider.transport.send(request, deadline.signal);
		const isStream = call.stream && isGood(response) && isEventStream(response);
		return { response, text: isStream ? undefined : await readText(response) };
	} catch (thrown) {
		const failure = deadline.failure ?? transportFailure(thrown, response !== undefined);
		return { ...failure, status: response?.status };
	}
}

/** An answer that came as a whole: what a non-streamed call wants, or a failure of either kind of call. */
function whole(
	call: Call,
	target: Target,
	settlement: Settlement,
	response: UpstreamAnswer,
	text: string,
	arrived: () => void,
): Response | Failure {
	const answer: Answer | Failure = target.provider.decode(response.status, response.headers, text, call);
	if (call.stream && isGood(response)) return notAStream(answer, response.status);
	if (isFailure(answer)) return { ...answer, headers: answerHeaders(response.headers, target.provider.secret) };
	arrived();
	settlement.isKnown = true;
	settlement.tokens = answer.tokens;
	settlement.cost = answer.cost;
	settlement.audience?.whole(answer.body);
	const result = new Response(answer.body, {
		headers: clientHeaders(response, target, settlement, "application/json"),
	});
	settlement.settle(200);
	return result;
}

/** A streamed answer, once its first bytes are there. */
async function stream(
	call: Call,
	target: Target,
	settlement: Settlement,
	response: UpstreamAnswer,
	deadline: Deadline,
	close: CloseAttempt,
	arrived: () => void,
): Promise<Response | Failure> {
	const { audience } = settlement;
	let broken: { status: number; error: string } | undefined;
	const relay = new EventRelay(response.body, guardedDecoder(target.provider.decoder(call)), deadline, {
		out(out) {
			if (out.delta) settlement.firstToken();
			if (out.tokens) settlement.tokens = out.tokens;
			if (out.cost !== undefined) settlement.cost = out.cost;
			if (out.dropped) settlement.dropped++;
		},
		end(failure) {
			close(response.status, failure);
			settlement.isKnown = true;
			if (!failure) return settlement.settle(200);
			if (failure.kind === "internal") settlement.onFault?.(failure.cause);
			const { status, errorCode } = errorOf(failure, target);
			broken = { status, error: errorCode };
			settlement.settle(status, errorCode);
		},
		...(audience && {
			sent: (piece, taken) => audience.sent(piece, taken),
			goesOn: () => audience.goesOn(),
			closed: () => audience.ended(broken),
		}),
		errorEvent: (failure) => sseData(JSON.stringify(errorOf(failure, target).body)),
		summary: () => summary(target, settlement),
		// Until here the time to the first token runs; comments don't end it.
		firstData: () => deadline.silence(target.provider.timeouts.stall),
	});
	const failure = await relay.begin();
	if (failure) return failure;
	arrived();
	return new Response(relay.readable(), {
		headers: {
			...clientHeaders(response, target, settlement, "text/event-stream; charset=utf-8"),
			"cache-control": "no-cache",
			// nginx holds streams back unless told not to.
			"x-accel-buffering": "no",
		},
	});
}

/**
 * What it means that a streamed call got no stream: an error in a 200, or an upstream that can't stream. The call may
 * have been paid for, so it is not made again there.
 */
function notAStream(answer: Answer | Failure, status: number): Failure {
	if (isFailure(answer) && answer.kind !== "truncated") return answer;
	const message = "answered a streamed call with something that is no event stream";
	const kind = isFailure(answer) ? "truncated" : "unsupported";
	return { kind, status, isOurs: true, param: "stream", message };
}

/** Media types are the same in any case (RFC 9110, 8.3.1). */
function isEventStream({ headers }: UpstreamAnswer): boolean {
	return headers.get("content-type")?.toLowerCase().startsWith("text/event-stream") ?? false;
}

/** What only the end of a stream knows, as a comment that clients skip. */
function summary(target: Target, { attempts, tokens, cost }: Settlement): string {
	const { provider, model, agent } = target;
	const facts = { provider: provider.name, model, agent, attempts, usage: tokens, cost_usd: cost };
	return sseComment(`router ${JSON.stringify(facts)}`);
}

function clientHeaders(
	response: UpstreamAnswer,
	target: Target,
	settlement: Settlement,
	type: string,
): Record<string, string> {
	const headers = answerHeaders(response.headers, target.provider.secret);
	headers["content-type"] = type;
	headers["x-request-id"] = settlement.id;
	headers["x-router-provider"] = target.provider.name;
	headers["x-router-model"] = headerText(target.model);
	if (target.agent !== undefined) headers["x-router-agent"] = target.agent;
	headers["x-router-attempts"] = String(settlement.attempts);
	if (settlement.cache) headers["x-router-cache"] = settlement.cache;
	headers["x-router-overhead-ms"] = settlement.overheadMs.toFixed(2);
	if (settlement.cost !== undefined && !settlement.stream) headers["x-router-cost-usd"] = String(settlement.cost);
	return headers;
}
