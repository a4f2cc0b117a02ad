/**
 * Which of this process's epolls waits for a descriptor, as Linux says it in /proc/self/fdinfo, and what Bun's event loop is given then: for a socket
 * that takes another one's place there.
 */
import { fstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { libc } from "../libc.ts";

/** Of Linux's headers. */
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
/** Bytes of `epoll_event`, and where its data begins: packed on x86 alone. */
const [EVENT_BYTES, DATA_AT] = process.arch === "x64" ? [12, 4] : [16, 8];

/** What an epoll has of a descriptor. */
export interface Registration {
	readonly epoll: number;
	/** A mask of EPOLLIN and the like. */
	readonly events: number;
	/** What the event loop knows it by. */
	readonly data: bigint;
}

/** A line of fdinfo: `tfd:       12 events:       19 data:     7f0a34  pos:0 ino:2d5f sdev:8`. */
const WATCHED = /^tfd:\s+(\d+) events:\s+([0-9a-f]+) data:\s+([0-9a-f]+)(?:\s+pos:\S+ ino:([0-9a-f]+))?/gm;

/**
 * What is in the text of an epoll's fdinfo of a descriptor. Its number may have been another file's before, so the inode is compared.
 * @param inode of the file that it is
 */
export function registeredIn(text: string, descriptor: number, inode: number): Omit<Registration, "epoll"> | undefined {
	for (const [, number, events, data, ino] of text.matchAll(WATCHED)) {
		if (Number(number) !== descriptor || (ino !== undefined && Number.parseInt(ino, 16) !== inode)) continue;
		return { events: Number.parseInt(events!, 16), data: BigInt(`0x${data}`) };
	}
	return undefined;
}

/** The epolls of this process, of all its threads, that wait for a descriptor. */
export function registrationsOf(descriptor: number): Registration[] {
	const { ino } = fstatSync(descriptor);
	return readdirSync("/proc/self/fd").flatMap((name) => {
		try {
			if (readlinkSync(`/proc/self/fd/${name}`) !== "anon_inode:[eventpoll]") return [];
			const found = registeredIn(readFileSync(`/proc/self/fdinfo/${name}`, "utf8"), descriptor, ino);
			return found ? [{ epoll: Number(name), ...found }] : [];
		} catch {
			// Closed meanwhile, such as the descriptor by which this folder is read.
			return [];
		}
	});
}

/** Adds descriptors to epolls, and takes them away. Undefined elsewhere than on Linux. */
export function epolls() {
	const system = libc({ epoll_ctl: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" } });
	if (!system) return undefined;
	const { epoll_ctl, ptr } = system;
	const event = Buffer.alloc(EVENT_BYTES);
	const control = (operation: number, descriptor: number, { epoll, events, data }: Registration): boolean => {
		event.writeUInt32LE(events, 0);
		event.writeBigUInt64LE(data, DATA_AT);
		return epoll_ctl(epoll, operation, descriptor, ptr(event)) === 0;
	};
	return {
		add: (descriptor: number, registration: Registration) => control(EPOLL_CTL_ADD, descriptor, registration),
		remove: (descriptor: number, registration: Registration) => control(EPOLL_CTL_DEL, descriptor, registration),
	};
}
