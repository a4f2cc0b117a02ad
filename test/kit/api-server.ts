/** The routes that clients call, on a free loopback port, over a pipeline of this process. */
import { apiRoutes } from "../../src/api/routes.ts";
import type { Pipeline } from "./pipeline.ts";

/** The server. */
export interface ApiServer {
	/** `http://127.0.0.1:<port>` */
	readonly url: string;
	stop(): Promise<void>;
}

/** Starts it. */
export function serveApi({ context }: Pick<Pipeline, "context">): ApiServer {
	const app = apiRoutes(context);
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		development: false,
		idleTimeout: 30,
		maxRequestBodySize: 1024 * 1024 * 1024,
		fetch: (request) => app.handle(request),
	});
	return { url: `http://127.0.0.1:${server.port}`, stop: () => server.stop(true) };
}
