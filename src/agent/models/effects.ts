/** Carries out what the supervisor decides. One effect a replica at a time; each ends, well or with a reason. */
import type { Environment } from "../../config/interpolate.ts";
import type { Docker } from "../docker/docker.ts";
import { DockerError } from "../docker/docker-error.ts";
import { pullProgress } from "../docker/docker-output.ts";
import { isEngineError } from "../docker/engine-watch.ts";
import { readGpuProcesses } from "../gpu/gpu.ts";
import type { Problem } from "../problem.ts";
import { diagnose } from "../vllm/vllm-log.ts";
import { setSleep, type VllmEndpoint } from "../vllm/vllm-probe.ts";
import type { RunCommand } from "./container-spec.ts";
import type { Action, ObservedContainer } from "./supervisor.ts";

/** Lines of a log that are read for the reason of a failure, and kept once its container is gone. */
const LOG_LINES = 500;
/** How long waking or falling asleep may take, ms: 100 GB of weights over PCIe. */
const SLEEP_TIMEOUT_MS = 120_000;
/** Other ports to try where one is taken between its choice and its use. */
const MAX_PORT_TRIES = 5;
/** A container that failed has nothing left to finish, s; one that is told to go has had its time to drain. */
const FAILED_GRACE_S = 5;
const MAX_GRACE_S = 15;

/** How an effect ended. */
export type EffectResult =
	| { readonly ended: "well" }
	/** For the next try's backoff. */
	| { readonly ended: "failed"; readonly problem: Problem }
	/** Docker itself is away: no fault of the replica's. */
	| { readonly ended: "engine"; readonly error: DockerError };

/** What effects work with. */
export interface EffectTools {
	readonly docker: Docker;
	/** Of the agent: PATH for nvidia-smi. */
	readonly env: Environment;
	/** The arguments of `docker run` for a replica on a port, and their variables. */
	readonly runOf: (key: string, port: number) => RunCommand | undefined;
	readonly graceOf: (key: string) => number;
	readonly vllmOf: (id: string) => VllmEndpoint | undefined;
	readonly imageIsThere: (image: string, isThere: boolean) => void;
	/** `over`: no pull of it runs any more. */
	readonly pulling: (image: string, percent: number | undefined | "over") => void;
	readonly onSlept: (id: string, what: "asleep" | "up") => void;
	readonly onSick: (id: string, why: Problem) => void;
	/** The last words of a container that is gone. */
	readonly keepLog: (key: string, lines: readonly string[]) => void;
	readonly signal: AbortSignal;
}

/** Never rejects. `seen`: the container that the action is about. */
export async function performEffect(
	action: Action,
	seen: (ObservedContainer & { readonly exitCode: number; readonly oomKilled: boolean }) | undefined,
	tools: EffectTools,
): Promise<EffectResult> {
	try {
		switch (action.do) {
			case "pull":
				await pull(action.image, tools);
				return { ended: "well" };
			case "start":
				return await start(action.key, tools);
			case "stop":
				return await stop(action, seen, tools);
			case "sleep":
			case "wake":
				return await sleep(action, tools);
		}
	} catch (error) {
		if (isEngineError(error)) return { ended: "engine", error };
		if (error instanceof DockerError) return { ended: "failed", problem: { reason: error.message, fix: error.fix } };
		throw error;
	}
}

async function pull(image: string, { docker, imageIsThere, pulling, signal }: EffectTools): Promise<void> {
	if (!(await docker.hasImage(image))) {
		const percent = pullProgress();
		pulling(image, undefined);
		try {
			await docker.pull(image, (line) => pulling(image, percent(line)), signal);
		} finally {
			pulling(image, "over");
		}
	}
	imageIsThere(image, true);
}

async function start(key: string, { docker, runOf, imageIsThere }: EffectTools): Promise<EffectResult> {
	for (let tries = 1; ; tries++) {
		const run = runOf(key, freePort());
		if (!run) return { ended: "well" };
		try {
			await docker.run(run.args, run.env);
			return { ended: "well" };
		} catch (error) {
			if (!(error instanceof DockerError)) throw error;
			if (error.problem === "port-taken" && tries < MAX_PORT_TRIES) continue;
			// It was removed behind our back: it is pulled again.
			if (error.problem === "no-image") imageIsThere(run.image, false);
			throw error;
		}
	}
}

async function stop(
	{ key, id, failed }: Action & { do: "stop" },
	seen: (ObservedContainer & { readonly exitCode: number; readonly oomKilled: boolean }) | undefined,
	{ docker, env, graceOf, keepLog }: EffectTools,
): Promise<EffectResult> {
	let outcome: EffectResult = { ended: "well" };
	if (failed) {
		const lines = await lastLines(docker, id);
		keepLog(key, lines);
		const hasEnded = seen !== undefined && seen.state !== "running";
		const holders = await readGpuProcesses(env, 5000);
		const known = hasEnded ? { exitCode: seen.exitCode, oomKilled: seen.oomKilled, holders } : { holders };
		const said = diagnose(lines, known);
		if (said && hasEnded) outcome = { ended: "failed", problem: said };
		else if (hasEnded) outcome = { ended: "failed", problem: exitProblem(seen.exitCode) };
		// Ill, not ended: why it is ill is known, and its log may say more.
		else if (said && seen?.problem) {
			outcome = {
				ended: "failed",
				problem: { reason: `${seen.problem.reason} (its log: ${said.reason})`, fix: said.fix },
			};
		}
	}
	if (seen?.state === "running") await docker.stop(id, failed ? FAILED_GRACE_S : Math.min(MAX_GRACE_S, graceOf(key)));
	await docker.remove(id);
	return outcome;
}

async function sleep(
	{ do: what, id }: Action & { do: "sleep" | "wake" },
	{ vllmOf, onSlept, onSick }: EffectTools,
): Promise<EffectResult> {
	const vllm = vllmOf(id);
	if (!vllm) return { ended: "well" };
	try {
		await setSleep(vllm, what, SLEEP_TIMEOUT_MS);
		onSlept(id, what === "sleep" ? "asleep" : "up");
	} catch (error) {
		const verb = what === "sleep" ? "go to sleep" : "wake";
		onSick(id, {
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
		// A container that is gone has no log; any other reason is told by what comes next.
		if (!(error instanceof DockerError)) throw error;
	}
	return lines;
}

function exitProblem(exitCode: number): Problem {
	const reason = `its container ended with exit code ${exitCode} and logged no error`;
	if (exitCode === 0)
		return { reason: "its container ended by itself, with exit code 0", fix: "see its log: GET /models/{name}/logs" };
	return { reason, fix: "see its log: GET /models/{name}/logs" };
}

/** A port that nobody listens on at this moment. */
function freePort(): number {
	const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	const { port } = listener;
	listener.stop(true);
	return port;
}
