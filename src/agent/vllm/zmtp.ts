/**
 * ZMTP 3.1, the wire of ZeroMQ (rfc.zeromq.org/spec/37), as far as a client needs it that subscribes (`SUB`) or asks (`DEALER`) without
 * encryption: the greeting, the `NULL` handshake, frames, heartbeats. Bytes in, messages out; no socket and no clock.
 *
 * npm's `zeromq` is native (an install script, a `.node` file beside the executable), `jszmq` speaks WebSocket alone.
 */
import { shortText } from "../../short-text.ts";

/** The socket that a client is: what it may do at its peer. */
export type ZmtpRole = "SUB" | "DEALER";

/** The peer does not speak ZMTP 3, or not as its specification says. The message says what was wrong. */
export class ZmtpFault extends Error {
	override readonly name = "ZmtpFault";
}

/** What a client does. */
export interface ZmtpHandler {
	/** Sends bytes to the peer. */
	send(bytes: Buffer): void;
	/** The handshake is over: messages may be sent. */
	ready(): void;
	/** A whole message of the peer's. Its frames are views of what was received. */
	message(frames: readonly Buffer[]): void;
}

const GREETING_BYTES = 64;
/** From this byte on a greeting says which version its sender speaks. */
const VERSION_AT = 10;
const MECHANISM_AT = 12;
const MECHANISM_BYTES = 20;

/** Bits of a frame's first byte. */
const MORE = 1;
const LONG = 2;
const COMMAND = 4;
const RESERVED = 0xf8;

/** Largest frame, and most frames of a message: vLLM's largest batches have some 100 KB in 3 frames. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024;
const MAX_FRAMES = 16;
/** A context of a PING is 16 bytes at most. */
const MAX_CONTEXT = 16;
/** Most of a peer's reason that is shown, characters. */
const MAX_REASON = 100;

/** What a client sends first. */
export function zmtpGreeting(): Buffer {
	const greeting = Buffer.alloc(GREETING_BYTES);
	greeting[0] = 0xff;
	greeting[9] = 0x7f;
	greeting[VERSION_AT] = 3;
	greeting[VERSION_AT + 1] = 1;
	greeting.write("NULL", MECHANISM_AT, "latin1");
	return greeting;
}

/** A message's bytes on the wire. */
export function zmtpMessage(frames: readonly Uint8Array[]): Buffer {
	return Buffer.concat(frames.map((body, at) => zmtpFrame(at < frames.length - 1 ? MORE : 0, body)));
}

/** Asks a peer of this version for a sign of life. @param ttlMs after so long without one it may give the connection up */
export function zmtpPing(ttlMs: number): Buffer {
	const body = Buffer.alloc(2);
	body.writeUInt16BE(Math.min(0xffff, Math.ceil(ttlMs / 100)));
	return zmtpCommand("PING", body);
}

function zmtpFrame(flags: number, body: Uint8Array): Buffer {
	if (body.length < 256) return Buffer.concat([Buffer.of(flags, body.length), body]);
	const head = Buffer.alloc(9);
	head[0] = flags | LONG;
	head.writeBigUInt64BE(BigInt(body.length), 1);
	return Buffer.concat([head, body]);
}

function zmtpCommand(name: string, data: Uint8Array): Buffer {
	return zmtpFrame(COMMAND, Buffer.concat([Buffer.of(name.length), Buffer.from(name, "latin1"), data]));
}

function property(name: string, value: string): Buffer {
	const size = Buffer.alloc(4);
	size.writeUInt32BE(value.length);
	return Buffer.concat([Buffer.of(name.length), Buffer.from(name), size, Buffer.from(value)]);
}

/** One connection's state. `push` is given what comes; the handler is called from within it. */
export class ZmtpClient {
	/** What has come and could not be read yet, and how many bytes that can be at least before it can. */
	#chunks: Buffer[] = [];
	#size = 0;
	#needed = VERSION_AT + 1;
	#state: "greeting" | "handshake" | "ready" = "greeting";
	/** The peer's version is 3.1 or later: it knows the commands SUBSCRIBE and PING. */
	#knowsCommands = false;
	#frames: Buffer[] = [];

	/** @param topic of `SUB`: what the first frame of the messages begins with that are wanted; empty: all */
	constructor(
		private readonly role: ZmtpRole,
		private readonly handler: ZmtpHandler,
		private readonly topic: string = "",
	) {}

	/** Whether the peer answers a PING. */
	get answersPings(): boolean {
		return this.#state === "ready" && this.#knowsCommands;
	}

	/** Takes bytes of the peer's. Throws ZmtpFault: the connection is of no use any more. */
	push(bytes: Buffer): void {
		this.#chunks.push(bytes);
		this.#size += bytes.length;
		while (this.#size >= this.#needed) {
			const buffer = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
			const read = this.#state === "greeting" ? this.#readGreeting(buffer) : this.#readFrames(buffer);
			this.#size = buffer.length - read;
			this.#chunks = this.#size > 0 ? [buffer.subarray(read)] : [];
		}
	}

	/** How many bytes it has read: all, or none. */
	#readGreeting(buffer: Buffer): number {
		if (buffer[0] !== 0xff || (buffer[9]! & 1) === 0) throw new ZmtpFault("the peer does not speak ZMTP");
		if (buffer[VERSION_AT]! < 3) throw new ZmtpFault(`the peer speaks ZMTP ${buffer[VERSION_AT]}, not 3`);
		this.#needed = GREETING_BYTES;
		if (buffer.length < GREETING_BYTES) return 0;
		const mechanism = buffer.toString("latin1", MECHANISM_AT, MECHANISM_AT + MECHANISM_BYTES).replace(/\0.*$/s, "");
		if (mechanism !== "NULL") throw new ZmtpFault(`the peer wants the mechanism ${shortText(mechanism, MAX_REASON)}`);
		this.#knowsCommands = buffer[VERSION_AT]! > 3 || buffer[VERSION_AT + 1]! >= 1;
		this.#state = "handshake";
		this.#needed = 2;
		const identity = this.role === "DEALER" ? property("Identity", "") : Buffer.alloc(0);
		this.handler.send(zmtpCommand("READY", Buffer.concat([property("Socket-Type", this.role), identity])));
		return GREETING_BYTES;
	}

	/** Reads all whole frames. How many bytes they were. */
	#readFrames(buffer: Buffer): number {
		let at = 0;
		for (;;) {
			this.#needed = 2;
			if (buffer.length - at < 2) return at;
			const flags = buffer[at]!;
			if (flags & RESERVED) throw new ZmtpFault("a frame has reserved bits");
			const head = flags & LONG ? 9 : 2;
			this.#needed = head;
			if (buffer.length - at < head) return at;
			const size = flags & LONG ? Number(buffer.readBigUInt64BE(at + 1)) : buffer[at + 1]!;
			if (size > MAX_FRAME_BYTES) throw new ZmtpFault(`a frame has ${size} bytes, more than ${MAX_FRAME_BYTES}`);
			this.#needed = head + size;
			if (buffer.length - at < head + size) return at;
			const body = buffer.subarray(at + head, at + head + size);
			at += head + size;
			if (flags & COMMAND) this.#command(body);
			else this.#frame(body, (flags & MORE) !== 0);
		}
	}

	#frame(body: Buffer, hasMore: boolean): void {
		if (this.#state !== "ready") throw new ZmtpFault("a message came before the handshake was over");
		this.#frames.push(body);
		if (this.#frames.length > MAX_FRAMES) throw new ZmtpFault(`a message has more than ${MAX_FRAMES} frames`);
		if (hasMore) return;
		const frames = this.#frames;
		this.#frames = [];
		this.handler.message(frames);
	}

	#command(body: Buffer): void {
		const length = body[0] ?? 0;
		if (length === 0 || length >= body.length + 1) throw new ZmtpFault("a command has no name");
		const name = body.toString("latin1", 1, 1 + length);
		const data = body.subarray(1 + length);
		if (name === "ERROR") {
			const reason = data.toString("latin1", 1, 1 + (data[0] ?? 0));
			throw new ZmtpFault(`the peer refuses: ${shortText(reason, MAX_REASON)}`);
		}
		if (name === "READY" && this.#state === "handshake") this.#begin();
		else if (name === "PING") this.handler.send(zmtpCommand("PONG", data.subarray(2, 2 + MAX_CONTEXT)));
		// Others say what a client need not know, PONG among them.
	}

	#begin(): void {
		this.#state = "ready";
		if (this.role === "SUB") {
			const topic = Buffer.from(this.topic);
			const asMessage = zmtpMessage([Buffer.concat([Buffer.of(1), topic])]);
			this.handler.send(this.#knowsCommands ? zmtpCommand("SUBSCRIBE", topic) : asMessage);
		}
		this.handler.ready();
	}
}
