/** The beginning of a call: its record, before anything of its request is read. */
import type { Operation } from "../openai/operations.ts";
import { CallRecord } from "../proxy/call-record.ts";
import { newRequestId } from "../request-id.ts";
import type { CallContext } from "./call-context.ts";

/**
 * Opens the record of a call that has come in.
 * @param path of its route, as the router lists it; for its span
 */
export function openCall(
	operation: Operation,
	{ sinks, onFault, tracer }: Pick<CallContext, "sinks" | "onFault" | "tracer">,
	request: Request,
	path?: string,
): CallRecord {
	const record = new CallRecord(newRequestId(), operation, performance.now(), sinks);
	record.onFault = onFault;
	if (tracer) record.trace = tracer.begin(request, path, record.startedAt);
	return record;
}
