/**
 * What the main thread and a worker say to each other: all of it, in two types. Nothing here is sent for each call: lines, counts and rows of the ledger
 * come in batches, and what calls have come to stands in memory that both see (`worker-events.ts`).
 */

import type { ToldDecision, ToldEnd } from "../../accounts/limits/handed-limits.ts";
import type { Limit } from "../../accounts/limits/limiter.ts";
import type { MadeRows } from "../../accounts/usage/row-maker.ts";
import type { WaitingResponse } from "../../api/response-writer.ts";
import type { ClaimMessage } from "../../cache/thread-store.ts";
import type { Environment } from "../../config/interpolate.ts";
import type { Config } from "../../config/schema.ts";
import type { InheritedSocket } from "../../http/inherited-socket.ts";
import type { TlsPair } from "../../http/tls.ts";
import type { Hello } from "../../protocol/tunnel.ts";
import type { ResponseName } from "../../store/response-table.ts";
import type { SharedRow } from "../../store/shared-table.ts";
import type { AgentNews } from "../agents/agent-replica.ts";
import type { TunnelName, TunnelState } from "../agents/tunnels.ts";
import type { WorkerMessage } from "../redis-workers.ts";
import type { SharedMemory } from "./shared-memory.ts";
import type { EventMemory } from "./worker-events.ts";

/** What a worker is made from. */
export interface WorkerStart {
	readonly type: "start";
	/** From 1. */
	readonly thread: number;
	/** How many workers the process has started before. */
	readonly epoch: number;
	readonly config: Config;
	readonly env: Environment;
	/** What to show; undefined for plain HTTP. The main thread alone reads its files. */
	readonly certificate: TlsPair | undefined;
	/** The port that clients connect to. The first worker of a process finds out whether it is free, and picks one where it is 0. */
	readonly port: number;
	readonly isFirst: boolean;
	/** The socket that was opened for this process, on which it listens in the place of a port of its own; undefined where none was. */
	readonly inherited: InheritedSocket | undefined;
	/** Where the main thread accepts connections and passes them on: who is at the other end of each. Undefined where workers listen on the port. */
	readonly peers: SharedArrayBuffer | undefined;
	/** SHA-256 of the key that the start made, hex. */
	readonly generatedKey: string | undefined;
	/** Keys that were created at run time, as JSON. */
	readonly keys: readonly string[];
	readonly agents: AgentNews;
	/** Whose files and batches there are, where the database can't be read there. */
	readonly objects: readonly SharedRow[];
	/** Where the configuration has a Redis: what this worker is called there, its process, and the ledger of that. */
	readonly redis: { readonly name: string; readonly router: string; readonly replica: string } | undefined;
	/** The main thread's `Store.writerId`. */
	readonly writer: string;
	/** Where the clock's offset is asked for: `shared-clock.ts`. */
	readonly clock: SharedArrayBuffer;
	/** Where it shows that it does not hang: `heartbeat.ts`. */
	readonly heartbeat: SharedArrayBuffer;
	readonly memory: SharedMemory;
	/** This worker's alone: for its calls. */
	readonly events: EventMemory;
}

/** A request that a worker has got and the main thread answers. */
export interface ForwardedRequest {
	readonly method: string;
	readonly url: string;
	readonly headers: readonly (readonly [name: string, value: string])[];
	readonly body: Uint8Array | undefined;
	/** Address of whoever has sent it; "" where the connection is gone. */
	readonly peer: string;
}

/** The main thread's answer to it. */
export interface ForwardedAnswer {
	readonly status: number;
	readonly headers: readonly (readonly [name: string, value: string])[];
	readonly body: ArrayBuffer;
}

/** What a worker wants of a response that is waited for. */
export type ResponseQuestion =
	| { readonly do: "get"; readonly name: ResponseName; readonly waits: boolean }
	| { readonly do: "remove"; readonly name: ResponseName };
/** What it has done to one. */
export type ResponseChange =
	| { readonly do: "put"; readonly response: WaitingResponse }
	| { readonly do: "use"; readonly name: ResponseName };
/** The text of a response, whether there was one; undefined as `ResponseWriter` has it. */
export interface ResponseAnswer {
	readonly value: string | boolean | undefined;
}

/** What the main thread sends. Where there is an `id`, an answer with the same one is waited for. */
export type ToWorker =
	| WorkerStart
	/** Keys were changed, as JSON. */
	| { readonly type: "keys"; readonly id: number; readonly keys: readonly string[] }
	/** What has become of agents. */
	| { readonly type: "agents"; readonly id: number; readonly news: AgentNews }
	/** Whose files and batches there are, of other threads and routers. */
	| { readonly type: "objects"; readonly id: number; readonly rows: readonly SharedRow[] }
	| TunnelMessage
	/** An agent's tunnel is gone; another one has taken its place; a thread has ended. */
	| { readonly type: "tunnel-lost"; readonly agent: string; readonly now: TunnelState }
	| { readonly type: "tunnel-replaced"; readonly tunnel: TunnelName }
	| { readonly type: "tunnel-ended"; readonly thread: number }
	/** No thread has calls any more. */
	| { readonly type: "tunnel-end" }
	/** What agents are told of this router. */
	| { readonly type: "tunnel-hello"; readonly hello: Hello }
	/** Another configuration is in force. */
	| { readonly type: "config"; readonly id: number; readonly config: Config }
	/** New connections are to be shown another certificate. */
	| { readonly type: "certificate"; readonly id: number; readonly pair: TlsPair }
	/** Whether it runs is wanted. */
	| { readonly type: "confirm"; readonly id: number }
	/** All counts, or the rows of all calls, are wanted now. */
	| { readonly type: "flush" | "rows"; readonly id: number }
	/** What was asked with this `id` is done. */
	| { readonly type: "synced"; readonly id: number }
	/** Of lines of the log: so many UTF-16 units of them. */
	| { readonly type: "taken"; readonly length: number }
	| ({ readonly type: "response"; readonly id: number } & ResponseAnswer)
	| { readonly type: "answered"; readonly id: number; readonly answer: ForwardedAnswer }
	/** Of a call's limits, by the process that counts them; undefined where none does. */
	| { readonly type: "limits-decided"; readonly id: number; readonly decision: ToldDecision | undefined }
	/** A second's figures, as JSON. */
	| { readonly type: "live"; readonly sample: string }
	/** From another worker, or the main thread. */
	| { readonly type: "claim"; readonly message: ClaimMessage }
	/** The process no longer wants calls; it takes none from now on; those that run are cut. */
	| { readonly type: "drain" }
	| { readonly type: "stop" }
	| { readonly type: "cut" };

/** What a worker sends. */
export type ToMain =
	/** It waits for the clock. */
	| { readonly type: "clock" }
	| { readonly type: "listening"; readonly url: string; readonly port: number }
	/** Connections are to be passed on to this port; the one before takes none in a moment. */
	| { readonly type: "moved"; readonly port: number }
	/** It could not start. `isStart`: the sentence is for people, see `StartError`. */
	| { readonly type: "failed"; readonly message: string; readonly isStart: boolean }
	/** Lines of the log, each with its end. */
	| { readonly type: "lines"; readonly lines: string }
	/** What it has counted, as prom-client's registry says it in JSON; of calls those whose records stand before that position. */
	| { readonly type: "metrics"; readonly values: string; readonly position: number }
	/** Rows of the ledger. */
	| { readonly type: "rows"; readonly rows: MadeRows }
	/** There are many records of calls to be read. */
	| { readonly type: "events" }
	/** A call could not reach an agent; names that an agent serves which has not registered. */
	| { readonly type: "agent-failed"; readonly agent: string; readonly failure: "auth" | "transport" }
	/** A call waits for an agent whose host sleeps. */
	| { readonly type: "wake"; readonly agent: string }
	| { readonly type: "served"; readonly names: readonly string[] }
	| { readonly type: "response"; readonly id: number; readonly question: ResponseQuestion }
	| { readonly type: "response-change"; readonly change: ResponseChange }
	/** Whose file or batch there is; answered by `synced` when all threads know. */
	| { readonly type: "objects"; readonly id: number; readonly rows: readonly SharedRow[] }
	/** Whether anybody watches the console's figures there. */
	| { readonly type: "live-watch"; readonly isWatched: boolean }
	/** About what routers share. */
	| WorkerMessage
	| { readonly type: "forward"; readonly id: number; readonly request: ForwardedRequest }
	/** The client of the request with this `id` does not wait for its answer any more. */
	| { readonly type: "left"; readonly id: number }
	/** For the process that has taken over what all threads count: a call begins, or ends. */
	| { readonly type: "limits-take"; readonly id: number; readonly limits: readonly Limit[] }
	| { readonly type: "limits-end"; readonly end: ToldEnd }
	| TunnelMessage
	| { readonly type: "tunnel-opened" | "tunnel-closed"; readonly tunnel: TunnelName }
	| { readonly type: "tunnel-drained" }
	/** For another worker, which waits for the end of a call. */
	| { readonly type: "claim"; readonly to: number; readonly message: ClaimMessage }
	/** What was asked with this `id` is done; or why it can't be. */
	| { readonly type: "done"; readonly id: number; readonly problem?: string | undefined }
	/** Its last call is over, and all that it had to send is sent. */
	| { readonly type: "stopped" };

/** A frame of a tunnel: for its agent, or for the thread that has opened its stream. */
export interface TunnelMessage {
	readonly type: "tunnel-frame";
	readonly agent: string;
	/** Undefined where it is for the agent. */
	readonly thread: number | undefined;
	/** All of its buffer. */
	readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A frame that may be sent: in a buffer of its own. */
export function tunnelMessage(agent: string, thread: number | undefined, message: Uint8Array): TunnelMessage {
	const { buffer } = message;
	const isOwn = buffer instanceof ArrayBuffer && buffer.byteLength === message.byteLength;
	const bytes = isOwn ? (message as Uint8Array<ArrayBuffer>) : new Uint8Array(message);
	return { type: "tunnel-frame", agent, thread, bytes };
}

/** The frame of a message. */
export const frameIn = ({ bytes }: TunnelMessage): Buffer => Buffer.from(bytes.buffer);

/** A message of these that is answered, without its number. */
export type Asking<M> = M extends { readonly id: number } ? Omit<M, "id"> : never;

/** Questions to another thread, until they are answered. */
export class Questions<Message extends { readonly type: string }, Answer> {
	#count = 0;
	readonly #open = new Map<number, (answer: Answer | undefined) => void>();

	constructor(private readonly send: (message: Message, transfer: ArrayBuffer[]) => void) {}

	/** Resolves with the answer; with undefined where the other thread has ended. @param asked hears its number once it is sent */
	ask(
		message: Asking<Message>,
		transfer: ArrayBuffer[] = [],
		asked?: (id: number) => void,
	): Promise<Answer | undefined> {
		const id = ++this.#count;
		const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
		this.#open.set(id, resolve);
		this.send({ ...(message as object), id } as unknown as Message, transfer);
		asked?.(id);
		return promise;
	}

	/** Takes an answer. */
	answered(id: number, answer: Answer): void {
		this.#open.get(id)?.(answer);
		this.#open.delete(id);
	}

	/** The other thread has ended: nothing is answered any more. */
	end(): void {
		for (const resolve of this.#open.values()) resolve(undefined);
		this.#open.clear();
	}
}
