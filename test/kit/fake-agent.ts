/** An agent of the smallest kind: a server that speaks OpenAI, joined to a router by the real link. */
import { type RouterLink, startLink } from "../../src/agent/router-link/router-link.ts";
import { TunnelClient } from "../../src/agent/router-link/tunnel-client.ts";
import type { GpuReport, ModelReport } from "../../src/protocol/agent.ts";
import { httpTransport } from "../../src/proxy/net/transport.ts";
import { DONE, finishEvent, textEvent, usageEvent } from "./events.ts";

/** What it is. */
export interface FakeAgentOptions {
	/** Of the router. Without one it is a server alone. */
	readonly router?: string;
	readonly token?: string;
	readonly name?: string;
	readonly instance?: string;
	readonly models?: (string | ModelReport)[];
	readonly gpus?: readonly GpuReport[];
	readonly port?: number;
	/** How the router calls it; by its address unless given. */
	readonly tunnel?: "always" | "auto";
	/** What it takes for its address, where that is not 127.0.0.1 and its port. */
	readonly at?: { readonly address?: string; readonly port?: number };
	/** What becomes of a chat call before it is answered; a Response takes the answer's place. */
	readonly before?: (
		body: FakeCall,
		headers: Headers,
		request: Request,
	) => Response | undefined | Promise<Response | undefined>;
}

/** The part of a call's body that fakes read. */
export interface FakeCall {
	readonly model: string;
	readonly stream?: boolean;
	readonly messages: readonly { readonly role: string; readonly content: string }[];
}

/** A running one. */
export interface FakeAgent {
	readonly name: string;
	readonly origin: string;
	readonly port: number;
	/** `authorization` of every chat call so far. */
	readonly authorizations: (string | null)[];
	/** What the router said its calls would carry. */
	readonly secrets: string[];
	/** May be changed. */
	readonly report: { models: (string | ModelReport)[] };
	readonly link: RouterLink | undefined;
	readonly tunnel: TunnelClient | undefined;
	/** As on SIGTERM: says goodbye, answers what runs, ends. */
	leave(): Promise<void>;
	/** As on SIGKILL: connections break, nobody is told. */
	stop(): Promise<void>;
}

const transport = httpTransport();
const fixed = (address: string) => ({ to: async () => address, now: () => address });
const quiet = { logger: { info() {}, warn() {}, error() {} } } as unknown as Parameters<typeof startLink>[0]["log"];

/** Starts it. Its answers say its name; a call without its secret gets a 401. */
export function startFakeAgent(options: FakeAgentOptions = {}): FakeAgent {
	const { router, name = "gpu-1", instance = crypto.randomUUID(), models = ["qwen"] } = options;
	const authorizations: (string | null)[] = [];
	const secrets: string[] = [];
	const report = { models, gpus: options.gpus };
	let isDead = false;
	const server = Bun.serve({
		port: options.port ?? 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const { pathname } = new URL(request.url);
			if (pathname === "/health") return Response.json({ status: "ok" });
			const authorization = request.headers.get("authorization");
			authorizations.push(authorization);
			if (router && !secrets.some((secret) => authorization === `Bearer ${secret}`)) {
				return Response.json({ error: { message: "Unauthorized" } }, { status: 401 });
			}
			const body = (await request.json()) as FakeCall;
			const other = await options.before?.(body, request.headers, request);
			if (other) return other;
			if (body.stream) {
				const events = [textEvent(name), finishEvent(), usageEvent(), DONE];
				return new Response(events.join(""), { headers: { "content-type": "text/event-stream" } });
			}
			return Response.json({
				id: "chatcmpl-1",
				object: "chat.completion",
				created: 1_760_000_000,
				model: body.model,
				choices: [{ index: 0, message: { role: "assistant", content: name }, finish_reason: "stop" }],
				usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
			});
		},
	});
	const port = server.port!;
	const tunnel =
		router === undefined || !options.tunnel
			? undefined
			: new TunnelClient({
					...{ router, token: options.token, name, instance, transport, log: quiet },
					site: { hostname: "127.0.0.1", port },
				});
	const link =
		router === undefined
			? undefined
			: startLink({
					router,
					token: options.token,
					name,
					instance,
					port: options.at?.port ?? port,
					...(options.at?.address ? { addresses: fixed(options.at.address) } : {}),
					transport: {
						send: (...call) => (isDead ? Promise.reject(new Error("dead")) : transport.send(...call)),
					},
					tunnel: tunnel && { mode: options.tunnel!, client: tunnel },
					report: () => report,
					onSecret: (secret) => secrets.push(secret),
					log: quiet,
				});
	return {
		name,
		origin: `http://127.0.0.1:${port}`,
		port,
		authorizations,
		secrets,
		report,
		link,
		tunnel,
		async leave() {
			await link?.stop();
			await server.stop();
			tunnel?.stop();
		},
		async stop() {
			isDead = true;
			tunnel?.stop();
			await server.stop(true);
			await link?.stop();
		},
	};
}
