/** What both roles do to come up: log, metrics, transports, app, port. */

import { type GeneratedKey, generatedKey } from "../accounts/auth/generated-key.ts";
import { createGate, type Gate } from "../accounts/auth/keys.ts";
import type { CallContext, CallSnapshot } from "../api/call-context.ts";
import { refuseStealth } from "../api/handler.ts";
import { apiRoutes } from "../api/routes.ts";
import { onCrash } from "../crash.ts";
import { httpBase } from "../http/app.ts";
import { createLifecycle } from "../http/lifecycle.ts";
import { listen } from "../http/listen.ts";
import { ProxyState } from "../proxy/proxy-state.ts";
import type { Running } from "../running.ts";
import { type DirectoryLock, lockDirectory } from "../store/directory-lock.ts";
import { unwritable } from "../store/private-file.ts";
import { createLog, type Log } from "../telemetry/log.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { VERSION } from "../version.ts";
import { type Renewal, watchConfiguration } from "./reload.ts";
import { catalogOf, type RolePlan } from "./role-plan.ts";

/**
 * Starts a role. Throws StartError with one line for a person; nothing is left running then.
 * @param renewal where other configurations come from while it runs; absent where none do
 */
export function startRole(plan: RolePlan, renewal?: Renewal): Running {
	const { config, role, env } = plan;
	const lock = lockDirectory(config.data_dir, role, env["ROUTER_SUCCESSOR"] === "1");
	try {
		return started(plan, renewal, lock);
	} catch (error) {
		lock.release();
		throw error;
	}
}

function started(plan: RolePlan, renewal: Renewal | undefined, lock: DirectoryLock): Running {
	const { role, config, host, port, tls, title, description } = plan;
	const catalog = catalogOf(plan);
	const { gate, generated } = door(plan);
	const current: { snapshot: CallSnapshot } = { snapshot: { config, catalog, gate } };
	const metrics = createMetrics(role);
	const state = new ProxyState();
	metrics.watchTargets(state.targets);
	metrics.watchProxy({
		waiting: () => state.waiting(),
		keysOut: () => state.keysOut(current.snapshot.catalog.entries),
	});
	// Its file is opened at the first line, which is after the port is ours: a second instance that fails on the port touches no file.
	const log = createLog({ ...config.log, role, onFailure: metrics.logFailure });
	const lifecycle = createLifecycle({
		drainMs: config.server.drain,
		shutdownMs: config.server.shutdown_timeout,
		log,
	});
	const refuse = (request: Request) => refuseStealth(current.snapshot.gate, request, current.snapshot.config);
	const liveGate: Gate = {
		get isOpen() {
			return current.snapshot.gate.isOpen;
		},
		admit: (headers) => current.snapshot.gate.admit(headers),
	};
	const extension = catalog.extension?.({ log, metrics, gate: liveGate, refuse });
	current.snapshot = { ...current.snapshot, accounts: extension?.accountsOf?.(config, catalog) };
	const context: CallContext = {
		current,
		state,
		isBehindRouter: role === "agent",
		onPlanned: metrics.planned,
		sinks: [metrics.sink, log.sink, extension?.sink ?? {}],
		instance: crypto.randomUUID().slice(0, 8),
		cache: extension?.cache,
		onFault: (id, error) => log.logger.error({ id, err: error }, "the router failed on a call"),
	};
	const app = httpBase({
		role,
		version: VERSION,
		corsOrigins: config.server.cors_origins,
		metrics: {
			contentType: metrics.contentType,
			text: async () => (await metrics.text()) + ((await extension?.metrics?.()) ?? ""),
		},
		log,
		lifecycle,
		title,
		description,
		healthNotes: extension?.healthNotes,
		refuse: (request, server) => refuse(request) ?? extension?.refusePage?.(request, server),
	}).use(apiRoutes(context));
	if (extension) app.use(extension.routes);
	const server = listen(app, { host, port, tls, bodyLimit: config.server.body_limit, log });
	lifecycle.started(server);
	// Whoever starts from now on takes this one's place.
	lifecycle.onDrain(() => lock.release());
	lifecycle.onStop(
		onCrash((_kind, line) => {
			metrics.crash();
			log.logger.error(line);
		}),
	);
	const unwatch = catalog.watch?.({ port: server.port, log, onDrain: (hook) => lifecycle.onDrain(hook) });
	if (unwatch) lifecycle.onStop(unwatch);
	if (renewal) {
		const take = (snapshot: CallSnapshot) => {
			current.snapshot = snapshot;
		};
		const generatedGate = generated && gate;
		const { accountsOf } = extension ?? {};
		const options = {
			renewal,
			catalog,
			accountsOf,
			generatedGate,
			current: () => current.snapshot,
			take,
			log,
			metrics,
		};
		lifecycle.onStop(watchConfiguration(options));
	}
	const { url } = server;
	// Kept once the port is ours: a start that fails must not use up the one time that the key is shown.
	const keyLines = generated ? linesOf(generated) : [];
	log.logger.info({ url, version: VERSION, role }, "listening");
	tellLock(lock, plan, log);
	const { file, problem } = log.open();
	const files = [
		file ? `log      ${file}` : `log      stdout only: ${problem}`,
		...(role === "router" ? [`data     ${config.data_dir}${unwritableNote(config.data_dir)}`] : []),
	];
	return {
		role,
		url,
		lines: [...plan.lines, ...files, ...keyLines],
		stop: () => lifecycle.stop(),
		finished: lifecycle.finished,
	};
}

/** Says who else may write to the data directory. */
function tellLock(
	{ waitsFor, problem, onEnd }: DirectoryLock,
	{ config, role }: RolePlan,
	{ logger }: Pick<Log, "logger">,
): void {
	const unlockable = (why: string) =>
		logger.info(`${config.data_dir} can't be locked (${why}): no other ${role} is kept from using it`);
	if (problem !== undefined) unlockable(problem);
	if (waitsFor === undefined) return;
	logger.warn(
		`another ${role} still holds ${config.data_dir} (${waitsFor}); this one waits for it (ROUTER_SUCCESSOR=1), and both write until then`,
	);
	onEnd((why) => {
		if (why === undefined) logger.info(`${config.data_dir} is held by this ${role} now`);
		else unlockable(why);
	});
}

/** The gate, and the key that was made for it. */
function door({ config, keys, made, generatesKey, guest }: RolePlan): { gate: Gate; generated?: GeneratedKey } {
	if (!generatesKey) return { gate: createGate(keys, undefined, guest, made) };
	const generated = generatedKey(config.data_dir);
	return { gate: createGate([], generated.hash, undefined, made), generated };
}

/** Keeps a new key, and says in the banner what it is. */
function linesOf({ secret, keep }: GeneratedKey): string[] {
	if (!secret) return [];
	const problem = keep();
	const shown = `API key  ${secret}   (made now, shown only this once)`;
	return problem ? [shown, `         it can't be kept (${problem}): the next start makes another`] : [shown];
}

/** What the banner adds where a directory, or the nearest one above it, can't be written; "" where it can. */
function unwritableNote(directory: string): string {
	const code = unwritable(directory);
	return code ? `   (can't be written: ${code}; what is new waits in memory until it can)` : "";
}
