/** `GET /v1/responses`: opens a WebSocket. */
import { authenticate } from "../accounts/auth/keys.ts";
import { RouterError } from "../errors.ts";
import type { CallContext } from "./call-context.ts";
import type { CallHandler, CallServer } from "./handler.ts";
import { ResponsesConnection } from "./responses-connection.ts";

/** The part of Bun's server that opens WebSockets. What it tells of one goes to the methods of `data`. */
export interface Upgrading {
	upgrade(request: Request, options: { readonly data: ResponsesConnection }): boolean;
}

/** Headers of the handshake, and of a request without a body, that no call over the connection has. */
const HANDSHAKE = /^(?:upgrade|connection|sec-websocket-.*|content-.*|transfer-encoding)$/;

/**
 * Opens it. Throws what authentication does; `method_not_allowed` where no WebSocket is asked for; `shutting_down`; and
 * `websocket_unavailable` where none can be opened, with the status at which Codex goes on by POST at once (at others it tries seven times more).
 * @param handle answers the same by POST
 */
export async function openSocket(
	context: CallContext,
	request: Request,
	server: (NonNullable<CallServer> & Upgrading) | null,
	handle: CallHandler,
): Promise<undefined> {
	const { config, auth } = context.current.snapshot;
	authenticate(auth, request, config);
	if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
		throw new RouterError("method_not_allowed", "GET /v1/responses: this path takes POST, or a WebSocket.", {
			headers: { allow: "POST, OPTIONS" },
		});
	}
	const { responses, connections } = context;
	if (connections?.isDraining) {
		const message = "This router is stopping: connect to another one, or to this one later.";
		throw new RouterError("shutting_down", message, { headers: { "retry-after": "5" } });
	}
	if (server && responses) {
		const headers = new Headers([...request.headers].filter(([name]) => !HANDSHAKE.test(name)));
		headers.set("content-type", "application/json");
		const peer = server.requestIP(request);
		const data = new ResponsesConnection({
			...{ context, responses, handle, headers },
			url: request.url,
			server: { requestIP: () => peer, timeout: () => {} },
		});
		if (server.upgrade(request, { data })) return undefined;
	}
	throw new RouterError(
		"websocket_unavailable",
		"There are no responses over a WebSocket here: send POST /v1/responses.",
		{
			headers: { upgrade: "HTTP/1.1" },
		},
	);
}
