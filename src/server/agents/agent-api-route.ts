/** `/agents/{name}/…`: an agent's own API through the router, for administrators: also that of an agent whom nobody but the router can reach. */
import { Elysia } from "elysia";
import { asRouterError, RouterError } from "../../errors.ts";
import { readRequestBody } from "../../http/request-body.ts";
import { urlOf } from "../../http/request-url.ts";
import type { Transport, UpstreamAnswer } from "../../providers/provider.ts";
import { transportFailure } from "../../proxy/net/transport-failure.ts";
import type { Log } from "../../telemetry/log.ts";
import type { CurrentSnapshot, RouterSnapshot } from "../snapshot.ts";
import { AGENT_GPUS, AGENT_METRICS, AGENT_MODEL, AGENT_MODELS, AGENT_ORDER } from "./agent-docs.ts";
import { unknownAgent } from "./agent-record.ts";
import type { FleetRegistry } from "./fleet.ts";

/** A description of a model is small, bytes. */
const MAX_BODY = 64 * 1024;
/** What of an agent's answer its reader is told besides status and body. */
const PASSED = ["content-type", "cache-control", "retry-after"];
/** `/agents/gpu-1/models/a/b/load` */
const PATH = /^\/agents\/([^/]+)\/(models(?:\/.+)?|gpus|metrics)$/;

/** What the route works with. */
export interface AgentApiOptions {
	readonly agents: Pick<FleetRegistry, "agents">;
	/** Calls agents. */
	readonly agentTransport: Transport;
	readonly current: CurrentSnapshot<RouterSnapshot>;
	readonly log: Pick<Log, "logger">;
}

/** What is used of Bun's server. */
interface Timeouts {
	timeout(request: Request, seconds: number): void;
}

/** Answers a request. Throws RouterError. */
export type AgentApiHandler = (request: Request, server: unknown) => Promise<Response>;

/** The handler. Changes are logged under the administrator's name. */
export function agentApiHandler({ agents, agentTransport, current, log }: AgentApiOptions): AgentApiHandler {
	return async (request, server) => {
		const by = current.snapshot.admin.authenticate(request.headers);
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
		try {
			return answerOf(await agentTransport.send({ url, headers, ...(body && { body }) }, request.signal));
		} catch (thrown) {
			if (request.signal.aborted) throw new RouterError("cancelled", "The client has left.");
			const { message } = transportFailure(thrown, false);
			throw new RouterError("upstream_unreachable", `The agent "${name}" ${message}.`);
		}
	};
}

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
	const source = new ReadableStream({
		async pull(controller) {
			const bytes = await body.read();
			if (bytes) controller.enqueue(bytes);
			else controller.close();
		},
	});
	return new Response(source, { status, headers: passed });
}
