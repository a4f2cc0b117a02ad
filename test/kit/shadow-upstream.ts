/** An upstream that two models are at, and a router that copies calls for one to the other. */
import type { Json } from "./exchange.ts";
import { post } from "./rig.ts";
import { type RunningRouter, startRouter } from "./router.ts";

/** The administrator's key. */
export const ADMIN = "admin-key-of-the-test";

/** A request as the upstream got it. */
export interface Received {
	readonly model: string;
	readonly body: Json;
	readonly headers: Headers;
	/** Its connection was closed before its answer was whole. */
	isGone: boolean;
}

/** What it answers. It may wait. */
export type Answering = (asked: Received) => Response | Promise<Response>;

/** The upstream. */
export class ShadowUpstream {
	readonly asked: Received[] = [];
	/** By model; the others get a short text. */
	readonly answers = new Map<string, Answering>();
	readonly #server = Bun.serve({
		hostname: "127.0.0.1",
		port: 0,
		idleTimeout: 0,
		fetch: async (request) => {
			const body = (await request.json()) as Json;
			const asked: Received = { model: body["model"] as string, body, headers: request.headers, isGone: false };
			this.asked.push(asked);
			request.signal.addEventListener("abort", () => {
				asked.isGone = true;
			});
			return (this.answers.get(asked.model) ?? says("Hello."))(asked);
		},
	});

	get url(): string {
		return `http://127.0.0.1:${this.#server.port}/v1`;
	}

	/** Requests for a model. */
	of(model: string): readonly Received[] {
		return this.asked.filter((each) => each.model === model);
	}

	/** Forgets what was asked, and how models answer. */
	clear(): void {
		this.asked.length = 0;
		this.answers.clear();
	}

	stop(): Promise<void> {
		return this.#server.stop(true);
	}
}

/** Answers, as a stream where that is asked for. @param delta the message but for its role @param tokens of the answer */
export const answering =
	(delta: Json, finish_reason: string, tokens = 3): Answering =>
	({ body }) => {
		const usage = { prompt_tokens: 10, completion_tokens: tokens, total_tokens: 10 + tokens };
		const base = { id: "x", created: 1, model: body["model"] };
		const message = { role: "assistant", content: null, ...delta };
		if (body["stream"] !== true) {
			return Response.json({
				...base,
				object: "chat.completion",
				choices: [{ index: 0, message, finish_reason }],
				usage,
			});
		}
		const chunk = (choices: Json[], more: Json = {}) =>
			`data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices, ...more })}\n\n`;
		const calls = (delta["tool_calls"] as Json[] | undefined)?.map((call, index) => ({ index, ...call }));
		const piece = { role: "assistant", ...delta, ...(calls && { tool_calls: calls }) };
		const text =
			chunk([{ index: 0, delta: piece, finish_reason: null }]) +
			chunk([{ index: 0, delta: {}, finish_reason }]) +
			chunk([], { usage }) +
			"data: [DONE]\n\n";
		return new Response(text, { headers: { "content-type": "text/event-stream" } });
	};

/** A text. */
export const says = (content: string, tokens?: number): Answering => answering({ content }, "stop", tokens);

/** A tool. */
export const asksFor = (name: string, args: string): Answering =>
	answering(
		{ tool_calls: [{ id: crypto.randomUUID(), type: "function", function: { name, arguments: args } }] },
		"tool_calls",
	);

/** A row of `GET /admin/shadow`. */
export interface ShadowRow {
	readonly model: string;
	readonly to: string;
	readonly pairs: number;
	readonly failed: number;
	readonly budget: { readonly usd: number; readonly spent: number };
	readonly caller: Json;
	readonly shadow: Json;
	readonly same_finish_reason: Json;
	readonly same_tool_calls: Json;
}

/** A router whose model `fast` is copied to `other`, both at the upstream, a dollar a token there. */
export class ShadowRouter {
	private constructor(readonly running: RunningRouter) {}

	/** @param shadow what its `shadow` says besides @param more of the configuration */
	static async start(upstream: ShadowUpstream, shadow: Json = {}, more: Json = {}): Promise<ShadowRouter> {
		const config = {
			providers: { box: { type: "openai-compatible", base_url: upstream.url } },
			models: [
				{
					name: "fast",
					targets: ["box/first"],
					shadow: { to: "other", share: "100%", budget: { usd: 1e6 }, ...shadow },
				},
				{ name: "other", targets: ["box/second"] },
			],
			prices: { "box/*": { input: 1_000_000, output: 1_000_000 } },
			admin: { keys: [{ name: "ops", key: ADMIN }] },
			cache: { enabled: false },
			server: { workers: 1, drain: "0s" },
			...more,
		};
		return new ShadowRouter(await startRouter({ config }));
	}

	/** Calls a model of it with a text. */
	call(text: string, more: Json = {}, headers: Record<string, string> = {}) {
		const body = { model: "fast", messages: [{ role: "user", content: text }], ...more };
		return post(`${this.running.url}/v1/chat/completions`, body, headers);
	}

	/** How many calls came to that. */
	outcomes(outcome: string): Promise<number> {
		return this.running.metric("router_shadow_calls_total", { outcome });
	}

	/** What an administrator is told. @param path behind `/admin/` */
	async admin(path: string): Promise<Json> {
		const answer = await fetch(`${this.running.url}/admin/${path}`, { headers: { authorization: `Bearer ${ADMIN}` } });
		return (await answer.json()) as Json;
	}

	async row(): Promise<ShadowRow> {
		return ((await this.admin("shadow")) as unknown as { data: ShadowRow[] }).data[0]!;
	}

	stop(): Promise<void> {
		return this.running.stop();
	}
}
