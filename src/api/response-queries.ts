/** `/v1/responses/{id}` and what is below it: stored responses, each key its own. */
import { authenticate, type Caller } from "../accounts/auth/keys.ts";
import { itemsPage, type StoredResponse } from "../dialects/openai-responses/stored-response.ts";
import { RouterError } from "../errors.ts";
import { urlOf } from "../http/request-url.ts";
import type { CallContext } from "./call-context.ts";

/** The response as its client got it. Throws `response_not_found`, for another key's, too; `unsupported_parameter` for a stream of it. */
export async function storedResponse(context: CallContext, request: Request, id: string): Promise<object> {
	const { stored } = await found(context, request, id);
	if (urlOf(request).searchParams.get("stream") === "true") {
		throw new RouterError(
			"unsupported_parameter",
			'The router can\'t take "stream": only a response in the background is streamed later, and it makes none; leave it out.',
			{ param: "stream" },
		);
	}
	return stored.response;
}

/** Deletes it. Throws `response_not_found`, and `responses_unavailable` where it may still be there. */
export async function deleteResponse(context: CallContext, request: Request, id: string): Promise<object> {
	const isDeleted = await context.responses?.remove(callerOf(context, request), id);
	if (isDeleted === undefined && context.responses) {
		throw new RouterError("responses_unavailable", "Redis can't be asked: the response may still be there.", {
			headers: { "retry-after": "5" },
		});
	}
	if (!isDeleted) throw notFound(id);
	return { id, object: "response", deleted: true };
}

/** There is no response in the background, which alone can be cancelled: always throws. `response_not_found` where there is none. */
export async function cancelResponse(context: CallContext, request: Request, id: string): Promise<never> {
	await found(context, request, id);
	throw new RouterError(
		"invalid_value",
		"This response can't be cancelled: only one in the background can, and the router makes none. To end a call, close its connection.",
	);
}

/** A page of the items that it answers, those of the responses before it among them. Throws `response_not_found`, `invalid_value`. */
export async function responseInput(context: CallContext, request: Request, id: string): Promise<object> {
	const { stored, caller } = await found(context, request, id);
	const items = await context.responses!.items(caller, stored);
	return itemsPage(items, urlOf(request).searchParams);
}

function callerOf({ current }: CallContext, request: Request): Caller | undefined {
	const { config, auth } = current.snapshot;
	return authenticate(auth, request, config);
}

async function found(
	context: CallContext,
	request: Request,
	id: string,
): Promise<{ readonly stored: StoredResponse; readonly caller: Caller | undefined }> {
	const caller = callerOf(context, request);
	const stored = await context.responses?.find(caller, id);
	if (!stored) throw notFound(id);
	return { stored, caller };
}

function notFound(id: string): RouterError {
	return new RouterError("response_not_found", `Response with id '${id.slice(0, 100)}' not found.`);
}
