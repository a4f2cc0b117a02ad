/** Has what a call asks and what it is answered stand in its span, where its key says so (`trace_contents`). */
import type { Caller } from "../accounts/auth/keys.ts";
import type { ClientCall } from "../dialects/dialect.ts";
import type { Operation } from "../openai/operations.ts";
import { SentRecord } from "../openai/sent-so-far.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { inputContents, withOutput } from "../telemetry/otel/span-contents.ts";
import type { SpanContents } from "../telemetry/otel/span-context.ts";

/** Operations whose requests and answers are messages. */
const WITH_MESSAGES: ReadonlySet<Operation> = new Set<Operation>(["chat", "completions"]);

/**
 * To be called before a call is answered: its body is read now, since its memory may be another's when the call settles. No call fails for it, and those of
 * other keys cost it one look at a field.
 */
export function traceContents(
	caller: Pick<Caller, "tracesContents"> | undefined,
	call: Pick<ClientCall, "operation" | "body">,
	record: CallRecord,
): void {
	const { trace } = record;
	if (!caller?.tracesContents || !trace?.isSent || !WITH_MESSAGES.has(call.operation)) return;
	let input: SpanContents;
	try {
		input = inputContents(call.body().value);
	} catch {
		return;
	}
	record.kept = { streamed: new SentRecord(), whole: undefined };
	trace.contents = (status) => contentsOf(input, record, status < 400);
}

/** When the call settles. What the cache has answered, nobody here has heard. @param isAnswered it has not failed */
function contentsOf(input: SpanContents, { kept, stream, attempts }: CallRecord, isAnswered: boolean): SpanContents {
	try {
		const answer = attempts === 0 ? undefined : stream ? kept?.streamed.soFar() : kept?.whole?.body;
		return answer === undefined ? input : withOutput(input, answer, isAnswered);
	} catch {
		return { ...input, isCut: true };
	}
}
