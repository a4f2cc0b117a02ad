/**
 * A process that serves as the router does, with a stream that ends at SIGUSR2. Driven by
 * test/lifecycle.test.ts; DRAIN_MS, SHUTDOWN_MS and LOG_DIR come from the environment. Prints its address first.
 */

import { createLifecycle } from "../../src/http/lifecycle.ts";
import { listen } from "../../src/http/listen.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { base } from "./http-base.ts";

const { DRAIN_MS, SHUTDOWN_MS, LOG_DIR } = process.env;
const log = createLog({ dir: String(LOG_DIR), level: "info", keep: 1, role: "router" });
const lifecycle = createLifecycle({ drainMs: Number(DRAIN_MS), shutdownMs: Number(SHUTDOWN_MS), log });
const { app } = base({ log, lifecycle });

const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
app
	.get("/stream", () => {
		let begun = false;
		return new Response(
			new ReadableStream({
				async pull(controller) {
					if (begun) await finished;
					controller.enqueue(new TextEncoder().encode(begun ? "end" : "begin "));
					if (begun) controller.close();
					begun = true;
				},
				cancel: () => log.logger.info("stream cancelled"),
			}),
		);
	})
	.post("/call", () => "answered");
process.on("SIGUSR2", finish);

const listening = listen(app, { host: "127.0.0.1", port: 0, bodyLimit: 1e6, log });
lifecycle.onStop(() => {
	throw new Error("a hook that fails");
});
lifecycle.onStop(() => {
	for (let i = 0; i < 2000; i++) log.logger.info({ i }, "last words");
});
lifecycle.started(listening);
process.stdout.write(`${listening.url}\n`);
process.exit(await lifecycle.finished);
