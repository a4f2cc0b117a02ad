/** The request of an operation that is passed on: the client's own, to the upstream's address and with its key. */
import type { Call } from "../../openai/call.ts";
import { OPERATIONS } from "../../openai/operations.ts";
import { REPLICA_HEADER } from "../../protocol/agent.ts";
import type { UpstreamRequest } from "../provider.ts";

/**
 * Pure, but for what sending its body uses up.
 * @param baseUrl with its version
 * @param headers the upstream's own; become the request's
 */
export function passedRequest(
	baseUrl: string,
	headers: Record<string, string>,
	call: Call,
	model: string,
	replica: number | undefined,
): UpstreamRequest {
	const { method, path, contentType, body } = { ...call.passed!, body: call.passed!.body(model) };
	const row = OPERATIONS[call.operation];
	const base = row.passed?.isUnversioned ? baseUrl.replace(VERSION, "") : baseUrl;
	if (contentType === undefined) delete headers["content-type"];
	else headers["content-type"] = contentType;
	// What comes back is sent on as it is, so what the client takes counts.
	headers["accept"] = call.headers.get("accept") ?? "*/*";
	if (replica !== undefined) headers[REPLICA_HEADER] = String(replica);
	const request = { url: `${base}${path ?? row.path}`, headers };
	if (method === "DELETE") return { ...request, method };
	return body === undefined ? request : { ...request, body };
}

/** The version at the end of a base URL. */
const VERSION = /\/v\d[^/]*$/;
