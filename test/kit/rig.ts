/** A router in front of a replay upstream that plays every provider: what most wire tests stand on. */
import { upstreamsAt } from "./dialects.ts";
import type { ExchangeResponse, Json } from "./exchange.ts";
import { type Replay, startReplay } from "./replay.ts";
import { type RouterOptions, type RunningRouter, startRouter } from "./router.ts";

/** A whole answer, read to its end. */
export interface ClientAnswer {
	readonly status: number;
	readonly headers: Headers;
	readonly text: string;
}

/** The key a client sends; no upstream may ever see it. */
export const CLIENT_KEY = "sk-of-the-client";

/** POSTs this body, as its bytes when it is a string, and reads the answer to its end. `seen` gets the text so far. */
export async function post(
	url: string,
	body: string | Json,
	headers: Record<string, string> = {},
	seen: (text: string) => void = () => {},
): Promise<ClientAnswer> {
	const answer = await fetch(url, {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${CLIENT_KEY}`, ...headers },
		body: typeof body === "string" ? body : JSON.stringify(body),
	});
	const decoder = new TextDecoder();
	let text = "";
	for await (const bytes of answer.body ?? []) {
		text += decoder.decode(bytes, { stream: true });
		seen(text);
	}
	return { status: answer.status, headers: answer.headers, text };
}

/** Both, and a way to call. */
export interface Rig {
	readonly replay: Replay;
	readonly router: RunningRouter;
	/** `path` is the router's: `/v1/chat/completions`. */
	post(path: string, body: string | Json, headers?: Record<string, string>): Promise<ClientAnswer>;
	/** Plays a stream up to the event that holds `before`, and the rest once the client has seen `marker`. */
	postInTwo(
		response: ExchangeResponse,
		{ before, marker }: { before: string; marker: string },
		body: string | Json,
	): Promise<ClientAnswer>;
	stop(): Promise<void>;
}

/** What comes of an upstream is to be seen as it came: nothing about its cost is added. */
export const UNPRICED = { usage: { cost_in_answers: false } };

/** Starts both. `options` add to the settings that point all providers at the replay upstream. */
export async function startRig(options: RouterOptions = {}): Promise<Rig> {
	const replay = startReplay();
	const { env, config } = upstreamsAt(replay.origin);
	const router = await startRouter({
		...options,
		env: { ...env, ...options.env },
		config: { ...config, ...UNPRICED, ...options.config },
	});
	return {
		replay,
		router,
		post: (path, body, headers) => post(router.url + path, body, headers),
		postInTwo(response, { before, marker }, body) {
			const seen = Promise.withResolvers<void>();
			replay.play(response, { before, until: seen.promise });
			return post(`${router.url}/v1/chat/completions`, body, {}, (text) => text.includes(marker) && seen.resolve());
		},
		async stop() {
			await router.stop();
			await replay.stop();
		},
	};
}
