/** `/agents/{name}/…`: an agent's own API through the router, for administrators: also that of an agent whom nobody but the router can reach. */
import { Elysia } from "elysia";
import { asRouterError, RouterError } from "../../errors.ts";
import type { Peers } from "../../http/client-address.ts";
import { readRequestBody } from "../../http/request-body.ts";
import { urlOf } from "../../http/request-url.ts";
import type { Transport, UpstreamAnswer } from "../../providers/provider.ts";
import { transportFailure } from "../../proxy/net/transport-failure.ts";
import type { Log } from "../../telemetry/log.ts";
import type { AuthenticateAdmin } from "../admin/administrators.ts";
import { AGENT_GPUS, AGENT_METRICS, AGENT_MODEL, AGENT_MODELS, AGENT_ORDER } from "./agent-docs.ts";
import { unknownAgent } from "./agent-record.ts";
import type { FleetRegistry } from "./fleet.ts";

/** A description of a model is small, bytes. */
const MAX_BODY = 64 * 1024;
/** How long an agent may take to begin its answer, ms: all that takes it longer it does after its 202. */
const HEAD_MS = 30_000;
/** What of an agent's answer its reader is told besides status and body. */
const PASSED = ["cache-control", "retry-after"];
/** The types that it may have; whatever is of another one is shown as text. */
const TYPES = /^(?:application\/json|text\/plain|text\/event-stream)\s*(?:;|$)/i;
/** An agent's answer comes under the router's origin, where an administrator may be signed in: no browser may run any of it. */
const INERT = {
	"x-content-type-options": "nosniff",
	"content-security-policy": "sandbox; default-src 'none'",
};
/** `/agents/gpu-1/models/a/b/load` */
const PATH = /^\/agents\/([^/]+)\/(models(?:\/.+)?|gpus|metrics)$/;

/** What the route works with. */
export interface AgentApiOptions {
	readonly agents: Pick<FleetRegistry, "agents" | "callFailed">;
	/** Calls agents. */
	readonly agentTransport: Transport;
	readonly authenticate: AuthenticateAdmin;
	readonly log: Pick<Log, "logger">;
	/** How long an agent may take to begin its answer, ms. */
	readonly headMs?: number;
}

/** What is used of Bun's server. */
interface Timeouts extends Peers {
	timeout(request: Request, seconds: number): void;
}

/** Answers a request. Throws RouterError. */
export type AgentApiHandler = (request: Request, server: unknown) => Promise<Response>;

/** The handler. Changes are logged under the administrator's name. */
export function agentApiHandler(options: AgentApiOptions): AgentApiHandler {
	const { agents, agentTransport, authenticate, log, headMs = HEAD_MS } = options;
	return async (request, server) => {
		const { name: by } = await authenticate(request, server as Peers | null);
		if (request.signal.aborted) throw left();
		const { pathname, search } = urlOf(request);
		const [, name = "", path] = PATH.exec(pathname) ?? [];
		const agent = agents.agents.get(name);
		if (!agent) throw unknownAgent(name.slice(0, 100));
		if (path === undefined)
			throw new RouterError("unknown_path", `The agent "${name}" has no such path for administrators.`);
		const isChange = request.method === "POST";
		const body = isChange ? [request.body ? await readRequestBody(request, MAX_BODY) : Buffer.alloc(0)] : undefined;
		if (isChange)
			log.logger.child({}, { level: "info" }).info({ audit: "agent.models", by, agent: name, path }, "audit");
		// A log that is followed may be silent for as long as its model is.
		(server as Timeouts | null)?.timeout?.(request, 0);
		const url = `${agent.endpoint}/${path}${search}`;
		const headers = {
			accept: "*/*",
			authorization: `Bearer ${agent.provider.secret}`,
			"content-type": "application/json",
		};
		const late = new AbortController();
		const timer = setTimeout(() => late.abort(), headMs);
		let answer: UpstreamAnswer;
		try {
			const signal = AbortSignal.any([request.signal, late.signal]);
			answer = await agentTransport.send({ url, headers, ...(body && { body }) }, signal);
		} catch (thrown) {
			if (request.signal.aborted) throw left();
			if (late.signal.aborted) {
				throw new RouterError(
					"upstream_unreachable",
					`The agent "${name}" has not begun its answer within ${headMs / 1000} s.`,
				);
			}
			const { kind, message } = transportFailure(thrown, false);
			if (kind === "transport") agents.callFailed(name, "transport");
			throw new RouterError("upstream_unreachable", `The agent "${name}" ${message}.`);
		} finally {
			clearTimeout(timer);
		}
		// It is the router's secret that the agent refuses, not the administrator's key.
		if (answer.status === 401) {
			late.abort();
			agents.callFailed(name, "auth");
			throw new RouterError(
				"upstream_unreachable",
				`The agent "${name}" does not know this router's secret: it has started anew, and registers with its next heartbeat. ` +
					"Ask again in some seconds; if this stays, another program listens at its address.",
			);
		}
		return answerOf(answer);
	};
}

const left = () => new RouterError("cancelled", "The client has left.");

/** The plugin. */
export function ownApiPlugin(handle: AgentApiHandler) {
	const answer = ({ request, server }: { request: Request; server: unknown }) => handle(request, server);
	return new Elysia({ name: "agents/own-api" })
		.get("/agents/:name/models", answer, { detail: AGENT_MODELS })
		.get("/agents/:name/models/*", answer, { detail: AGENT_MODEL })
		.post("/agents/:name/models/*", answer, { parse: "none", detail: AGENT_ORDER })
		.get("/agents/:name/gpus", answer, { detail: AGENT_GPUS })
		.get("/agents/:name/metrics", answer, { detail: AGENT_METRICS });
}

/** The same as routes of Bun's router, for a thread whose other routes are answered by another one. */
export function agentApiRoutes(handle: AgentApiHandler) {
	const answer = async (request: Request, server: unknown): Promise<Response> => {
		try {
			return await handle(request, server);
		} catch (thrown) {
			return asRouterError(thrown).response();
		}
	};
	const both = { GET: answer, POST: answer };
	return { "/agents/:name/*": both };
}

function answerOf({ status, headers, body }: UpstreamAnswer): Response {
	const passed = PASSED.flatMap((name): [string, string][] => {
		const value = headers.get(name);
		return value === null ? [] : [[name, value]];
	});
	const type = headers.get("content-type") ?? "";
	const shownType = TYPES.test(type) ? type : "text/plain; charset=utf-8";
	const source = new ReadableStream({
		async pull(controller) {
			const bytes = await body.read();
			if (bytes) controller.enqueue(bytes);
			else controller.close();
		},
	});
	return new Response(source, {
		status,
		headers: [...passed, ["content-type", shownType], ...Object.entries(INERT)],
	});
}
