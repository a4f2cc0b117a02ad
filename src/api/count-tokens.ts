/** `POST /v1/messages/count_tokens`: how many tokens a call has to read, without making it. */
import { authenticate } from "../accounts/auth/keys.ts";
import { estimatedTokens } from "../accounts/usage/token-estimate.ts";
import { countedRequest } from "../dialects/anthropic-messages/messages-dialect.ts";
import { readRequestText } from "../http/request-body.ts";
import { newRequestId } from "../proxy/call-record.ts";
import type { CallContext } from "./call-context.ts";
import { permittedRoute, resolveModel } from "./model-access.ts";

/** Says that a count is a guess. */
const ESTIMATED_HEADER = "x-router-estimated";

/** The count. Throws what a call with that body would be refused with, but for what its upstream says. */
export async function countTokens(context: CallContext, request: Request): Promise<Response> {
	const { config, catalog, auth } = context.current.snapshot;
	const caller = authenticate(auth, request, config);
	const text = await readRequestText(request, config.server.body_limit);
	const { facts } = countedRequest(text, request.headers);
	const { model } = facts;
	permittedRoute(caller, model, await resolveModel(catalog, model, caller, context.isBehindRouter));
	const input_tokens = estimatedTokens({ operation: "chat", facts });
	const id = newRequestId();
	return Response.json(
		{ input_tokens },
		{ headers: { "request-id": id, "x-request-id": id, [ESTIMATED_HEADER]: "true" } },
	);
}
