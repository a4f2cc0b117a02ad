/** What systemd is told of a service of `Type=notify` (sd_notify(3)): a datagram, which Bun sends to addresses of the internet alone. */
import type { Environment } from "../../config/interpolate.ts";
import { libc } from "../../libc.ts";

/**
 * Why no other process can take the place of this one, the main one of a service that hears of no other (systemd.exec(5), systemd.service(5));
 * undefined where it is none, or is heard. With the end of its main process a service ends, and all its processes with it.
 *
 * systemd sets `NOTIFY_SOCKET` where `NotifyAccess=` lets the service speak, which `Type=notify` does, and from version 248 on `SYSTEMD_EXEC_PID`;
 * before, a main process is known by `INVOCATION_ID` and its parent.
 */
export function serviceProblem(
	{ NOTIFY_SOCKET, SYSTEMD_EXEC_PID, INVOCATION_ID }: Environment,
	{ pid, ppid }: { readonly pid: number; readonly ppid: number } = process,
): string | undefined {
	if (NOTIFY_SOCKET) return undefined;
	const isMain = SYSTEMD_EXEC_PID ? Number(SYSTEMD_EXEC_PID) === pid : Boolean(INVOCATION_ID) && ppid === 1;
	return isMain
		? "systemd takes this router's service for ended when its process ends, and would end the new one with it: add `Type=notify` under `[Service]` of its unit (`router init --systemd` prints one), then `systemctl daemon-reload` and, this once, `systemctl restart`."
		: undefined;
}

/** Of Linux's headers. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** Bytes of `sockaddr_un`. */
const ADDRESS_BYTES = 110;

/** Tells it: `READY=1`, `MAINPID=12`. Nothing happens where the process is no such service (no `NOTIFY_SOCKET`), or the system has no such call. */
export async function tellServiceManager(
	text: string,
	path: string | undefined = process.env["NOTIFY_SOCKET"],
): Promise<void> {
	if (!path || Buffer.byteLength(path) > ADDRESS_BYTES - 3) return;
	const system = libc({
		socket: { args: ["i32", "i32", "i32"], returns: "i32" },
		sendto: { args: ["i32", "ptr", "u64", "i32", "ptr", "u32"], returns: "i64" },
		close: { args: ["i32"], returns: "i32" },
	});
	const socket = system?.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) ?? -1;
	if (!system || socket < 0) return;
	const { ptr } = system;
	const address = Buffer.alloc(ADDRESS_BYTES);
	address.writeUInt16LE(AF_UNIX, 0);
	const length = 2 + address.write(path, 2);
	// An abstract socket's name begins with a zero byte.
	if (path.startsWith("@")) address[2] = 0;
	const message = Buffer.from(text);
	system.sendto(socket, ptr(message), message.length, MSG_NOSIGNAL, ptr(address), length);
	system.close(socket);
}
