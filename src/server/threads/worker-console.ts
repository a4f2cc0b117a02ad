/** The console in a worker thread: its page, its sessions and its figures are the main thread's, the streams of its clients this thread's. */
import { type AdminAccess, adminRefusal } from "../../accounts/auth/admin-access.ts";
import { presentedSecret } from "../../accounts/auth/keys.ts";
import type { StartPage } from "../../api/call-context.ts";
import { asRouterError, type ErrorBody, RouterError } from "../../errors.ts";
import type { Peers } from "../../http/client-address.ts";
import { wholeUrl } from "../../http/request-url.ts";
import { type AuthenticateAdmin, permitted } from "../admin/administrators.ts";
import { wantsPage } from "../console/console-files.ts";
import { liveAnswer } from "../console/console-routes.ts";
import type { LiveListener } from "../console/live-feed.ts";
import type { SessionState } from "../console/live-sample.ts";
import { LiveStreams } from "../console/live-streams.ts";
import { crossOriginRefusal } from "../console/same-origin.ts";
import { type Forward, forwardRequest } from "./forwarding.ts";
import type { ToMain } from "./link.ts";

/** What the main thread answers that could not look for a session, in its words: it says nothing of who asks. */
async function failureOf(answer: Response): Promise<RouterError> {
	const { error } = (await answer.json().catch(() => ({}))) as { error?: Partial<ErrorBody["error"]> };
	const message = error?.message ?? `The router could not look for your session (${answer.status}).`;
	const retryAfter = answer.headers.get("retry-after");
	return new RouterError("internal_error", message, {
		status: answer.status,
		...(error?.code != null && { upstreamCode: error.code }),
		...(retryAfter !== null && { headers: { "retry-after": retryAfter } }),
	});
}

/** One for each worker. */
export class WorkerConsole {
	readonly #streams: LiveStreams;
	#listener: LiveListener | undefined;

	/** @param access by the configuration in force */
	constructor(
		private readonly forward: Forward,
		private readonly access: () => AdminAccess,
		send: (message: ToMain) => void,
	) {
		this.#streams = new LiveStreams((listener) => {
			this.#listener = listener;
			send({ type: "live-watch", isWatched: true });
			return () => send({ type: "live-watch", isWatched: false });
		});
	}

	/** Takes a second's figures. */
	take(sample: string): void {
		this.#listener?.(sample);
	}

	/** No calls are wanted any more: ends the streams. */
	drain(): void {
		this.#streams.end();
	}

	/** `GET /` of a browser. */
	readonly startPage: StartPage = (request, server) =>
		wantsPage(request) ? forwardRequest(this.forward, request, server) : undefined;

	/** Knows keys by itself, and asks the main thread for sessions. */
	readonly authenticate: AuthenticateAdmin = async (request, server) => {
		const { headers } = request;
		if (presentedSecret(headers) !== undefined) {
			return permitted(this.access().authenticate(headers), request);
		}
		const url = new URL("/console/session", wholeUrl(request.url)).href;
		const asked = new Request(url, { headers });
		const peer = server?.requestIP(request) ?? null;
		const answer = await forwardRequest(this.forward, asked, { requestIP: () => peer });
		if (answer.status >= 500) throw await failureOf(answer);
		const state: SessionState = answer.ok
			? ((await answer.json()) as SessionState)
			: { signed_in: false, open: false, has_admin_keys: true };
		const refusal = crossOriginRefusal(request);
		if (refusal && (state.signed_in || !answer.ok)) throw refusal;
		if (state.signed_in) return permitted(state, request);
		throw new RouterError("invalid_admin_key", adminRefusal(state.has_admin_keys, headers));
	};

	/** Whether a request is an administrator's. Never rejects. */
	isAdministrators(request: Request, server: Peers | null): Promise<boolean> {
		return Promise.resolve(this.authenticate(request, server)).then(
			() => true,
			() => false,
		);
	}

	/** Routes for Bun's router. */
	get routes() {
		const watch = async (request: Request, server: Peers | null): Promise<Response> => {
			try {
				await this.authenticate(request, server);
				return liveAnswer(this.#streams, request);
			} catch (thrown) {
				return asRouterError(thrown).response();
			}
		};
		return { "/console/events": { GET: watch } };
	}
}
