/**
 * The bare relay that everything is compared with, the smallest one Bun can be: `bun relay.ts PORT UPSTREAM_URL [WORKERS]`. With WORKERS so many
 * worker threads share the port, and the main thread does nothing but start them: what threads cost of themselves.
 */
import { isMainThread, Worker } from "node:worker_threads";

const [, , port, upstream, workers] = process.argv;

if (isMainThread && workers !== undefined) {
	const own = new URL(import.meta.url);
	for (let thread = 0; thread < Number(workers); thread++) new Worker(own, { argv: process.argv.slice(2) });
} else {
	Bun.serve({
		hostname: "127.0.0.1",
		port: Number(port),
		reusePort: !isMainThread,
		idleTimeout: 0,
		development: false,
		fetch: (request) => fetch(upstream + new URL(request.url).pathname, request),
	});
}
