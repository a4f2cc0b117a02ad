/** Engines whose calls a test answers one by one, and a router in front of them. */
import { clientError } from "./contract.ts";
import { goodStream } from "./events.ts";
import type { Json } from "./exchange.ts";
import { type Pipeline, pipeline } from "./pipeline.ts";
import { until } from "./until.ts";

const DEAD = JSON.stringify({
	error: {
		...{ message: "EngineCore encountered an issue. See stack trace (above) for the root cause." },
		...{ type: "InternalServerError", param: null, code: 500 },
	},
});
const MESSAGE = { role: "assistant", content: "hi" };
const ANSWER = {
	...{ id: "x", object: "chat.completion", created: 1, model: "m" },
	choices: [{ index: 0, message: MESSAGE, finish_reason: "stop" }],
	usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
};

/** An engine that holds each call until the test says what becomes of it, and says how it is at `/health`. */
function scripted() {
	const held: { readonly content: string; answer(kills?: boolean): void }[] = [];
	let isDead = false;
	let isBusy = false;
	let asked = 0;
	let busy = 0;
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		idleTimeout: 0,
		async fetch(request) {
			if (new URL(request.url).pathname === "/health") {
				asked++;
				return new Response(null, { status: isDead ? 503 : 200 });
			}
			const body = (await request.json()) as { stream?: boolean; messages: { content: string }[] };
			if (isDead) return new Response(DEAD, { status: 500 });
			if (isBusy) {
				busy++;
				return Response.json({ error: { message: "busy", code: 503 } }, { status: 503 });
			}
			const { promise, resolve } = Promise.withResolvers<boolean>();
			held.push({ content: body.messages[0]!.content, answer: (kills = false) => resolve(kills) });
			if (await promise) return new Response(DEAD, { status: 500 });
			if (!body.stream) return Response.json(ANSWER);
			return new Response(goodStream(2).join(""), { headers: { "content-type": "text/event-stream" } });
		},
	});
	return {
		origin: `http://127.0.0.1:${server.port}`,
		held,
		/** Times that it was asked how it is. */
		get asked() {
			return asked;
		},
		/** Answers all that it holds as a dead engine does. */
		die() {
			isDead = true;
			for (const each of held.splice(0)) each.answer(true);
		},
		restart: () => {
			isDead = false;
		},
		/** Calls are a 503 from then on, or no longer. */
		busy: (is: boolean) => {
			isBusy = is;
		},
		/** Calls that were a 503. */
		get refused() {
			return busy;
		},
		/** The next call that it holds. */
		async next(content: string) {
			await until(() => held.some((each) => each.content === content), `a call of ${content}`);
			return held.splice(
				held.findIndex((each) => each.content === content),
				1,
			)[0]!;
		},
		stop: () => server.stop(true),
	};
}

/** Stops of the engines that tests have started. */
const stops: (() => unknown)[] = [];
/** Ends all engines: after each test. */
export async function stopEngines(): Promise<void> {
	for (const stop of stops.splice(0)) await stop();
}

/** So many engines, and the providers and the model `m` of a configuration that leads to them, in their order. */
export function scriptedEngines(count: number, alias: Json = {}) {
	const engines = Array.from({ length: count }, scripted);
	stops.push(...engines.map(({ stop }) => stop));
	const boxes = engines.map(({ origin }, at) => [`box${at}`, { type: "vllm", base_url: origin }] as const);
	const targets = boxes.map(([name]) => `${name}/model`);
	const model = { name: "m", policy: "order", targets, hedge: false, ...alias };
	return { engines, providers: Object.fromEntries(boxes), model };
}

/** A router whose model `m` has so many engines as targets, in their order. */
export function fleet(
	count: number,
	more: { fallback?: string[]; models?: Json[]; alias?: Json; poisonous_requests?: string } = {},
) {
	const { fallback, models = [], alias, ...settings } = more;
	const { engines, providers, model } = scriptedEngines(count, { ...(fallback && { fallback }), ...alias });
	const router = pipeline({ config: { ...settings, providers, models: [model, ...models] } });
	return { router, engines };
}

/** Calls `m`. */
export const say = (
	router: Pipeline,
	content: string,
	more: Json & { headers?: Record<string, string>; signal?: AbortSignal } = {},
) => {
	const { headers, signal, ...body } = more;
	return router.send(
		{ model: "m", messages: [{ role: "user", content }], ...body },
		{ ...(headers && { headers }), ...(signal && { signal }) },
	);
};
/** The code of an error. */
export const codeOf = async (answer: Response) => clientError(await answer.text()).code;
