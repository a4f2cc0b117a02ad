/** A listening socket of this process, which it hands to a router, as systemd does: Bun opens none whose descriptor it says. Linux. */
import { libc } from "../../src/libc.ts";

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const LOOPBACK = 0x7f000001;
const ADDRESS_BYTES = 16;

/** The socket, on a free port of 127.0.0.1. Connections wait there until somebody accepts them. */
export function listeningSocket() {
	const system = libc({
		socket: { args: ["i32", "i32", "i32"], returns: "i32" },
		bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
		listen: { args: ["i32", "i32"], returns: "i32" },
		getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
		close: { args: ["i32"], returns: "i32" },
	});
	if (!system) throw new Error("no C library");
	const { socket, bind, listen, getsockname, close, ptr } = system;
	const address = Buffer.alloc(ADDRESS_BYTES);
	address.writeUInt16LE(AF_INET, 0);
	address.writeUInt32BE(LOOPBACK, 4);
	const descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const isOpen = bind(descriptor, ptr(address), ADDRESS_BYTES) === 0 && listen(descriptor, 4_096) === 0;
	if (!isOpen) throw new Error("no socket");
	getsockname(descriptor, ptr(address), ptr(Uint32Array.of(ADDRESS_BYTES)));
	return { descriptor, port: address.readUInt16BE(2), [Symbol.dispose]: () => void close(descriptor) };
}
