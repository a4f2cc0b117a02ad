/**
 * KV events as vLLM publishes them (`--kv-events-config`, its ZMQ publisher): msgpack over a PUB socket, what was published before over a ROUTER
 * one. Unix sockets only. NULL's handshake is the same at both ends, so the agent's own client speaks for a server here; whether
 * it speaks ZMTP libzmq says (../kv-publisher).
 */
import { encode } from "@msgpack/msgpack";
import type { Socket } from "bun";
import { ZmtpClient, type ZmtpRole, zmtpGreeting, zmtpMessage } from "../../../src/agent/vllm/zmtp.ts";
import type { Json } from "./request.ts";

/** Batches that are kept. */
const KEPT = 10_000;

/** Full blocks that a request has computed, each behind the one before it. */
export interface StoredBlocks {
	readonly hashes: readonly bigint[];
	readonly parent: bigint | undefined;
	readonly tokens: readonly number[];
	readonly blockSize: number;
	/** Of an adapter's request. */
	readonly adapter: string | undefined;
}

/** What becomes of an engine's blocks. */
export interface KvListener {
	stored(blocks: StoredBlocks): void;
	removed(hash: bigint): void;
	cleared(): void;
}

/** Publishes; undefined where the command line does not ask for it. @param config of `--kv-events-config` */
export function kvPublisher(config: string | undefined): KvListener | undefined {
	const { enable_kv_cache_events, endpoint, replay_endpoint } = JSON.parse(config ?? "{}") as Json;
	if (enable_kv_cache_events !== true) return undefined;
	const kept: { readonly sequence: Buffer; readonly payload: Uint8Array }[] = [];
	let next = 0n;
	const subscribers = listen(String(endpoint), "PUB", () => undefined);
	listen(String(replay_endpoint), "ROUTER", (frames, answer) => {
		const from = frames.at(-1)!.readBigUInt64BE();
		for (const { sequence, payload } of kept) {
			if (sequence.readBigUInt64BE() >= from) answer([Buffer.alloc(0), sequence, payload]);
		}
		answer([Buffer.alloc(0), Buffer.alloc(8, 0xff), Buffer.alloc(0)]);
	});
	const publish = (event: Json) => {
		const sequence = Buffer.alloc(8);
		sequence.writeBigUInt64BE(next++);
		const payload = encode({ ts: Date.now() / 1000, events: [event] }, { useBigInt64: true });
		kept.push({ sequence, payload });
		if (kept.length > KEPT) kept.shift();
		for (const send of subscribers) send([Buffer.alloc(0), sequence, payload]);
	};
	return {
		stored: ({ hashes, parent = null, tokens, blockSize, adapter }) =>
			publish({
				...{ type: "BlockStored", block_hashes: hashes, parent_block_hash: parent, token_ids: tokens },
				...{ block_size: blockSize, lora_id: null, medium: "GPU", lora_name: adapter ?? null },
				...(adapter !== undefined && { extra_keys: hashes.map(() => [adapter]) }),
			}),
		removed: (hash) => publish({ type: "BlockRemoved", block_hashes: [hash], medium: "GPU" }),
		cleared: () => publish({ type: "AllBlocksCleared" }),
	};
}

type Send = (frames: readonly Uint8Array[]) => void;
interface Peer {
	readonly client: ZmtpClient;
	write(bytes: Uint8Array): void;
	unsent: Uint8Array;
}

/** Who is connected and has shaken hands. */
function listen(
	endpoint: string,
	role: "PUB" | "ROUTER",
	message: (frames: readonly Buffer[], answer: Send) => void,
): Set<Send> {
	const ready = new Set<Send>();
	const sends = new Map<Socket<Peer>, Send>();
	Bun.listen<Peer>({
		unix: endpoint.replace(/^ipc:\/\//, ""),
		socket: {
			open(socket) {
				const write = (bytes: Uint8Array) => {
					const all = Buffer.concat([socket.data.unsent, bytes]);
					socket.data.unsent = all.subarray(Math.max(0, socket.write(all)));
				};
				const send: Send = (frames) => write(zmtpMessage(frames));
				sends.set(socket, send);
				const client = new ZmtpClient(role as string as ZmtpRole, {
					send: write,
					ready: () => void ready.add(send),
					message: (frames) => message(frames, send),
				});
				socket.data = { client, write, unsent: Buffer.alloc(0) };
				write(zmtpGreeting());
			},
			data: (socket, bytes) => socket.data.client.push(bytes),
			drain: (socket) => socket.data.write(Buffer.alloc(0)),
			close(socket) {
				ready.delete(sends.get(socket)!);
				sends.delete(socket);
			},
		},
	});
	return ready;
}
