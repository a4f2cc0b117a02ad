/**
 * The sockets that this process has on a port, and to which listener of the port Linux gives new connections. Bun says neither: the first is
 * asked of the system, socket by socket; the second is a program of one instruction (classic BPF), as socket(7) has it under
 * `SO_ATTACH_REUSEPORT_CBPF`.
 *
 * Why that: a listener that closes resets what waits in its accept queue, and handshakes under way with it. Where the system gives all new
 * connections to another listener first, the one that closes has accepted all that were its own by then.
 */
import { closeSync, openSync, readdirSync } from "node:fs";
import { libc } from "../libc.ts";
import { epolls, registrationsOf } from "./epolls.ts";

/** Of Linux's headers. */
const AF_INET = 2;
const AF_INET6 = 10;
const SOL_SOCKET = 1;
const SO_ACCEPTCONN = 30;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const SO_DETACH_REUSEPORT_BPF = 68;
const O_CLOEXEC = 0o2000000;
/** The instruction "return this number": `BPF_RET | BPF_K`. */
const RETURN = 0x06;
/** Bytes of the longest socket address, and of `sock_filter` and `sock_fprog` on 64 bits. */
const ADDRESS_BYTES = 128;
const FILTER_BYTES = 8;
const PROGRAM_BYTES = 16;

/** Sockets on a port. */
export interface SocketCount {
	/** File descriptors of those that accept. */
	readonly listening: readonly number[];
	/** How many connections were accepted there and are open. */
	readonly connected: number;
}

/** Looks at the sockets of this process. */
export interface PortSockets {
	count(port: number): SocketCount;
	/** Where a descriptor listens; undefined where it is no listening socket of TCP. */
	addressOf(descriptor: number): { readonly host: string; readonly port: number } | undefined;
	/**
	 * From now on all new connections of the port go to one of its listeners, of whichever process.
	 * @param descriptor any of them that is this process's
	 * @param position of the one that gets them, in the order in which they began to listen; where there is none, all get some
	 * @returns whether the system does that
	 */
	direct(descriptor: number, position: number): boolean;
	/**
	 * Closes a listener that is the port's, and leaves its connections alone: Bun's `stop` resets those that are idle. Its number stands for
	 * `/dev/null` then, until Bun closes that.
	 */
	close(descriptor: number): void;
	/** From now on all listeners of the port get some. */
	spread(descriptor: number): void;
}

/** Undefined where that can't be asked: elsewhere than on Linux. */
export function portSockets(): PortSockets | undefined {
	const system = libc({
		setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
		getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
		getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
		dup3: { args: ["i32", "i32", "i32"], returns: "i32" },
	});
	if (!system) return undefined;
	const { ptr, ...symbols } = system;
	const loops = epolls();
	const address = Buffer.alloc(ADDRESS_BYTES);
	const length = new Uint32Array(1);
	const value = new Int32Array(1);
	const portOf = (descriptor: number): number => {
		length[0] = ADDRESS_BYTES;
		if (symbols.getsockname(descriptor, ptr(address), ptr(length)) !== 0) return 0;
		const family = address.readUInt16LE(0);
		return family === AF_INET || family === AF_INET6 ? address.readUInt16BE(2) : 0;
	};
	const accepts = (descriptor: number): boolean => {
		length[0] = value.byteLength;
		return symbols.getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, ptr(value), ptr(length)) === 0 && value[0] === 1;
	};
	return {
		count(port) {
			const listening: number[] = [];
			let connected = 0;
			for (const name of readdirSync("/proc/self/fd")) {
				const descriptor = Number(name);
				if (portOf(descriptor) !== port) continue;
				if (accepts(descriptor)) listening.push(descriptor);
				else connected++;
			}
			return { listening, connected };
		},
		direct(descriptor, position) {
			const filter = returning(position);
			const program = Buffer.alloc(PROGRAM_BYTES);
			program.writeUInt16LE(1, 0);
			program.writeBigUInt64LE(BigInt(ptr(filter)), 8);
			return symbols.setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, ptr(program), PROGRAM_BYTES) === 0;
		},
		addressOf(descriptor) {
			const port = portOf(descriptor);
			return port === 0 || !accepts(descriptor) ? undefined : { host: hostIn(address), port };
		},
		close(descriptor) {
			// One that other processes have, too, stays in the event loop, which would be told of its connections again and again.
			for (const registration of registrationsOf(descriptor)) loops?.remove(descriptor, registration);
			const nothing = openSync("/dev/null", "r");
			symbols.dup3(nothing, descriptor, O_CLOEXEC);
			closeSync(nothing);
		},
		spread(descriptor) {
			value[0] = 0;
			symbols.setsockopt(descriptor, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, ptr(value), value.byteLength);
		},
	};
}

/** A `sock_filter` that gives all to the listener at this place. */
function returning(position: number): Buffer {
	const filter = Buffer.alloc(FILTER_BYTES);
	filter.writeUInt16LE(RETURN, 0);
	filter.writeUInt32LE(position, 4);
	return filter;
}

/** The address of a `sockaddr_in` or `sockaddr_in6`. */
function hostIn(address: Buffer): string {
	if (address.readUInt16LE(0) === AF_INET) return [...address.subarray(4, 8)].join(".");
	const groups = Array.from({ length: 8 }, (_, at) => address.readUInt16BE(8 + at * 2).toString(16));
	// The short form: "::1".
	return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}
