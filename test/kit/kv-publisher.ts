/** A publisher of KV events as vLLM is one: a process of Python with libzmq and msgspec, on free ports. */
import { join } from "node:path";
import { KV_PUBLISHER, ZEROMQ } from "../parts/zeromq.ts";

/** How it is started. */
export interface PublisherOptions {
	readonly port?: number;
	/** -1: nothing is sent again. */
	readonly replay_port?: number;
	/** Batches that are kept. */
	readonly buffer_steps?: number;
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
export async function startPublisher(options: PublisherOptions = {}): Promise<KvPublisher> {
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
	const { port, replay_port } = await order(options);
	return new KvPublisher(port!, replay_port!, order, async () => {
		child.kill("SIGKILL");
		await child.exited;
	});
}

/** A running one. */
export class KvPublisher {
	/** Replays that were asked for, as of the last order. */
	replays = 0;

	constructor(
		readonly port: number,
		readonly replayPort: number,
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
