/**
 * `router doctor`: a page of facts for a report of a fault, and what looks wrong with its fix. Starts nothing, changes nothing, calls no vendor;
 * no secret and nothing of a prompt is in it.
 */
import { existsSync, statfsSync, statSync } from "node:fs";
import { availableParallelism, homedir, release, totalmem, uptime } from "node:os";
import { join } from "node:path";
import { engineFacts } from "../../agent/docker/engine-facts.ts";
import { readGpus } from "../../agent/gpu/gpu.ts";
import { GIB } from "../../agent/gpu/memory.ts";
import type { Environment } from "../../config/interpolate.ts";
import type { Loaded } from "../../config/load.ts";
import { settingRows } from "../../config/setting-rows.ts";
import { describeProviders } from "../../providers/registry.ts";
import { checkRouter, targetsNotReady } from "../../server/router-plan.ts";
import { workerCount } from "../../server/threads/worker-count.ts";
import { unwritable } from "../../store/private-file.ts";
import { VERSION } from "../../version.ts";
import { healthCommand } from "../health-command.ts";
import { table } from "../table.ts";
import { type PagePart, pageOf } from "./doctor-page.ts";
import { loggedFaults } from "./faults.ts";
import { redisFacts } from "./redis-facts.ts";
import { scrubbed, secretsOf, secretVariables } from "./scrub.ts";

/** How long a program or server is waited for, ms. */
const PATIENCE_MS = 5_000;
/** Less room than this is said to be wrong, bytes: the ledger and the logs grow by some GB at most. */
const LITTLE_ROOM = 2 * GIB;
/** Variables that say how the router, and what it runs, behave here. Their names alone are shown: a value may be a secret. */
const OF_INTEREST =
	/^(ROUTER_|REDIS_URL|LLMD_|LOCAL_AGENT_|VLLM_|HF_|DOCKER_|CONTAINER_HOST|OTEL_|HOST$|PORT$|DATA_DIR|LOG_|TRUSTED_|CORS_|CUDA_VISIBLE|NVIDIA_VISIBLE|BUN_|MIMALLOC_|NODE_|(HTTPS?|NO|ALL)_PROXY$|STATE_DIRECTORY|NOTIFY_SOCKET|KUBERNETES_SERVICE_HOST|.*_API_KEY$|.*_BASE_URL$)/i;

/** What the page is made from. */
export interface DoctorInput {
	/** Loads the configuration; rejects with its mistakes. */
	readonly load: () => Promise<{ readonly loaded: Loaded; readonly variables: Environment }>;
	readonly env: Environment;
}

/** The page, with a line end. Never rejects: what can't be found out is said in its place. */
export async function doctorPage({ load, env }: DoctorInput): Promise<string> {
	const configured = await load().catch((error: unknown) => messageOf(error));
	const variables = typeof configured === "string" ? env : configured.variables;
	const sections: PagePart[] = [
		programSection(),
		typeof configured === "string"
			? { title: "Configuration", lines: [], wrong: configured.split("\n") }
			: configurationSection(configured.loaded, variables),
		variablesSection(variables),
	];
	if (typeof configured !== "string") {
		const { loaded } = configured;
		sections.push(
			await foundOut("Server", () => serverSection(loaded)),
			await foundOut("Directories", () => directorySection(loaded.config)),
			await foundOut("Redis", () => redisFacts(loaded.config)),
			await foundOut("Containers and GPUs", () => engineSection(loaded, variables)),
			faultsSection(loaded.config.log.dir),
		);
	}
	const secrets = [
		...secretVariables(env),
		...secretVariables(variables),
		...(typeof configured === "string" ? [] : secretsOf(configured.loaded.config)),
	];
	return scrubbed(pageOf(sections), secrets, env["HOME"] ?? homedir());
}

/** A part that fails must not take the others with it: just then the page is wanted. */
async function foundOut(title: string, make: () => PagePart | Promise<PagePart>): Promise<PagePart> {
	try {
		return await make();
	} catch (error) {
		return { title, lines: [`can't be found out: ${messageOf(error)}`] };
	}
}

const rowsOf = (rows: readonly (readonly string[])[]) => table(rows).trimEnd().split("\n");

function programSection(): PagePart {
	const memory = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
	const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
	return {
		title: "Program",
		lines: rowsOf([
			["router", `${VERSION}, ${Bun.isStandaloneExecutable ? "the executable" : "from source"}, Bun ${Bun.version}`],
			["system", `${process.platform} ${process.arch}, ${release()}`],
			[
				"machine",
				`${availableParallelism()} CPUs, ${(memory / GIB).toFixed(1)} GiB of memory, up for ${Math.round(uptime() / 3600)} h`,
			],
			["clock", `${new Date().toISOString()}, time zone ${zone}`],
			["user", process.getuid?.() === 0 ? "root" : "not root"],
		]),
	};
}

/** What is set, and what `router check` would find wrong with it, without asking any vendor. */
function configurationSection(loaded: Loaded, variables: Environment): PagePart {
	const { config, role, warnings } = loaded;
	const isAgent = role === "agent";
	const wrong = warnings.map(({ path, message }) => `${path}: ${message}`);
	try {
		if (!isAgent) {
			checkRouter(config, variables);
			wrong.push(...targetsNotReady(config, variables));
		}
		const rows = settingRows(loaded, isAgent ? undefined : workerCount(config));
		const set = rows.filter(([, , from]) => from !== "default");
		const providers = isAgent ? [] : describeProviders(config, variables).filter(({ state }) => state === "ready");
		const lines = [
			`role ${role}, ${loaded.file === undefined ? "no file" : loaded.file}; ${rows.length - set.length} settings are as by default, and these are not:`,
			...(set.length > 0 ? rowsOf(set) : ["none"]),
			`providers that are ready: ${providers.map(({ name }) => name).join(", ") || "none"}`,
		];
		return { title: "Configuration", lines, wrong };
	} catch (error) {
		return { title: "Configuration", lines: [], wrong: [...wrong, ...messageOf(error).split("\n")] };
	}
}

function variablesSection(env: Environment): PagePart {
	const names = Object.keys(env)
		.filter((name) => env[name] && OF_INTEREST.test(name))
		.sort();
	return { title: "Variables that are set (names alone)", lines: names.length > 0 ? [names.join(", ")] : ["none"] };
}

async function serverSection(loaded: Loaded): Promise<PagePart> {
	const title = "Server";
	const what = loaded.role === "agent" ? "agent" : "router";
	try {
		await healthCommand(loaded);
		return { title, lines: [`the ${what} of this configuration runs and takes calls`] };
	} catch (error) {
		const why = messageOf(error);
		// A page may be wanted of a machine where nothing runs: that alone is no fault.
		const isSilent = why.startsWith("nothing answers");
		return {
			title,
			lines: [why],
			...(isSilent
				? {}
				: { wrong: [`${why}: something else may have the port; \`server.port\` (PORT) is another one`] }),
		};
	}
}

function directorySection({ data_dir, log }: Loaded["config"]): PagePart {
	const wrong: string[] = [];
	const rows = [
		["data_dir", data_dir],
		["log.dir", log.dir],
	].map(([setting, path]): [string, string] => {
		const reason = unwritable(path!);
		if (reason)
			wrong.push(
				`${setting} can't be written (${reason}): give it another directory, or the user the right to write there`,
			);
		const room = roomAt(path!);
		if (room !== undefined && room < LITTLE_ROOM)
			wrong.push(
				`${setting} has ${(room / GIB).toFixed(1)} GiB of room: make some, or lower \`usage.size\`, \`responses.size\` and \`log.keep\``,
			);
		const there = existsSync(path!) ? "there" : "not there yet";
		return [
			setting!,
			`${path}: ${there}${reason ? `, not writable (${reason})` : ""}${room === undefined ? "" : `, ${(room / GIB).toFixed(1)} GiB of room`}`,
		];
	});
	const files = ["router.db", "router.db-wal"].flatMap((name): [string, string][] => {
		const size = sizeOf(join(data_dir, name));
		return size === undefined ? [] : [[name, `${(size / 1024 ** 2).toFixed(1)} MiB`]];
	});
	return { title: "Directories", lines: rowsOf([...rows, ...files]), wrong };
}

/** Bytes of a file; undefined where there is none, or none that may be seen. */
function sizeOf(file: string): number | undefined {
	try {
		return statSync(file).size;
	} catch {
		return undefined;
	}
}

/** Bytes that can be written to the nearest directory that is there; undefined where that can't be seen. */
function roomAt(path: string): number | undefined {
	try {
		const { bavail, bsize } = statfsSync(existsSync(path) ? path : join(path, ".."));
		return bavail * bsize;
	} catch {
		return undefined;
	}
}

async function engineSection({ config, role }: Loaded, env: Environment): Promise<PagePart> {
	const [engine, { gpus, problem }] = await Promise.all([
		engineFacts(config.agent.docker, env, PATIENCE_MS),
		readGpus(env, PATIENCE_MS),
	]);
	const gpuRows = gpus.map(({ index, name, memory_total, memory_used }): [string, string] => [
		`GPU ${index}`,
		`${name}, ${(memory_used / GIB).toFixed(1)} of ${(memory_total / GIB).toFixed(1)} GiB used`,
	]);
	// A router alone needs no engine.
	const isNeeded = role !== "router";
	return {
		title: "Containers and GPUs",
		lines: rowsOf([
			["engine", engine.text ?? engine.problem ?? "unknown"],
			...(gpuRows.length > 0 ? gpuRows : [["GPUs", `none: ${problem ?? "no nvidia-smi"}`] as [string, string]]),
		]),
		...(isNeeded && engine.problem !== undefined && { wrong: [`${engine.problem}: ${engine.fix}`] }),
	};
}

function faultsSection(directory: string): PagePart {
	const faults = loggedFaults(directory);
	return {
		title: "Last warnings and errors of the logs",
		lines:
			faults.length === 0
				? ["none"]
				: faults.map(
						({ time, level, message, cause, count }) =>
							`${time} ${level} ${message}${cause === undefined ? "" : ` (${cause})`}${count > 1 ? `, ${count} times` : ""}`,
					),
	};
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : "failed for an unknown reason");
