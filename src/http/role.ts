/** What both roles do to come up: log, metrics, transports, app, port. */

import type { Loaded } from "../config/load.ts";
import type { KeyConfig } from "../config/schema.ts";
import { onCrash } from "../crash.ts";
import { openDoor } from "../gate/door.ts";
import { generatedKey } from "../gate/generated-key.ts";
import { createGate, type Gate } from "../gate/keys.ts";
import { loopProblem, type Upstream } from "../providers/registry.ts";
import { catalogEntries } from "../proxy/catalog-entries.ts";
import type { Catalog, CatalogEntry } from "../routing/catalog.ts";
import type { Running } from "../running.ts";
import { StartError } from "../start-error.ts";
import { createLog } from "../telemetry/log.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { VERSION } from "../version.ts";
import { httpBase } from "./app.ts";
import { createLifecycle } from "./lifecycle.ts";
import { ListenError, listen } from "./listen.ts";
import { openAiRoutes } from "./openai-routes.ts";

/** How one role differs from the other. */
export interface RoleOptions {
	readonly role: "router" | "agent";
	readonly loaded: Loaded;
	readonly env: Readonly<Record<string, string | undefined>>;
	readonly host: string;
	readonly port: number;
	readonly keys: readonly KeyConfig[];
	/** How a key is set, for the refusal to listen beyond loopback. */
	readonly keyHint: string;
	readonly upstreams: readonly Upstream[];
	readonly catalogOf: (entries: readonly CatalogEntry[]) => Catalog;
	readonly title: string;
	readonly description: string;
	/** Lines of the banner. */
	readonly lines: readonly string[];
}

/** Starts a role. Throws StartError with one line for a person. */
export function startRole(options: RoleOptions): Running {
	const { role, loaded, host, port, upstreams, env } = options;
	const { config } = loaded;
	const loop = loopProblem(upstreams, host, port);
	if (loop) throw new StartError(loop);
	const { gate, lines: keyLines } = door(options);
	const metrics = createMetrics(role);
	const log = createLog({
		...config.log,
		role,
		stdout: process.stdout,
		onFailure: () => metrics.logFailure(),
	});
	onCrash((_kind, line) => {
		metrics.crash();
		log.logger.error(line);
	});
	const lifecycle = createLifecycle({
		drainMs: config.server.drain,
		shutdownMs: config.server.shutdown_timeout,
		log,
	});
	const catalog = options.catalogOf(catalogEntries(upstreams, config, env));
	const app = httpBase({
		role,
		version: VERSION,
		corsOrigins: config.server.cors_origins,
		metrics,
		log,
		lifecycle,
		title: options.title,
		description: options.description,
	}).use(
		openAiRoutes({
			config,
			catalog,
			gate,
			sink: {
				callStarted: () => metrics.sink.callStarted(),
				attemptClosed(attempt) {
					metrics.sink.attemptClosed(attempt);
					log.sink.attemptClosed(attempt);
				},
				callSettled(call) {
					metrics.sink.callSettled(call);
					log.sink.callSettled(call);
				},
			},
			instance: crypto.randomUUID().slice(0, 8),
			onFault: (id, error) => log.logger.error({ id, err: error }, "the router failed on a call"),
		}),
	);
	const server = openPort(() =>
		listen(app, {
			host,
			port,
			// The agent serves no TLS: in one process the router would not trust its own certificate.
			tls: role === "router" ? config.server.tls : undefined,
			bodyLimit: config.server.body_limit,
			log,
		}),
	);
	lifecycle.started(server);
	const { url } = server;
	log.logger.info({ url, version: VERSION, role }, "listening");
	const files = [
		log.file ? `log      ${log.file}` : `log      stdout only: ${log.problem}`,
		...(role === "router" ? [`data     ${config.data_dir}`] : []),
	];
	return {
		role,
		url,
		lines: [...options.lines, ...files, ...keyLines],
		stop: () => lifecycle.stop(),
		finished: lifecycle.finished,
	};
}

function openPort<T>(open: () => T): T {
	try {
		return open();
	} catch (error) {
		throw error instanceof ListenError ? new StartError(error.message) : error;
	}
}

/** The gate, and what the banner says of it. */
function door({ role, loaded: { config }, host, keys, keyHint }: RoleOptions): { gate: Gate; lines: string[] } {
	// The agent's token is known to two: one that it made itself would shut its own router out.
	if (role === "router" && keys.length === 0 && config.server.generate_key) {
		const { hash, secret, problem } = generatedKey(config.data_dir);
		const lines = secret ? [`API key  ${secret}   (made now, shown only this once)`] : [];
		if (problem) lines.push(`         it can't be kept (${problem}): the next start makes another`);
		return { gate: createGate([], hash), lines };
	}
	const problem = openDoor({ host, hasKeys: keys.length > 0, isInsecure: config.server.insecure, hint: keyHint });
	if (problem) throw new StartError(problem);
	return { gate: createGate(keys), lines: [] };
}
