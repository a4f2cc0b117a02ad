/** A call that is passed on, and where it may run → the client's answer: the upstream's bytes, whatever they are. */
import type { ClientCall } from "../dialects/dialect.ts";
import { RouterError } from "../errors.ts";
import { OPERATIONS } from "../openai/operations.ts";
import { errorOf } from "../providers/failure.ts";
import { CallAttempts } from "./call-attempts.ts";
import type { CallPlan } from "./call-plan.ts";
import type { CallRecord } from "./call-record.ts";
import { CLIENT_GONE } from "./deadline.ts";
import type { ProxyState } from "./proxy-state.ts";
import { wholeAnswer } from "./response-headers.ts";
import { TriedTarget } from "./retry.ts";
import type { StartedAnswer } from "./started-answer.ts";

/** Nobody waits for comments before the answer has begun. */
const NO_COMMENTS = { hasSent: false, comments: () => undefined };

/**
 * Tries targets until one answers, as `relay` does. Throws the RouterError of the last failure; the caller settles that. The call settles when the
 * last byte of the returned Response has been handed on, or its client left.
 */
export async function relayPassed(
	call: ClientCall,
	plan: CallPlan,
	record: CallRecord,
	state: ProxyState,
): Promise<Response> {
	if (plan.targets.length === 0) throw new RouterError("upstream_unreachable", "No upstream serves this model.");
	state.retries.call(performance.now());
	const tried = plan.targets.map((target) => new TriedTarget(target, state.keys));
	const attempts = new CallAttempts(call, plan, tried, record, state, NO_COMMENTS);
	const opened = await attempts.open();
	const { status } = opened.head;
	const contentType = opened.head.headers.get("content-type") ?? "application/octet-stream";
	const isEvents = contentType.toLowerCase().startsWith("text/event-stream");
	record.stream = isEvents;
	const body = passedBody(call, opened, record, isEvents);
	const answer = wholeAnswer(body, opened, record, { contentType });
	const { headers } = answer;
	// These have no body, and no Response of theirs may be given one.
	if (status === 204 || status === 205) {
		await answer.arrayBuffer();
		return new Response(null, { status, headers });
	}
	if (status !== 200) return new Response(answer.body, { status, headers });
	// nginx buffers streams unless this header is sent.
	if (isEvents) headers.set("x-accel-buffering", "no");
	return answer;
}

/** The answer's bytes, read as its client reads them. One that breaks ends in an event that says so, else in a broken connection. */
function passedBody(
	call: ClientCall,
	opened: StartedAnswer,
	record: CallRecord,
	isEvents: boolean,
): ReadableStream<Uint8Array> {
	const source = opened.passed!;
	return new ReadableStream<Uint8Array>(
		{
			async pull(controller) {
				const chunk = await source.read();
				if (chunk) {
					if (isEvents) record.firstTokenAt ??= performance.now();
					controller.enqueue(chunk);
					return;
				}
				const { failure } = source;
				if (!failure) {
					if (!call.passed?.isFree) bill(call, opened, record);
					record.settle(opened.head.status);
					controller.close();
					return;
				}
				const error =
					failure.kind === "cancelled"
						? new RouterError("cancelled", CLIENT_GONE.message)
						: errorOf(failure, opened.target);
				record.settle(error.status, error.errorCode);
				if (!isEvents) return controller.error(new Error(error.errorCode));
				controller.enqueue(Buffer.from(`\n\n${call.dialect.stream(call).error(error)}`));
				controller.close();
			},
			cancel() {
				// What was made for it is paid, as of any call.
				if (!call.passed?.isFree) bill(call, opened, record);
				record.isCutShort = true;
				source.leave(CLIENT_GONE);
				record.settle(499, "cancelled");
			},
		},
		{ highWaterMark: 0 },
	);
}

/** What it used and what that costs, as far as the answer or the request says it. */
function bill(call: ClientCall, { target, passed }: StartedAnswer, record: CallRecord): void {
	const { tokens, cost, seconds } = passed!.ends.usage();
	const unit = OPERATIONS[call.operation].passed?.unit;
	const units = {
		...call.facts.units?.(),
		...(unit === "minute" && seconds !== undefined ? { minutes: seconds / 60 } : {}),
	};
	record.bill(target, tokens, cost, () => 0, true, units);
}
