/**
 * One engine's KV-cache events, whole and in order: vLLM publishes batches with a number each (PUB), drops those that a subscriber is too
 * slow for, and sends the last 10,000 again where it is asked (ROUTER). What can't be had again is said, so that nobody relies on it.
 */
import { decodeKvBatch, type KvEvent, KvEventFault } from "./kv-events.ts";
import type { KvEventSockets } from "./kv-sockets.ts";
import { openZmtp, type ZmtpSocket } from "./zmtp-socket.ts";

/** From one try to connect to the next, ms. */
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 8_000;
/** Tries in a row that fail before that is told: an engine has no socket before its model is loaded, which takes minutes. */
const FEW = 3;
const LONG_START = 120;
/** How long a replay may take to begin, ms: vLLM looks for requests every 100 ms, and may have 10,000 batches to send. */
const REPLAY_MS = 30_000;
/** How long one that has begun may be silent before its end counts as lost, ms. */
const REPLAY_SILENCE_MS = 2_000;
/** Batches that wait for the end of a replay, at most; where there are more the oldest are dropped, and asked for again. */
const MOST_WAITING = 10_000;
/** The number of a replay's last message. */
const END = 0xffff_ffff_ffff_ffffn;

/** What hears of an engine's cache. */
export interface KvEventSink {
	/** Nothing of before counts. @param isWhole what follows is all that has happened since the engine's start */
	restarted(isWhole: boolean): void;
	events(events: readonly KvEvent[]): void;
}

/** Where an engine publishes. */
export interface KvEventSourceOptions {
	readonly sockets: KvEventSockets;
	readonly sink: KvEventSink;
	/** Told what went wrong, one sentence; not again while nothing else goes wrong. */
	problem(sentence: string): void;
	/** This user may not connect to them: they are another one's. Tried again afterwards. */
	denied?(): void;
	/** Tests: in place of `REPLAY_MS`. */
	readonly replayMs?: number;
}

/** A batch as it is published. */
interface Batch {
	readonly sequence: number;
	readonly payload: Buffer;
}

/**
 * What a replay has brought, without a gap. Up to 0.32 vLLM's socket drops what is more than some 1,000 batches at once, in the middle of a replay and
 * at its end.
 */
interface Replay {
	readonly batches: readonly Batch[];
	/** Up to the last batch that the engine had. */
	readonly isAll: boolean;
}

/** The source: connects, and again whenever the connection is lost. Nothing of it throws. */
export class KvEventSource {
	#subscription: ZmtpSocket | undefined;
	#replay: ZmtpSocket | undefined;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#failures = 0;
	/** What the last failures were, and how many in a row. */
	#code: string | undefined;
	#alike = 0;
	#isEnded = false;
	#lastProblem = "";
	/** The last batch that was taken: by its number and its bytes an engine that was started anew is told from the same one. */
	#last: { readonly sequence: number; readonly hash: bigint } | undefined;
	/** All since the engine's start is known. */
	#isWhole = false;
	/** What came while a replay is under way; undefined: none is. */
	#waiting: Batch[] | undefined;

	constructor(private readonly options: KvEventSourceOptions) {}

	/** Begins. */
	start(): void {
		this.#subscription = openZmtp({
			path: this.options.sockets.events,
			role: "SUB",
			ready: () => {
				this.#failures = 0;
				this.#alike = 0;
				this.#askAgain();
			},
			message: (frames) => this.#published(frames),
			closed: (why, code) => this.#lost(why, code),
		});
	}

	/** Ends it. */
	end(): void {
		this.#isEnded = true;
		clearTimeout(this.#timer);
		this.#subscription?.close();
		this.#replay?.close();
	}

	#lost(why: string, code: string | undefined): void {
		this.#replay?.close();
		this.#waiting = undefined;
		if (this.#isEnded) return;
		if (code === "EACCES") this.options.denied?.();
		if (code !== this.#code) this.#alike = 0;
		this.#code = code;
		if (this.#alike++ === (code === "ENOENT" ? LONG_START : FEW))
			this.#problem(`The engine's KV events can't be had: its socket ${why}.`);
		const waitMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.#failures++, 10));
		this.#timer = setTimeout(() => this.start(), waitMs);
		this.#timer.unref();
	}

	#published(frames: readonly Buffer[]): void {
		const [sequence, payload] = frames.slice(-2);
		if (frames.length < 3 || sequence!.length !== 8) {
			this.#problem("The engine publishes something else than KV events.");
			return;
		}
		const batch = { sequence: Number(sequence!.readBigUInt64BE()), payload: Buffer.from(payload!) };
		if (this.#waiting) {
			if (this.#waiting.push(batch) > MOST_WAITING) this.#waiting.shift();
			return;
		}
		if (batch.sequence === this.#next) this.#take(batch);
		else this.#askAgain([batch]);
	}

	get #next(): number {
		return this.#last === undefined ? 0 : this.#last.sequence + 1;
	}

	/** Asks for all from the last batch on, that one included; without one, for all. What is published meanwhile waits. */
	#askAgain(waiting: Batch[] = []): void {
		this.#waiting = waiting;
		const last = this.#last;
		void this.#replayed(last?.sequence ?? 0).then((replay) => {
			// With the connection it was given up, and another may have been asked for.
			if (this.#isEnded || this.#waiting !== waiting) return;
			const { batches, isAll } = replay ?? { batches: [], isAll: true };
			const [first] = batches;
			if (last === undefined) {
				this.#forget(replay !== undefined && (first === undefined || first.sequence === 0));
				this.#takeAll(batches);
			} else if (first?.sequence === last.sequence && hashOf(first.payload) === last.hash)
				this.#takeAll(batches.slice(1));
			else if (replay === undefined || (first && first.sequence > last.sequence)) {
				// It may be the same engine, of which something is missing.
				this.#forget(false);
				this.#takeAll(batches);
			} else {
				this.#last = undefined;
				this.#askAgain(waiting);
				return;
			}
			const hasMore = !isAll && this.#last !== undefined && this.#last.sequence !== last?.sequence;
			if (hasMore) this.#askAgain(waiting);
			else this.#drain();
		});
	}

	/** What came during a replay: what that had, too, is passed over. */
	#drain(): void {
		const waiting = this.#waiting!.filter(({ sequence }) => sequence >= this.#next);
		this.#waiting = undefined;
		for (const batch of waiting) {
			// It is in no replay, and nowhere else.
			if (batch.sequence !== this.#next && (this.#last || this.#isWhole)) this.#forget(false);
			this.#take(batch);
		}
	}

	#forget(isWhole: boolean): void {
		this.#last = undefined;
		this.#isWhole = isWhole;
		this.options.sink.restarted(isWhole);
	}

	#takeAll(batches: readonly Batch[]): void {
		for (const batch of batches) this.#take(batch);
	}

	#take({ sequence, payload }: Batch): void {
		this.#last = { sequence, hash: hashOf(payload) };
		try {
			this.options.sink.events(decodeKvBatch(payload));
		} catch (thrown) {
			if (!(thrown instanceof KvEventFault)) throw thrown;
			this.#problem(`The engine's KV events can't be read: ${thrown.message}.`);
			this.options.sink.restarted(false);
		}
	}

	/** An engine that can't be understood publishes as often as one that can. */
	#problem(sentence: string): void {
		if (sentence === this.#lastProblem) return;
		this.#lastProblem = sentence;
		this.options.problem(sentence);
	}

	/** The batches from this one on that the engine still has; undefined where it does not answer. */
	#replayed(from: number): Promise<Replay | undefined> {
		const { promise, resolve } = Promise.withResolvers<Replay | undefined>();
		const batches: Batch[] = [];
		const over = (found: Replay | undefined) => {
			clearTimeout(timer);
			socket.close();
			resolve(found);
		};
		const broken = () => over(batches.length > 0 ? { batches, isAll: false } : undefined);
		const within = (ms: number) => setTimeout(broken, ms).unref();
		let timer = within(this.options.replayMs ?? REPLAY_MS);
		const socket = openZmtp({
			path: this.options.sockets.replay,
			role: "DEALER",
			ready() {
				const start = Buffer.alloc(8);
				start.writeBigUInt64BE(BigInt(from));
				// The empty frame stands where a REQ socket has one: vLLM asks for it.
				socket.send([Buffer.alloc(0), start]);
			},
			message(frames) {
				const [number, payload] = frames.slice(-2);
				if (frames.length < 2 || number!.length !== 8) return;
				if (number!.readBigUInt64BE() === END) {
					over({ batches, isAll: true });
					return;
				}
				const sequence = Number(number!.readBigUInt64BE());
				const isNext = batches.length === 0 || sequence === batches.at(-1)!.sequence + 1;
				if (!isNext) {
					broken();
					return;
				}
				batches.push({ sequence, payload: Buffer.from(payload!) });
				clearTimeout(timer);
				timer = within(REPLAY_SILENCE_MS);
			},
			closed: (_, code) => {
				if (code === "EACCES") this.options.denied?.();
				broken();
			},
		});
		this.#replay = socket;
		return promise;
	}
}

const hashOf = (payload: Buffer): bigint => Bun.hash.wyhash(payload);
