/** A thread with a pipeline of its own, and its view of a cache that threads share; told what to send by messages. */
import type { CacheMemory } from "../../src/cache/cache-memory.ts";
import type { ClaimMessage, ClaimPort } from "../../src/cache/thread-store.ts";
import type { Json } from "./exchange.ts";
import { type Pipeline, pipeline } from "./pipeline.ts";

declare const self: {
	onmessage: ((event: MessageEvent<ToCacheWorker>) => void) | undefined;
	postMessage(message: FromCacheWorker): void;
};

/** What it is told. */
export type ToCacheWorker =
	| {
			readonly is: "start";
			readonly config: Json;
			readonly memory: CacheMemory;
			readonly thread: number;
			readonly threads: number;
	  }
	| { readonly is: "send"; readonly id: number; readonly body: Json; readonly headers: Record<string, string> }
	| { readonly is: "claim"; readonly message: ClaimMessage };

/** What it says. */
export type FromCacheWorker =
	| { readonly is: "started" }
	| { readonly is: "claim"; readonly to: number; readonly message: ClaimMessage }
	| ({ readonly is: "answered"; readonly id: number } & SentAnswer);

/** An answer, read to its end. */
export interface SentAnswer {
	readonly status: number;
	readonly cache: string | null;
	readonly text: string;
}

const port: ClaimPort = {
	post: (to, message) => self.postMessage({ is: "claim", to, message }),
	onMessage: undefined,
};
let router: Pipeline;

async function send(id: number, body: Json, headers: Record<string, string>): Promise<void> {
	const answer = await router.send(body, { headers });
	const text = await answer.text();
	self.postMessage({ is: "answered", id, status: answer.status, cache: answer.headers.get("x-router-cache"), text });
}

if (!Bun.isMainThread) {
	self.onmessage = ({ data }) => {
		if (data.is === "claim") port.onMessage?.(data.message);
		else if (data.is === "send") void send(data.id, data.body, data.headers);
		else {
			const { memory, thread, threads, config } = data;
			router = pipeline({ config, cached: true, cacheThread: () => ({ memory, thread, threads, port }) });
			self.postMessage({ is: "started" });
		}
	};
}
