/** One try at one target: a Response for the client, or the failure it ended in. */
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { sseComment, sseData } from "../openai/sse.ts";
import { errorOf } from "../providers/failure-error.ts";
import { type Answer, type Failure, isFailure, type Target } from "../providers/provider.ts";
import { answerHeaders } from "./answer-headers.ts";
import { readText } from "./body.ts";
import { Deadline } from "./deadline.ts";
import type { CloseAttempt, Settlement } from "./settlement.ts";
import { EventRelay } from "./stream.ts";

/** Throws RouterError where the call can't be put into the target's words (no key, a field it has no form for). */
export async function attempt(call: Call, target: Target, settlement: Settlement): Promise<Response | Failure> {
	const { provider } = target;
	const request = provider.encode(call, target);
	const close = settlement.attempt(target);
	const deadline = new Deadline(call.signal);
	const limit = call.stream ? provider.timeouts.first_token : provider.timeouts.total;
	deadline.within(Math.min(limit, call.timeoutMs ?? limit), call.stream ? "first token" : "answer");

	const sentAt = performance.now();
	let response: Response | undefined;
	let result: Response | Failure;
	try {
		response = await provider.transport.send(request, deadline.signal);
		result =
			call.stream && response.ok
				? await stream(call, target, settlement, response, deadline, close, sentAt)
				: await whole(call, target, settlement, response, sentAt);
	} catch (thrown) {
		result = deadline.failure ?? transportFailure(thrown, response !== undefined);
	}
	if (result instanceof Response && call.stream) return result;
	deadline.clear();
	if (result instanceof Response) {
		close(response?.status);
		return result;
	}
	deadline.abort();
	close(response?.status, result);
	return result;
}

/** A non-streamed answer, or an error to either kind of call. */
async function whole(
	call: Call,
	target: Target,
	settlement: Settlement,
	response: Response,
	sentAt: number,
): Promise<Response | Failure> {
	const text = await readText(response);
	settlement.upstreamMs += performance.now() - sentAt;
	const answer: Answer | Failure = target.provider.decode(response.status, response.headers, text, call);
	if (isFailure(answer)) return { ...answer, headers: answerHeaders(response.headers) };
	settlement.model = call.body.model;
	settlement.tokens = answer.tokens;
	settlement.cost = answer.cost;
	settlement.settle(200);
	return new Response(answer.body, { headers: clientHeaders(response, target, settlement, "application/json") });
}

/** A streamed answer, once its first bytes are there. */
async function stream(
	call: Call,
	target: Target,
	settlement: Settlement,
	response: Response,
	deadline: Deadline,
	close: CloseAttempt,
	sentAt: number,
): Promise<Response | Failure> {
	const type = response.headers.get("content-type") ?? "";
	if (!type.startsWith("text/event-stream") || !response.body) {
		const message = "it answered a streamed call with something that is no event stream";
		return { kind: "transport", status: response.status, message };
	}
	const relay = new EventRelay(response.body, target.provider.decoder(call), deadline, {
		out(out) {
			if (out.delta) settlement.firstToken();
			if (out.tokens) settlement.tokens = out.tokens;
			if (out.cost !== undefined) settlement.cost = out.cost;
			if (out.dropped) settlement.dropped++;
		},
		end(failure) {
			close(response.status, failure);
			settlement.model = call.body.model;
			if (failure) settlement.settle(errorOf(failure, target).status, failure.kind);
			else settlement.settle(200);
		},
		errorEvent: (failure) => sseData(JSON.stringify(errorOf(failure, target).body)),
		summary: () => summary(target, settlement),
	});
	const failure = await relay.begin();
	if (failure) return failure;
	settlement.upstreamMs += performance.now() - sentAt;
	deadline.silence(target.provider.timeouts.stall);
	return new Response(relay.readable(), {
		headers: {
			...clientHeaders(response, target, settlement, "text/event-stream; charset=utf-8"),
			"cache-control": "no-cache",
			// nginx holds streams back unless told not to.
			"x-accel-buffering": "no",
		},
	});
}

/** What only the end of a stream knows, as a comment that clients skip. */
function summary(target: Target, { attempts, tokens, cost }: Settlement): string {
	return sseComment(
		`router ${JSON.stringify({ provider: target.provider.name, model: target.model, attempts, usage: tokens, cost_usd: cost })}`,
	);
}

function clientHeaders(
	response: Response,
	target: Target,
	settlement: Settlement,
	type: string,
): Record<string, string> {
	const headers = answerHeaders(response.headers);
	headers["content-type"] = type;
	headers["x-request-id"] = settlement.id;
	headers["x-router-provider"] = target.provider.name;
	headers["x-router-model"] = target.model;
	headers["x-router-attempts"] = String(settlement.attempts);
	headers["x-router-overhead-ms"] = settlement.overheadMs.toFixed(2);
	if (settlement.cost !== undefined && !settlement.stream) headers["x-router-cost-usd"] = String(settlement.cost);
	return headers;
}

/** Why a connection gave no answer, or broke inside one. Bun's messages name no secret: they never hold headers or bodies. */
function transportFailure(thrown: unknown, hasAnswer: boolean): Failure {
	if (thrown instanceof RouterError) throw thrown;
	const { code, message } =
		thrown instanceof Error ? (thrown as Error & { code?: string }) : { code: undefined, message: "" };
	if (hasAnswer) return { kind: "truncated", message: "its answer broke off" };
	const reason =
		code === "ConnectionRefused" ? "nothing listens there (connection refused)" : message || "no connection";
	return { kind: "transport", message: `it can't be reached: ${reason}` };
}
