/** Directories and files of the host that a model's containers read: adapters, chat templates, plugins. Named by the configuration alone. */
import { realpath, stat } from "node:fs/promises";
import type { Finding } from "../../config/config-error.ts";
import type { EngineHost } from "../docker/engine-host.ts";
import type { Problem } from "../problem.ts";
import type { ModelSpec } from "./model-spec.ts";

/** One of `mounts`, read-only. */
interface Mount {
	/** On the host. */
	readonly source: string;
	/** In the container. */
	readonly target: string;
	/** SELinux: containers may read it (`z`). */
	readonly isRelabelled: boolean;
}

/** `/adapters:/adapters`, with `:ro` or `:z` or both behind it. */
const MOUNT = /^(\/[^:,]*):(\/[^:,]*)(?::([A-Za-z,]+))?$/;
const PATH = /^(?:\/[A-Za-z0-9_.][A-Za-z0-9._ @+=-]*)+$/;
const MAX_PATH = 4096;

/** Where the image and the agent have files of their own: a mount there would hide them. */
const CACHES = ["/root/.cache/huggingface", "/root/.cache/vllm"];
const SYSTEM = /^\/(?:bin|boot|etc|home|lib|lib64|opt|root|run|sbin|tmp|usr|usr\/(?:bin|lib|local|sbin)|var)?$/;
const KERNEL = /^\/(?:dev|proc|sys)(?:\/|$)/;
/** Whoever reaches one of these is root on the host; a read-only mount hinders nobody from connecting. */
const ENGINE_SOCKETS = [
	"/run/docker.sock",
	"/run/podman/podman.sock",
	"/run/containerd/containerd.sock",
	"/run/crio/crio.sock",
];
/** Those of the engines that users run for themselves are there; it holds no files to mount. */
const USERS_RUNTIME = /^\/run\/user(?:\/|$)/;

/** What would be given with a directory that holds a socket of the engine. */
const ENGINE = "would give the container the engine's socket, and with it the whole host";

/** Why a model's `mounts` are refused: a finding for each that can't be used. */
export function mountsProblems({ mounts = [], model }: ModelSpec): Finding[] {
	const targets = new Set<string>();
	return mounts.flatMap((text, index) => {
		const problem = mountProblem(text, model);
		const { target } = mountOf(text);
		const isTwice = problem === undefined && targets.has(target);
		targets.add(target);
		if (problem === undefined && !isTwice) return [];
		const message = isTwice ? `${target} is named twice` : `${JSON.stringify(text.slice(0, 200))} ${problem}`;
		return [{ path: ["mounts"], at: ["mounts", index], message }];
	});
}

/** Why the directory that is a model can't be mounted, where its container has it, too: at the same place. Undefined where it can. */
export function modelMountProblem(path: string): string | undefined {
	const plain = path.replace(/(?<=.)\/+$/, "");
	if (reachesEngine(plain)) return ENGINE;
	if (KERNEL.test(plain)) return "holds no files of yours";
	if (SYSTEM.test(plain)) return "would hide that directory of the image";
	const hidden = CACHES.find((cache) => isWithin(cache, plain));
	return hidden && `would lie over ${hidden}, which the agent mounts`;
}

function mountProblem(text: string, model: string): string | undefined {
	const found = MOUNT.exec(text);
	if (!found) return "is no mount: write /directory/on/the/host:/directory/in/the/container, both absolute";
	const { source, target } = mountOf(text);
	const words = (found[3] ?? "").split(",").filter((word) => word !== "");
	if (words.includes("rw")) return "can't be writable: containers read what is mounted, and `rw` has to go";
	const other = words.find((word) => word !== "ro" && word !== "z");
	if (other !== undefined) return `has the option "${other}", and there are \`ro\` and \`z\` only`;
	if (reachesEngine(source)) return ENGINE;
	for (const path of [source, target]) {
		if (path.length > MAX_PATH || !PATH.test(path) || path.split("/").some((part) => /^\.{1,2}$/.test(part))) {
			return `names ${path}, which is no absolute path without \`.\` and \`..\`, of letters, digits and . _ - @ + =`;
		}
	}
	if (KERNEL.test(source)) return `names ${source}, which holds no files of yours`;
	if (SYSTEM.test(target) || KERNEL.test(target)) return `would hide ${target} of the image`;
	const own = [...CACHES, ...(model.startsWith("/") ? [model] : [])];
	const hidden = own.find((path) => isWithin(path, target) || isWithin(target, path));
	return hidden === undefined ? undefined : `would lie over ${hidden}, which the agent mounts`;
}

/** Whether a path is the engine's socket, or a directory above it. */
function reachesEngine(path: string, sockets: readonly string[] = []): boolean {
	const plain = withoutVar(path);
	const all = [...ENGINE_SOCKETS, ...sockets.map(withoutVar)];
	// A link leads from /var/run to /run.
	return path === "/var" || USERS_RUNTIME.test(plain) || all.some((socket) => isWithin(socket, plain));
}

const withoutVar = (path: string): string => path.replace(/^\/var\/run(?=\/|$)/, "/run");

/** Whether `path` is `directory`, or something below it. */
function isWithin(path: string, directory: string): boolean {
	return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

/** A mount that has passed `mountsProblem`. */
function mountOf(text: string): Mount {
	const [, source = "", target = "", options = ""] = MOUNT.exec(text) ?? [];
	const plain = (path: string) => path.replace(/(?<=.)\/+$/, "");
	return { source: plain(source), target: plain(target), isRelabelled: options.split(",").includes("z") };
}

/** The arguments of `docker run`. */
export function mountArgs({ mounts = [] }: ModelSpec): string[] {
	return mounts.map(mountOf).map(({ source, target, isRelabelled }) => {
		// `--mount` makes no directory where there is none, but only `--volume` has Docker label it for SELinux.
		if (isRelabelled) return `--volume=${source}:${target}:ro,z`;
		return `--mount=type=bind,source=${source},target=${target},readonly`;
	});
}

/** Whether a path is a socket, or a link to one or to a directory with one of the engine's. Rejects where it can't be looked at. */
async function leadsToSocket(path: string, { sockets }: EngineHost): Promise<boolean> {
	const real = await realpath(path);
	return (await stat(real)).isSocket() || reachesEngine(real, sockets);
}

/**
 * Why what a model mounts can't be mounted now: it is not there, or a link that leads to the engine's socket. Undefined where it can,
 * and where this is not the host whose files the engine mounts.
 */
export async function mountedFilesProblem(
	{ mounts = [], model }: ModelSpec,
	engine: EngineHost,
): Promise<Problem | undefined> {
	if (!engine.isHere) return undefined;
	if (model.startsWith("/") && (await leadsToSocket(model, engine).catch(() => false))) {
		return {
			reason: `${model}, which \`model\` names, leads to a socket`,
			fix: "name the directory with the model's files alone (`agent.models[].model`)",
		};
	}
	for (const { source } of mounts.map(mountOf)) {
		try {
			if (!(await leadsToSocket(source, engine))) continue;
			return {
				reason: `${source}, which \`mounts\` names, leads to a socket`,
				fix: "mount the directory with the files alone (`agent.models[].mounts`)",
			};
		} catch (error) {
			const { code } = error as NodeJS.ErrnoException;
			// What this user may not look at the engine may mount.
			if (code !== "ENOENT" && code !== "ENOTDIR") continue;
			return {
				reason: `${source}, which \`mounts\` names, does not exist on this host`,
				fix: `make it (\`mkdir -p ${source}\`) and put the files there, or correct \`agent.models[].mounts\``,
			};
		}
	}
	return undefined;
}
