/** A router of the smallest kind, as agents see it: takes registrations and heartbeats, or says no as it is told to. */
import type { Heartbeat, Register } from "../../src/protocol/agent.ts";

/** One request of an agent's. */
export type Heard =
	| { readonly path: "/register"; readonly body: Register; readonly authorization: string | null }
	| { readonly path: "/heartbeat"; readonly body: Heartbeat; readonly authorization: string | null };

/** What it answers; the default takes everything. */
export type Answerer = (heard: Heard) => Response | undefined;

/** The server. */
export interface FakeRouter {
	/** `http://127.0.0.1:<port>`. */
	readonly url: string;
	readonly port: number;
	readonly heard: Heard[];
	/** From now on; undefined answers as usual. */
	answer(how: Answerer): void;
	/** Resolves with the first request, from `from` on, that fits. Rejects after 20 s. */
	hears(fits: (heard: Heard) => boolean, from?: number): Promise<Heard>;
	stop(): Promise<void>;
}

/** An error as the router's own are. */
export function refusal(status: number, code: string, message = "no"): Response {
	return Response.json({ error: { message, type: "invalid_request_error", param: null, code } }, { status });
}

/** What a registration gets. */
export const TAKEN = { secret: "of-this-agent", heartbeat_ms: 100, reachable: true };

/** Starts one; on a given port for one that comes back. */
export function startFakeRouter(port = 0): FakeRouter {
	const heard: Heard[] = [];
	let how: Answerer = () => undefined;
	const server = Bun.serve({
		port,
		hostname: "127.0.0.1",
		async fetch(request) {
			const { pathname } = new URL(request.url);
			const one = {
				path: pathname,
				body: await request.json(),
				authorization: request.headers.get("authorization"),
			} as Heard;
			heard.push(one);
			return how(one) ?? Response.json(one.path === "/register" ? TAKEN : {});
		},
	});
	return {
		url: `http://127.0.0.1:${server.port}`,
		port: server.port!,
		heard,
		answer(next) {
			how = next;
		},
		async hears(fits, from = 0) {
			for (let look = 0; look < 2000; look++) {
				const found = heard.slice(from).find(fits);
				if (found) return found;
				await Bun.sleep(10);
			}
			throw new Error(`it never came; there were ${heard.map(({ path }) => path).join(", ") || "no requests"}`);
		},
		stop: () => server.stop(true),
	};
}
