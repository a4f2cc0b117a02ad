/** Carries out one action of the supervisor: pulls, starts, stops, puts to sleep or wakes. Each ends, well or with a reason. */
import type { Environment } from "../../config/interpolate.ts";
import type { ContainerEnds } from "../docker/container-ends.ts";
import type { Docker } from "../docker/docker.ts";
import { DockerError } from "../docker/docker-error.ts";
import { pullProgress } from "../docker/docker-output.ts";
import { type EndedBy, endedBy, endedByProblem } from "../docker/ended-by.ts";
import { engineOf } from "../docker/engine-host.ts";
import { type EngineWatch, isEngineError } from "../docker/engine-watch.ts";
import { readGpuProcesses } from "../gpu/gpu.ts";
import type { Placer } from "../gpu/placer.ts";
import type { Problem } from "../problem.ts";
import type { KvSockets } from "../vllm/kv-sockets.ts";
import { diagnose } from "../vllm/vllm-log.ts";
import { setSleep } from "../vllm/vllm-probe.ts";
import type { ContainerSpecs } from "./container-spec.ts";
import type { Inventory, InventoryItem } from "./inventory.ts";
import type { Action } from "./replica-state.ts";
import type { WarmUps } from "./warm-ups.ts";

/** Lines of a log that are read for the reason of a failure: it stands above the errors of all calls and workers that it took along. */
const LOG_LINES = 5000;
/** Those that are stored once its container is gone. */
const STORED_LINES = 1000;
/** How long waking or falling asleep may take, ms: all weights go over PCIe. */
const SLEEP_TIMEOUT_MS = 120_000;
/** Ports to try: one may be taken between its choice and its use. */
const MAX_PORT_TRIES = 5;
/** Seconds between SIGTERM and SIGKILL: a container that failed has nothing left to finish, any other one had its time to drain. */
const FAILED_GRACE_S = 5;
const MAX_GRACE_S = 15;
/** How long `nvidia-smi` may take to list processes, ms. */
const PROCESSES_TIMEOUT_MS = 5000;

/** How an effect ended. */
export type EffectResult =
	| { readonly ended: "well" }
	/** Counts as a failure of the replica. */
	| { readonly ended: "failed"; readonly problem: Problem }
	/** Docker itself is away: no failure of the replica. */
	| { readonly ended: "engine"; readonly error: DockerError };

/** What effects have found out; read by decisions and views. */
export class EffectRecords {
	/** Images known to be there. */
	readonly images = new Set<string>();
	/** Images that are being pulled, and how far that is in percent, where the pull says. */
	readonly pulls = new Map<string, number | undefined>();
	/** The last lines of containers that are gone, by replica key. */
	readonly lastLogs = new Map<string, readonly string[]>();
	/** Ids of containers that the agent itself is stopping: nobody else did. */
	readonly stopping = new Set<string>();
}

/** What effects work with. */
export interface EffectTools {
	readonly docker: Docker;
	/** Of the agent: PATH for nvidia-smi. */
	readonly env: Environment;
	readonly specs: ContainerSpecs;
	readonly kvSockets: KvSockets;
	readonly placer: Placer;
	readonly inventory: Inventory;
	readonly records: EffectRecords;
	readonly engine: Pick<EngineWatch, "wasAwayAt">;
	/** What engines compute ahead ends before they are put to sleep. */
	readonly warmUps: Pick<WarmUps, "stopped">;
	/** Hears of engines that died before their containers are stopped, and of those that are. */
	readonly ends: Pick<ContainerEnds, "engineDied" | "explained" | "stopping">;
	/** Gives up pulls; other effects end by themselves. */
	readonly signal: AbortSignal;
}

/** Never rejects for what Docker or vLLM do. `item`: the container that the action is about. */
export async function performEffect(
	action: Action,
	item: InventoryItem | undefined,
	tools: EffectTools,
): Promise<EffectResult> {
	try {
		switch (action.do) {
			case "pull":
				return await pull(action, tools);
			case "start":
				return await start(action.key, tools);
			case "stop":
				return await stop(action, item, tools);
			case "sleep":
			case "wake":
				return await sleepOrWake(action, tools);
		}
	} catch (error) {
		if (isEngineError(error)) return { ended: "engine", error };
		if (error instanceof DockerError) return { ended: "failed", problem: { reason: error.message, fix: error.fix } };
		throw error;
	}
}

async function pull(
	{ key, image }: Action & { do: "pull" },
	{ docker, specs, records, signal }: EffectTools,
): Promise<EffectResult> {
	// An image of many gigabytes is not pulled for a container that can't be made.
	const problem = await specs.filesProblem(key);
	if (problem) return { ended: "failed", problem };
	if (!(await docker.hasImage(image))) {
		const percent = pullProgress();
		records.pulls.set(image, undefined);
		try {
			await docker.pull(image, (line) => void records.pulls.set(image, percent(line)), signal);
		} finally {
			records.pulls.delete(image);
		}
	}
	records.images.add(image);
	return { ended: "well" };
}

async function start(key: string, tools: EffectTools): Promise<EffectResult> {
	const { docker, specs, placer, records, kvSockets } = tools;
	const problem = await specs.filesProblem(key);
	if (problem) return { ended: "failed", problem };
	for (let tries = 1; ; tries++) {
		const kvEvents = specs.publishesKvEvents(key) ? await kvSockets.make() : undefined;
		const placement = placer.placement(key);
		const run = placement && specs.run(key, placement, { port: freePort(), kvEvents });
		let hasStarted = false;
		try {
			if (run) await docker.run(run.args, run.env);
			hasStarted = run !== undefined;
			return { ended: "well" };
		} catch (error) {
			if (!(error instanceof DockerError)) throw error;
			if (error.kind === "port-taken" && tries < MAX_PORT_TRIES) continue;
			// The image was removed: it is pulled again.
			if (error.kind === "no-image") records.images.delete(run!.image);
			throw error;
		} finally {
			if (!hasStarted && kvEvents !== undefined) await kvSockets.remove(kvEvents);
		}
	}
}

async function stop(
	{ key, id, failed }: Action & { do: "stop" },
	item: InventoryItem | undefined,
	tools: EffectTools,
): Promise<EffectResult> {
	const { docker, env, specs, records, ends } = tools;
	let result: EffectResult = { ended: "well" };
	if (failed) {
		const lines = await lastLines(docker, id);
		records.lastLogs.set(key, lines.slice(-STORED_LINES));
		const hasEnded = item !== undefined && item.state !== "running";
		const holders = await readGpuProcesses(env, PROCESSES_TIMEOUT_MS);
		const { command } = specs;
		const whose = engineOf(command, env);
		const known = {
			command,
			memoryLimit: specs.memoryLimit(key),
			holders,
			...(hasEnded && { exitCode: item.exitCode, oomKilled: item.oomKilled }),
		};
		const end = hasEnded ? await endOf(item, tools) : undefined;
		const cause = end ? endedByProblem(end, whose) : diagnose(lines, known);
		if (hasEnded) result = { ended: "failed", problem: cause ?? exitProblem(item, whose) };
		// Unhealthy, not ended: that is known, and its log may say more.
		else if (cause && item?.problem) {
			const reason = `${item.problem.reason} (its log: ${cause.reason})`;
			result = { ended: "failed", problem: { reason, fix: cause.fix } };
		}
		ends.explained(id, hasEnded && result.ended === "failed" ? result.problem.reason : cause?.reason);
	}
	if (item?.state === "running") {
		if (item.health === "dead") ends.engineDied(id);
		ends.stopping(id);
		records.stopping.add(id);
		await docker.stop(id, failed ? FAILED_GRACE_S : Math.min(MAX_GRACE_S, specs.stopGrace(key)));
	}
	await docker.remove(id);
	if (item?.kvEvents) await tools.kvSockets.remove(item.kvEvents.directory);
	records.stopping.delete(id);
	return result;
}

/** Who ended it, where it did not end by itself and the engine knows. */
async function endOf(
	{ id, state, exitCode, oomKilled, ran }: InventoryItem,
	{ docker, env, specs, records, engine }: EffectTools,
): Promise<EndedBy | undefined> {
	if (state === "created" || oomKilled || records.stopping.has(id)) return undefined;
	try {
		const events = await docker.pastEvents(id, ran.from);
		const whose = engineOf(specs.command, env);
		return endedBy(events, { engine: whose, exitCode, engineWasAway: engine.wasAwayAt(ran.to) });
	} catch (error) {
		// Not known then. Where the engine is away, the removal that follows says so.
		if (!(error instanceof DockerError)) throw error;
		return undefined;
	}
}

async function sleepOrWake(
	{ do: what, id }: Action & { do: "sleep" | "wake" },
	{ inventory, warmUps }: EffectTools,
): Promise<EffectResult> {
	const vllm = inventory.items.find((item) => item.id === id)?.vllm;
	if (!vllm) return { ended: "well" };
	try {
		if (what === "sleep") await warmUps.stopped(id);
		await setSleep(vllm, what, SLEEP_TIMEOUT_MS);
		inventory.monitor(id)?.setHealth(what === "sleep" ? "asleep" : "up");
	} catch (error) {
		const verb = what === "sleep" ? "go to sleep" : "wake";
		inventory.monitor(id)?.markDead({
			reason: `it did not ${verb}: ${(error as Error).message}`,
			fix: "it is started anew; set `agent.sleep: false` if it comes again",
		});
	}
	return { ended: "well" };
}

async function lastLines(docker: Docker, id: string): Promise<string[]> {
	const lines: string[] = [];
	try {
		for await (const line of docker.logs(id, { tail: LOG_LINES })) lines.push(line);
	} catch (error) {
		// A container that is gone has no log. After any other error the stop that follows fails too, and reports it.
		if (!(error instanceof DockerError)) throw error;
	}
	return lines;
}

function exitProblem({ state, exitCode }: InventoryItem, engine: "docker" | "podman"): Problem {
	const fix = "see its log: GET /models/{name}/logs";
	if (state === "created")
		return { reason: "its container was made and never started", fix: "nothing: it is made anew" };
	// vLLM ends with these when it gets SIGTERM, and else never.
	if ((exitCode === 0 || exitCode === 143) && engine === "podman") {
		return {
			reason: "its container was told to end: by `podman stop`, or with the last session of its user",
			fix: "nothing: it is started again. `loginctl enable-linger` keeps a user's containers running after the logout",
		};
	}
	if (exitCode === 0 || exitCode === 143) {
		return { reason: `vLLM was told to end (SIGTERM), but not by ${engine}`, fix: "nothing: it is started again" };
	}
	if (exitCode === 126 || exitCode === 127) {
		return {
			reason: `there is no \`vllm\` in its image, or it can't be run there (exit code ${exitCode})`,
			fix: "name an image of vLLM's by `agent.image` or the model's `image`; it must be for this machine's processor",
		};
	}
	return { reason: `its container ended with exit code ${exitCode} and logged no error`, fix };
}

/** A port that nobody listens on at this moment. */
function freePort(): number {
	const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	listener.stop(true);
	return listener.port;
}
