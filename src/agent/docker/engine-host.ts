/** Which engine the Docker CLI talks to, as far as its environment says. */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import type { Environment } from "../../config/interpolate.ts";

/** Docker listens there unless DOCKER_HOST is set. */
const DEFAULT_SOCKET = "/var/run/docker.sock";
/** Each container has one of them: Docker's, podman's. */
const CONTAINER_MARKS = ["/.dockerenv", "/run/.containerenv"];

/** The engine of an environment. */
export interface EngineHost {
	/** Its address, one spelling for all that name the same socket. */
	readonly address: string;
	/** It mounts the files that this process sees: it is neither on another machine nor outside of this process's container. */
	readonly isHere: boolean;
	/** Paths of its sockets on this host. */
	readonly sockets: readonly string[];
}

/** The command that really runs: `docker` may be podman's stand-in for it (podman-docker), which has podman's flags and words. Never throws. */
export function engineCommand(configured: "docker" | "podman", env: Environment): "docker" | "podman" {
	const path = { PATH: env["PATH"] ?? "" };
	const program = configured === "docker" ? Bun.which("docker", path) : null;
	if (!program || !Bun.which("podman", path)) return configured;
	const file = resolved(program);
	if (basename(file).startsWith("podman")) return "podman";
	try {
		// Docker's own client is a binary of many megabytes.
		if (statSync(file).size > MAX_SCRIPT) return configured;
		return STAND_IN.test(readFileSync(file, "utf8")) ? "podman" : configured;
	} catch {
		return configured;
	}
}

/** A script that hands its arguments to podman. */
const STAND_IN = /^#![\s\S]*\bexec\s+["']?(?:[\w./-]*\/)?podman["']?\s/;
const MAX_SCRIPT = 64 * 1024;

/** Whose engine a command talks to: Docker's client may talk to podman's socket. */
export function engineOf(command: "docker" | "podman", env: Environment): "docker" | "podman" {
	return command === "podman" || /podman/.test(env["DOCKER_HOST"] ?? "") ? "podman" : "docker";
}

/**
 * Whether the engine is root's, as far as can be seen: podman without a service is this process's user's, one with a socket its owner's. Until
 * the socket is there, as at boot, that is the owner of the nearest directory above it: `/run/user/<uid>` is the user's. One on another machine counts
 * as root's. Never throws.
 */
export function isRootsEngine(command: "docker" | "podman", env: Environment): boolean {
	const given = addressIn(command, env);
	if (!given && command === "podman") return process.getuid?.() === 0;
	const [path] = engineHost(command, env).sockets;
	return path === undefined || ownerOf(path) === 0;
}

/** User id of whom a path belongs to, or the nearest directory above it where it is not there; root's where that can't be seen. */
function ownerOf(path: string): number {
	try {
		return statSync(path).uid;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "ENOENT" && path !== "/" ? ownerOf(dirname(path)) : 0;
	}
}

/** The engine's address as the environment has it. */
function addressIn(command: "docker" | "podman", env: Environment): string | undefined {
	return command === "docker" ? env["DOCKER_HOST"] : (env["CONTAINER_HOST"] ?? env["DOCKER_HOST"]);
}

/** Reads the file system, not the engine. Never throws. */
export function engineHost(command: "docker" | "podman", env: Environment): EngineHost {
	const given = addressIn(command, env);
	if (!given && command === "docker" && env["DOCKER_CONTEXT"]) {
		return { address: `context:${env["DOCKER_CONTEXT"]}`, isHere: false, sockets: [] };
	}
	const path = given ? /^unix:\/\/(\/.*)$/.exec(given)?.[1] : DEFAULT_SOCKET;
	if (path === undefined) return { address: given!, isHere: false, sockets: [] };
	// Without a service podman's containers are those of the user.
	const user = command === "podman" && !given ? process.getuid?.() : 0;
	const socket = resolved(path);
	const address = `unix://${socket === resolved(DEFAULT_SOCKET) ? DEFAULT_SOCKET : socket}${user ? `#${user}` : ""}`;
	return { address, isHere: !isMountedHere(socket), sockets: [...new Set([path, socket])] };
}

/** Whether this is a container that was given the socket, or the directory it is in, by a mount. */
function isMountedHere(socket: string): boolean {
	if (!CONTAINER_MARKS.some((file) => existsSync(file))) return false;
	try {
		// The fifth field is where something is mounted.
		const mounted = readFileSync("/proc/self/mountinfo", "utf8")
			.split("\n")
			.map((line) => line.split(" ")[4]);
		return mounted.includes(socket) || mounted.includes(dirname(socket));
	} catch {
		return true;
	}
}

/** The path without links; as it is where nothing is there. */
function resolved(path: string): string {
	try {
		return realpathSync(path);
	} catch {
		return path;
	}
}
