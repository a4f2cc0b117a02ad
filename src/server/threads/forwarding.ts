/**
 * Requests that are no calls, and that the main thread answers whichever worker gets them: it alone has the agents, the administration, and
 * what all threads have counted.
 */
import type { AnyElysia } from "elysia";
import { asRouterError } from "../../errors.ts";
import { readRequestBody } from "../../http/request-body.ts";
import { urlOf, wholeUrl } from "../../http/request-url.ts";
import { MAX_REPORT_BYTES } from "../../protocol/agent.ts";
import type { ForwardedAnswer, ForwardedRequest } from "./link.ts";

/** Their paths, as Bun's router reads them. */
const PATHS = [
	"/metrics",
	"/health/ready",
	"/swagger/json",
	"/admin/*",
	"/console/*",
	"/agents",
	"/agents/*",
	"/register",
	"/heartbeat",
] as const;
/** Each by its name: a table of Elysia's own for the same path is added to, not replaced. */
const METHODS = ["GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "POST", "PUT"] as const;

/** The part of Bun's server that is used. */
interface Peers {
	requestIP(request: Request): { readonly address: string } | null;
}

/** Sends a request to the main thread. Undefined where that has ended. @param client aborts when its client leaves */
export type Forward = (request: ForwardedRequest, client?: AbortSignal) => Promise<ForwardedAnswer | undefined>;

/** Calls `tell` when the client leaves, or has left. */
export function onLeft(client: AbortSignal | undefined, tell: () => void): void {
	if (client?.aborted) tell();
	else client?.addEventListener("abort", tell, { once: true });
}

/** The routes of a worker for Bun's router, which none of the calls goes through. */
export function forwardedRoutes(forward: Forward) {
	const handle = (request: Request, server: Peers): Promise<Response> => forwardRequest(forward, request, server);
	const methods = Object.fromEntries(METHODS.map((method) => [method, handle]));
	return Object.fromEntries(PATHS.map((path) => [path, methods]));
}

/**
 * The hook of a worker's app for requests to the same paths whose method Bun's router has no table for, such as PROPFIND: the main thread knows
 * which methods there are. Undefined for all others.
 */
export function forwardedMethods(forward: Forward) {
	const isUsual = new Set<string>(METHODS);
	return ({ request, server }: { readonly request: Request; readonly server: Peers | null }) =>
		isUsual.has(request.method) || !isForwarded(urlOf(request).pathname)
			? undefined
			: forwardRequest(forward, request, server);
}

const isForwarded = (pathname: string): boolean =>
	PATHS.some((path) => (path.endsWith("*") ? pathname.startsWith(path.slice(0, -1)) : pathname === path));

/** The main thread's answer to a request. Never rejects. */
export async function forwardRequest(forward: Forward, request: Request, server: Peers | null): Promise<Response> {
	try {
		// Before the body is read: the connection may be gone afterwards.
		const peer = server?.requestIP(request)?.address ?? "";
		const body = request.body ? await readRequestBody(request, MAX_REPORT_BYTES, true) : undefined;
		const { method, headers, signal } = request;
		const asked = { method, url: wholeUrl(request.url), headers: [...headers], body, peer };
		return responseOf(await forward(asked, signal));
	} catch (thrown) {
		return asRouterError(thrown).response();
	}
}

/** The main thread's answer to who may open no tunnel; undefined to who may. */
export async function refusedTunnel(forward: Forward, request: Request, peer: string): Promise<Response | undefined> {
	const { method, url, headers } = request;
	const answer = await forward({ method, url: wholeUrl(url), headers: [...headers], body: undefined, peer });
	return answer?.status === 204 ? undefined : responseOf(answer);
}

/** The text of the main thread's `/metrics`. */
export async function forwardedMetrics(forward: Forward): Promise<string> {
	const url = "http://localhost/metrics";
	return responseOf(await forward({ method: "GET", url, headers: [], body: undefined, peer: "127.0.0.1" })).text();
}

function responseOf(answer: ForwardedAnswer | undefined): Response {
	if (!answer) throw new Error("the main thread has ended");
	const { status, headers, body } = answer;
	return new Response(body.byteLength > 0 ? body : null, {
		status,
		headers: headers.map(([name, value]) => [name, value]),
	});
}

async function answerOf(response: Response): Promise<ForwardedAnswer> {
	return { status: response.status, headers: [...response.headers], body: await response.arrayBuffer() };
}

/** Has the app of the main thread, which listens nowhere, answer requests of workers. */
export class ForwardedRequests {
	readonly #peers = new WeakMap<Request, string>();

	constructor(private readonly app: AnyElysia) {
		const server: Peers = {
			requestIP: (request) => {
				const address = this.#peers.get(request);
				return address ? { address } : null;
			},
		};
		// Routes ask it for the address of whoever calls, and nothing else.
		app.server = server as unknown as typeof app.server;
	}

	/** Never rejects: the app answers its own errors. @param client aborts when its client leaves */
	async answer({ method, url, headers, body, peer }: ForwardedRequest, client?: AbortSignal): Promise<ForwardedAnswer> {
		try {
			const request = new Request(url, {
				method,
				headers: headers.map(([name, value]) => [name, value]),
				...(body ? { body: body as Uint8Array<ArrayBuffer> } : {}),
				...(client && { signal: client }),
			});
			this.#peers.set(request, peer);
			return await answerOf(await this.app.handle(request));
		} catch (thrown) {
			return answerOf(asRouterError(thrown).response());
		}
	}
}
