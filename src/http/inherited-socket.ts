/**
 * A listening socket that another program has opened for this process, as systemd does for a `.socket` unit (sd_listen_fds(3)): it stays open while
 * the router restarts, and connections wait there.
 *
 * Bun 1.4.5 takes none. So its server listens on a port of loopback first, and this socket then takes the place of that one, under the same
 * descriptor and in the same epoll: from then on Bun accepts its connections as its own, and each thread of several may.
 */
import { isIP } from "node:net";
import type { Environment } from "../config/interpolate.ts";
import { StartError } from "../errors.ts";
import { libc } from "../libc.ts";
import { epolls, registrationsOf } from "./epolls.ts";
import { portSockets } from "./port-sockets.ts";

/** The first descriptor that is passed so. */
const FIRST = 3;
/** Which of several is the router's: `FileDescriptorName=router`, or what systemd calls that of `router.socket` by itself. */
const NAMES: readonly string[] = ["router", "router.socket"];
/** Of Linux's headers. */
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** A socket that is there. */
export interface InheritedSocket {
	readonly descriptor: number;
	/** Where it listens: an address of IPv4 or IPv6. */
	readonly host: string;
	readonly port: number;
}

/** Where the configuration has the router listen. */
interface Wanted {
	readonly host: string;
	/** 0: anywhere. */
	readonly port: number;
}

/** Who is asked for. */
interface Process {
	readonly pid: number;
	/** The process whose place this one takes, where that has started it; else undefined. */
	readonly before?: number | undefined;
}

/**
 * The descriptor that was passed to this process; undefined where none was: what is for another one (`LISTEN_PID`) is in the environment of its
 * children, too. Pure.
 * @throws {StartError} where several were, of which it can't be told which is the router's
 */
export function passedDescriptor(env: Environment, { pid, before }: Process): number | undefined {
	const count = Number(env["LISTEN_FDS"] ?? 0);
	const owner = Number(env["LISTEN_PID"]);
	if (!Number.isSafeInteger(count) || count < 1 || (owner !== pid && owner !== before)) return undefined;
	if (count === 1) return FIRST;
	const names = (env["LISTEN_FDNAMES"] ?? "").split(":").slice(0, count);
	const own = names.flatMap((name, at) => (NAMES.includes(name) ? [FIRST + at] : []));
	if (own.length === 1) return own[0];
	throw new StartError(
		`systemd has opened ${count} sockets (${names.join(", ") || "without names"}), and the router takes one: give that FileDescriptorName=router, and no other.`,
	);
}

/** Why a socket is not the one that the configuration names; undefined where it is. Pure. */
export function addressProblem(found: Wanted, wanted: Wanted): string | undefined {
	const isSame = isSameHost(found.host, wanted.host) && (wanted.port === 0 || found.port === wanted.port);
	if (isSame) return undefined;
	const [there, here] = [written(found), written(wanted)];
	return `systemd has opened a socket on ${there}, and the configuration names ${here} (\`server.host\`, \`server.port\`; HOST, PORT): write ListenStream=${here} into the .socket unit, or set HOST=${found.host} and PORT=${found.port}.`;
}

/** Every address, of IPv4 alone or of both. */
const EVERY: readonly string[] = ["0.0.0.0", "::"];
const LOCALHOST: readonly string[] = ["127.0.0.1", "::1"];

function isSameHost(found: string, wanted: string): boolean {
	const bare = wanted.replace(/^\[(.*)\]$/, "$1");
	if (bare === "localhost") return LOCALHOST.includes(found);
	return plainAddress(found) === plainAddress(bare) || (EVERY.includes(found) && EVERY.includes(bare));
}

/** In its shortest form. */
const plainAddress = (host: string): string =>
	isIP(host) === 6 && !host.includes("%") ? new URL(`http://[${host}]/`).hostname.slice(1, -1) : host;

const written = ({ host, port }: Wanted): string => (isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`);

/**
 * The socket that was opened for this process; undefined where none was.
 * @throws {StartError} where it is no listening socket of TCP, or listens elsewhere than the configuration says
 */
export function inheritedSocket(env: Environment, wanted: Wanted, ids: Process): InheritedSocket | undefined {
	const descriptor = passedDescriptor(env, ids);
	if (descriptor === undefined) return undefined;
	const address = portSockets()?.addressOf(descriptor);
	if (!address) {
		throw new StartError(
			`What systemd has opened for this router (descriptor ${descriptor}) is no socket that listens on a port: write ListenStream=${written(wanted)} into the .socket unit, without Accept=yes.`,
		);
	}
	const problem = addressProblem(address, wanted);
	if (problem !== undefined) throw new StartError(problem);
	return { descriptor, ...address };
}

/**
 * Has Bun's server accept the connections of a socket in place of its own.
 * @param port of the server, which nobody else listens on; it is nobody's afterwards
 * @throws {StartError} where the system does not let that be done, which leaves the server as it is
 */
export function listenOn({ descriptor }: InheritedSocket, port: number): void {
	const system = libc({
		fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
		dup3: { args: ["i32", "i32", "i32"], returns: "i32" },
	});
	const [own] = portSockets()?.count(port).listening ?? [];
	const loops = epolls();
	const [registration, ...others] = own === undefined ? [] : registrationsOf(own);
	if (!system || !loops || own === undefined || !registration || others.length > 0)
		throw unusable("is not found in /proc");
	// Threads, and the process that takes this one's place, are all told of a connection that one of them gets.
	const flags = system.fcntl(descriptor, F_GETFL, 0);
	if (system.fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) throw unusable("can't be changed");
	if (system.dup3(descriptor, own, O_CLOEXEC) < 0) throw unusable("can't be replaced");
	if (!loops.add(own, registration)) throw unusable("can't be waited for");
}

const unusable = (why: string): StartError =>
	new StartError(
		`The socket that systemd has opened can't be used: Bun's own ${why}. Stop the .socket unit, and start the router without it.`,
	);
