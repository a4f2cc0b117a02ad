/** A publisher of KV events as vLLM is one: a process of Python with libzmq and msgspec, at Unix sockets. */
import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type KvEventSockets, kvEventSockets } from "../../src/agent/vllm/kv-sockets.ts";
import { KV_PUBLISHER, ZEROMQ } from "../parts/zeromq.ts";

/** How it is started. */
export interface PublisherOptions {
	/** Where another one was, or is to be. */
	readonly sockets?: KvEventSockets;
	/** Nothing is sent again. */
	readonly isWithoutReplay?: boolean;
	/** Batches that are kept. */
	readonly buffer_steps?: number;
	/** The first so many replays lose their ends. */
	readonly endless_replays?: number;
	/** Messages that wait for a slow subscriber, and bytes of the socket's own buffer. */
	readonly hwm?: number;
	readonly send_buffer?: number;
}

/** An event: its class and fields. Hashes are numbers, numbers as text, or `{ bytes: hex }`. */
export type PublishedEvent = readonly [kind: string, fields: Readonly<Record<string, unknown>>];

/** How a batch is published. */
export interface PublishOptions {
	/** As versions up to 0.2x. */
	readonly array?: boolean;
	readonly batch_array?: boolean;
	/** No subscriber gets it. */
	readonly lost?: boolean;
	readonly times?: number;
	/** In place of the batch, hex. */
	readonly raw?: string;
}

/** Starts one. */
export async function startPublisher({
	sockets = newSockets(),
	isWithoutReplay,
	...options
}: PublisherOptions = {}): Promise<KvPublisher> {
	const child = Bun.spawn([ZEROMQ.python, "-B", join(KV_PUBLISHER, "publisher.py")], {
		stdin: "pipe",
		stdout: "pipe",
		stderr: "inherit",
	});
	const lines = linesOf(child.stdout);
	const order = async (what: object) => {
		child.stdin.write(`${JSON.stringify(what)}\n`);
		child.stdin.flush();
		const { value } = await lines.next();
		if (value === undefined) throw new Error("the publisher has ended");
		return JSON.parse(value) as Record<string, number>;
	};
	const replay_endpoint = isWithoutReplay ? "" : `ipc://${sockets.replay}`;
	await order({ ...options, endpoint: `ipc://${sockets.events}`, replay_endpoint });
	return new KvPublisher(sockets, order, async () => {
		child.kill("SIGKILL");
		await child.exited;
	});
}

/** Sockets that nobody has made yet, in a directory of their own. */
export function newSockets(): KvEventSockets {
	const sockets = kvEventSockets(mkdtempSync(join(tmpdir(), "kv-")), "0123456789ab")!;
	mkdirSync(sockets.directory);
	return sockets;
}

/** A running one. */
export class KvPublisher {
	/** Replays that were asked for, as of the last order. */
	replays = 0;

	constructor(
		readonly sockets: KvEventSockets,
		private readonly order: (what: object) => Promise<Record<string, number>>,
		/** SIGKILL. */
		readonly stop: () => Promise<void>,
	) {}

	/** One batch. */
	async publish(events: readonly PublishedEvent[], options: PublishOptions = {}): Promise<void> {
		this.replays = (await this.order({ do: "publish", events, ...options }))["replays"]!;
	}

	/** Any message. @param frames hex */
	async send(...frames: string[]): Promise<void> {
		await this.order({ do: "frames", frames });
	}
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
	const decoder = new TextDecoder();
	let text = "";
	for await (const bytes of stream) {
		text += decoder.decode(bytes, { stream: true });
		for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n")) {
			yield text.slice(0, end);
			text = text.slice(end + 1);
		}
	}
	return undefined;
}
