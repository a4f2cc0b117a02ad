/** The shared HTTP half as a server in this process, for tests of what it does to any route. */

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type HttpBaseOptions, httpBase } from "../../src/http/app.ts";
import { createLifecycle, type Lifecycle } from "../../src/http/lifecycle.ts";
import { type Listening, listen } from "../../src/http/listen.ts";
import { requestGuard } from "../../src/http/request-guard.ts";
import { createLog, type Log } from "../../src/telemetry/log.ts";
import { createMetrics, type Metrics } from "../../src/telemetry/metrics.ts";

/** A log into a fresh directory, nothing on stdout. */
export function quietLog(): Log {
	return createLog({
		dir: mkdtempSync(join(tmpdir(), "http-")),
		level: "info",
		keep: 1,
		role: "router",
		stdout: false,
	});
}

/** The base app and the pieces it was made of. Add routes, then `listenOn` it. */
export function base(
	over: {
		role?: "router" | "agent";
		corsOrigins?: string[];
		lifecycle?: Lifecycle;
		log?: Log;
		refuse?: HttpBaseOptions["refuse"];
	} = {},
) {
	const log = over.log ?? quietLog();
	const metrics: Metrics = createMetrics(over.role ?? "router");
	const lifecycle = over.lifecycle ?? createLifecycle({ drainMs: 0, shutdownMs: 1000, log, signals: NO_SIGNALS });
	const app = httpBase({
		role: over.role ?? "router",
		version: "1.2.3",
		guard: requestGuard(over.corsOrigins ?? [], lifecycle),
		metrics,
		log,
		lifecycle,
		title: "router",
		isTls: false,
		description: "test",
		refuse: over.refuse ?? (() => undefined),
	});
	return { app, log, metrics, lifecycle };
}

/** Signals that never come: the test process keeps its own. */
export const NO_SIGNALS = { on: () => undefined, off: () => undefined };

/** Makes a base listen on a free loopback port. */
export function listenOn({
	app,
	log,
	lifecycle,
}: Pick<ReturnType<typeof base>, "app" | "log" | "lifecycle">): Listening {
	const listening = listen(app, { host: "127.0.0.1", port: 0, bodyLimit: 1e6, log });
	lifecycle.started(listening);
	return listening;
}
