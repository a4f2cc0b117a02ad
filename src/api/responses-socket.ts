/** `GET /v1/responses`: where clients open a WebSocket first. */
import { authenticate } from "../accounts/auth/keys.ts";
import { RouterError } from "../errors.ts";
import type { CallContext } from "./call-context.ts";

/**
 * Refuses it. Throws `websocket_unavailable`, with the status at which Codex goes on by POST at once (at others it tries seven times more);
 * `method_not_allowed` where no WebSocket is asked for; what authentication does.
 */
export async function refuseSocket({ current }: CallContext, request: Request): Promise<never> {
	const { config, auth } = current.snapshot;
	authenticate(auth, request, config);
	if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
		throw new RouterError("method_not_allowed", "GET /v1/responses: this path takes POST.", {
			headers: { allow: "POST, OPTIONS" },
		});
	}
	throw new RouterError(
		"websocket_unavailable",
		"There are no responses over a WebSocket here: send POST /v1/responses.",
		{
			headers: { upgrade: "HTTP/1.1" },
		},
	);
}
