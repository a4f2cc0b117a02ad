/** What both roles do to come up: log, metrics, transports, app, port. */
import { onCrash } from "../crash.ts";
import { generatedKey } from "../gate/generated-key.ts";
import { createGate, type Gate } from "../gate/keys.ts";
import type { Running } from "../running.ts";
import { createLog, type Log } from "../telemetry/log.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import { VERSION } from "../version.ts";
import { httpBase } from "./app.ts";
import { createLifecycle } from "./lifecycle.ts";
import { listen } from "./listen.ts";
import { openAiRoutes } from "./openai-routes.ts";
import { catalogOf, type RolePlan } from "./role-plan.ts";

/** Starts a role. Throws StartError with one line for a person; nothing is left running then. */
export function startRole(plan: RolePlan): Running {
	const { role, config, host, port, tls, title, description } = plan;
	const catalog = catalogOf(plan);
	const { gate, lines: keyLines } = door(plan);
	const metrics = createMetrics(role);
	const log = lateLog(plan, metrics);
	const lifecycle = createLifecycle({
		drainMs: config.server.drain,
		shutdownMs: config.server.shutdown_timeout,
		log,
	});
	const app = httpBase({
		role,
		version: VERSION,
		corsOrigins: config.server.cors_origins,
		metrics,
		log,
		lifecycle,
		title,
		description,
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
	const server = listen(app, { host, port, tls, bodyLimit: config.server.body_limit, log });
	lifecycle.started(server);
	lifecycle.onStop(
		onCrash((_kind, line) => {
			metrics.crash();
			log.logger.error(line);
		}),
	);
	const unwatch = catalog.watch?.();
	if (unwatch) lifecycle.onStop(unwatch);
	const { url } = server;
	log.logger.info({ url, version: VERSION, role }, "listening");
	const { file, problem } = log.opened();
	const files = [
		file ? `log      ${file}` : `log      stdout only: ${problem}`,
		...(role === "router" ? [`data     ${config.data_dir}`] : []),
	];
	return {
		role,
		url,
		lines: [...plan.lines, ...files, ...keyLines],
		stop: () => lifecycle.stop(),
		finished: lifecycle.finished,
	};
}

/**
 * The log, opened when it is first used, which is after the port is ours: a second instance that fails on the port must
 * neither touch nor rotate the file of the first.
 */
function lateLog({ role, config }: RolePlan, metrics: Metrics) {
	let log: Log | undefined;
	const opened = () => {
		log ??= createLog({ ...config.log, role, stdout: process.stdout, onFailure: () => metrics.logFailure() });
		return log;
	};
	return {
		opened,
		get logger() {
			return opened().logger;
		},
		get sink() {
			return opened().sink;
		},
		flush: () => opened().flush(),
	};
}

/** The gate, and what the banner says of it. */
function door({ config, keys, generatesKey }: RolePlan): { gate: Gate; lines: string[] } {
	if (!generatesKey) return { gate: createGate(keys), lines: [] };
	const { hash, secret, problem } = generatedKey(config.data_dir);
	const lines = secret ? [`API key  ${secret}   (made now, shown only this once)`] : [];
	if (problem) lines.push(`         it can't be kept (${problem}): the next start makes another`);
	return { gate: createGate([], hash), lines };
}
