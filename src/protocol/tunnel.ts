/**
 * The frames of a tunnel: one WebSocket from an agent to its router, over which the router opens connections to the agent. Each frame is a binary
 * message: its type, the number of its stream, and what the type says. Pure.
 */

/** What a frame says. The numbers are the wire's. */
export const FRAME = {
	/** The router opens a stream: the agent connects it to its own port. */
	open: 1,
	/** Bytes of the stream, at most {@link MOST_DATA}. */
	data: 2,
	/** So many bytes more may be sent: four bytes. */
	credit: 3,
	/** The stream is over, and all of it has been sent. */
	end: 4,
	/** The stream is over: what was not read yet is of no interest. */
	reset: 5,
	/** Asks for a sign of life, in streams of number 0. */
	ping: 6,
	pong: 7,
	/** All streams of this one's opener are over: it has ended. */
	gone: 8,
	/** Which router this is, and which others its agents are to have tunnels to: a {@link Hello} as JSON, in stream 0. */
	hello: 9,
	/** Several of these in one message, each with its length in front, four bytes: to a router that {@link Hello.takesBatches}. In stream 0. */
	batch: 10,
} as const;
export type FrameType = (typeof FRAME)[keyof typeof FRAME];

/** Bytes that may be under way in each direction of a stream before its reader has taken them. */
export const STREAM_WINDOW = 256 * 1024;
/** Most bytes of one frame: what others want to send gets its turn. */
export const MOST_DATA = 64 * 1024;
/** Largest message, bytes. */
export const MOST_FRAME = 5 + MOST_DATA;
/** Most streams of a tunnel at a time. */
export const MOST_STREAMS = 4096;
/** How often the agent asks for a sign of life, ms, and after how long without one either side gives the tunnel up. */
export const PING_MS = 5_000;
export const SILENCE_MS = 15_000;

/** The path of the WebSocket at the router, and the headers that say whose it is, beside `AGENT_HEADER`. */
export const TUNNEL_PATH = "/agents/tunnel";
export const TUNNEL_INSTANCE_HEADER = "x-router-instance";
/** Which start of the agent it is, as its registration says it: tells it from one with a copy of its data directory. */
export const TUNNEL_PROCESS_HEADER = "x-router-process";
/** Routers that the agent has tunnels to, separated by commas: one that finds itself there wants no other. */
export const TUNNEL_ROUTERS_HEADER = "x-router-tunnels";
/** Sent where another agent has opened a tunnel in the place of this one's: it wants one only where that has none. */
export const TUNNEL_STANDBY_HEADER = "x-router-tunnel-standby";

/** Why a router closes a tunnel (RFC 6455, 7.4; from 4000 on a protocol's own). */
export const TUNNEL_CLOSE = {
	/** It stops. */
	stopping: 1001,
	/** The agent does not keep to the protocol. */
	fault: 1002,
	/** An agent of the same name and installation has opened another one. */
	replaced: 4001,
	/** The agent said that it has one to this router. */
	duplicate: 4002,
} as const;

/** What an endpoint begins with that is no address but a tunnel's agent. */
export const TUNNEL_PREFIX = "tunnel://";

/** The endpoint that an agent registers which has a tunnel. */
export const tunnelEndpoint = (agent: string): string => TUNNEL_PREFIX + agent;

const HEAD = 5;

/** A frame as it was read. */
export interface Frame {
	readonly type: FrameType;
	readonly stream: number;
	/** Of `data`; a view of the message. */
	readonly bytes: Buffer;
	/** Of `credit`. */
	readonly credit: number;
}

/** What a router says first, and again when it has changed. */
export interface Hello {
	/** Names it among the routers of one Redis; another name after a restart. */
	readonly router: string;
	/** All of them, itself among these. */
	readonly routers: readonly string[];
	/** Whether it reads {@link FRAME.batch}: an older one does not. */
	readonly takesBatches?: boolean | undefined;
}

/** The other side does not keep to this protocol: the tunnel is closed. */
export class TunnelFault extends Error {}

/**
 * Who opens a stream stands in its number's upper byte: of several threads each has numbers of its own.
 * @param epoch in the next byte: what is still under way to a worker that has ended is for no stream of the one in its place
 */
export function streamNumber(opener: number, epoch: number, count: number): number {
	return (opener & 0xff) * 2 ** 24 + (epoch & 0xff) * 2 ** 16 + (count & 0xffff);
}

/** Who has opened a stream. */
export function openerOf(stream: number): number {
	return stream >>> 24;
}

/** A frame without bytes of the stream. */
export function frame(type: Exclude<FrameType, 2 | 3 | 9 | 10>, stream: number): Buffer {
	const made = Buffer.allocUnsafe(HEAD);
	made[0] = type;
	made.writeUInt32BE(stream, 1);
	return made;
}

/** A frame with some. @param bytes at most {@link MOST_DATA} */
export function dataFrame(stream: number, bytes: Uint8Array): Buffer {
	const made = Buffer.allocUnsafe(HEAD + bytes.length);
	made[0] = FRAME.data;
	made.writeUInt32BE(stream, 1);
	made.set(bytes, HEAD);
	return made;
}

/** @param credit bytes */
export function creditFrame(stream: number, credit: number): Buffer {
	const made = Buffer.allocUnsafe(HEAD + 4);
	made[0] = FRAME.credit;
	made.writeUInt32BE(stream, 1);
	made.writeUInt32BE(credit, HEAD);
	return made;
}

/** A {@link Hello} as a frame. */
export function helloFrame(hello: Hello): Buffer {
	return Buffer.concat([Buffer.from([FRAME.hello, 0, 0, 0, 0]), Buffer.from(JSON.stringify(hello))]);
}

/** Reads it. Throws TunnelFault. */
export function parseHello(message: Buffer): Hello {
	let hello: Partial<Hello> | null;
	try {
		hello = JSON.parse(message.toString("utf8", HEAD)) as Partial<Hello> | null;
	} catch {
		throw new TunnelFault("what the router says of itself is no JSON");
	}
	const { router, routers, takesBatches } = hello ?? {};
	const areNames = Array.isArray(routers) && routers.every((each) => typeof each === "string");
	if (typeof router !== "string" || !areNames) throw new TunnelFault("the router does not say which one it is");
	return { router, routers, takesBatches: takesBatches === true };
}

/** Bytes in front of each frame of a batch. */
const LENGTH = 4;
/** Most bytes of the frames of one batch: with their lengths it is no larger than a frame may be, however small they are. */
export const MOST_BATCHED = MOST_DATA / 2;

/** Frames as one message. @param frames of {@link MOST_BATCHED} bytes together at most */
export function batchFrame(frames: readonly Buffer[]): Buffer {
	const made = Buffer.allocUnsafe(frames.reduce((size, each) => size + LENGTH + each.length, HEAD));
	made[0] = FRAME.batch;
	let at = made.writeUInt32BE(0, 1);
	for (const each of frames) {
		at = made.writeUInt32BE(each.length, at);
		made.set(each, at);
		at += each.length;
	}
	return made;
}

/** The frames of a batch, as views of it. Throws TunnelFault, also where one is a batch itself. */
export function framesIn(batch: Buffer): Buffer[] {
	const frames: Buffer[] = [];
	for (let at = HEAD; at < batch.length; ) {
		const from = at + LENGTH;
		const end = from > batch.length ? from : from + batch.readUInt32BE(at);
		if (end > batch.length) throw new TunnelFault("a batch ends in the midst of a frame");
		const each = batch.subarray(from, end);
		if (each[0] === FRAME.batch) throw new TunnelFault("a batch is in a batch");
		frames.push(each);
		at = end;
	}
	return frames;
}

/** The number of a frame's stream, of any type. Throws TunnelFault where it is too short to have one. */
export function streamIn(message: Buffer): number {
	if (message.length < HEAD) throw new TunnelFault("a frame is shorter than its head");
	return message.readUInt32BE(1);
}

/** Reads a message. Throws TunnelFault. */
export function parseFrame(message: Buffer): Frame {
	const stream = streamIn(message);
	const type = message[0] as FrameType;
	if (type < FRAME.open || type > FRAME.gone) throw new TunnelFault(`there is no frame of type ${type}`);
	const bytes = message.subarray(HEAD);
	const most = type === FRAME.data ? MOST_DATA : type === FRAME.credit ? 4 : 0;
	const least = type === FRAME.data ? 1 : most;
	if (bytes.length > most || bytes.length < least) {
		throw new TunnelFault(`a frame of type ${type} has ${bytes.length} bytes`);
	}
	return { type, stream, bytes, credit: type === FRAME.credit ? bytes.readUInt32BE(0) : 0 };
}
