/**
 * One engine's time: continuous batching in steps, with chunked prefill, a prefix cache, a bounded batch and
 * preemption. It knows what a request will say; it decides only when.
 */
import { Histogram } from "./histogram.ts";
import { KvCache } from "./kv-cache.ts";
import type { KvListener } from "./kv-events.ts";
import { blockHashes, tokenId } from "./tokens.ts";

/** Milliseconds at speed 1: about an 8B model on one H100. */
const STEP = 7;
const PER_SEQUENCE = 0.06;
const PER_PREFILL_TOKEN = 0.1;
const PER_CONTEXT_TOKEN = 0.000_04;
/** A step that the timer woke late is caught up with, up to here. */
const CATCH_UP_MS = 20;

/** A request in the engine. */
export interface Job {
	readonly prompt: readonly string[];
	/** Blocks are shared with requests of the same salt alone: vLLM hashes the adapter's id into them. */
	readonly salt: string;
	/** What it will say. */
	readonly output: readonly string[];
	readonly submittedAt: number;
	/** Pieces said so far. */
	said: number;
	/** Prompt tokens that the prefix cache had. */
	cached: number;
	/** Tokens computed; all before the first is said. */
	computed: number;
	firstAt: number | undefined;
	lastAt: number;
	hashes: bigint[];
	open: boolean;
	/** Why it ended, besides having said all: the engine died, or it was aborted. */
	ended?: "said" | "dead" | "aborted";
	wake: () => void;
}

/** What is counted over an engine's life. */
export interface Counters {
	promptTokens: number;
	/** Those of them that the prefix cache had. */
	cachedTokens: number;
	generated: number;
	queries: number;
	hits: number;
	preemptions: number;
	/** By why; whoever reads the pieces counts all but `abort`. */
	finished: Record<"stop" | "length" | "abort", number>;
	/** In seconds. */
	readonly firstToken: Histogram;
	readonly perToken: Histogram;
	readonly whole: Histogram;
}

/** The engine's size. */
export interface EngineOptions {
	readonly blocks: number;
	readonly blockSize: number;
	readonly caching: boolean;
	readonly maxSeqs: number;
	readonly batchTokens: number;
	readonly speed: number;
	/** Told of its blocks. */
	readonly blocksChanged?: KvListener | undefined;
	/** Of requests without an adapter. */
	readonly baseSalt?: string;
	/** After every piece said, with the sum of all. */
	readonly onSaid?: (total: number) => void;
}

/** An engine without requests costs nothing. */
export class Engine {
	readonly cache: KvCache;
	readonly running: Job[] = [];
	readonly waiting: Job[] = [];
	readonly counters: Counters = {
		promptTokens: 0,
		cachedTokens: 0,
		generated: 0,
		queries: 0,
		hits: 0,
		preemptions: 0,
		finished: { stop: 0, length: 0, abort: 0 },
		firstToken: new Histogram(),
		perToken: new Histogram(),
		whole: new Histogram(),
	};
	/** Steps stop, and everything else goes on: vLLM's hung engine. */
	hung = false;
	dead = false;
	speed: number;
	#clock = 0;
	#busy = false;

	constructor(readonly options: EngineOptions) {
		this.cache = new KvCache(options.blocks, options.caching, options.blocksChanged);
		this.speed = options.speed;
	}

	/** Queues a request. */
	submit(prompt: readonly string[], output: readonly string[], salt = ""): Job {
		const job: Job = {
			prompt,
			salt,
			output,
			submittedAt: performance.now(),
			said: 0,
			cached: 0,
			computed: 0,
			firstAt: undefined,
			lastAt: 0,
			hashes: [],
			open: false,
			wake: () => {},
		};
		if (this.dead) job.ended = "dead";
		else this.waiting.push(job);
		this.resume();
		return job;
	}

	/** What a job says, piece by piece, as it says it; ends when the job has ended, whyever. */
	async *pieces(job: Job): AsyncGenerator<string> {
		for (let at = 0; ; ) {
			while (at < job.said) yield job.output[at++]!;
			if (job.ended) return;
			await new Promise<void>((wake) => {
				job.wake = wake;
			});
		}
	}

	/** Ends a job that nobody waits for. */
	abort(job: Job): void {
		if (job.ended) return;
		this.counters.finished.abort++;
		this.#end(job, "aborted");
	}

	/** Ends every job; the engine takes no other. */
	die(): void {
		this.dead = true;
		for (const job of [...this.running, ...this.waiting]) this.#end(job, "dead");
	}

	/** Goes on, after hung was cleared or a job came. */
	resume(): void {
		if (this.#busy) return;
		this.#busy = true;
		this.#clock = performance.now();
		// In a microtask: calls that arrive together are in the same first step.
		queueMicrotask(() => this.#step());
	}

	#step(): void {
		if (this.hung || this.dead) {
			this.#busy = false;
			return;
		}
		this.#admit();
		let budget = this.options.batchTokens;
		let prefill = 0;
		let context = 0;
		const speaking: Job[] = [];
		for (const job of this.running) {
			const missing = job.prompt.length + job.said - job.computed;
			const now = Math.min(missing, budget);
			if (now <= 0) continue;
			budget -= now;
			if (missing > 1 || job.said === 0) prefill += now;
			context += job.computed;
			job.computed += now;
			if (now === missing) speaking.push(job);
		}
		if (this.running.length === 0) {
			this.#busy = false;
			return;
		}
		const took = STEP + PER_SEQUENCE * this.running.length + PER_PREFILL_TOKEN * prefill + PER_CONTEXT_TOKEN * context;
		const now = performance.now();
		this.#clock = Math.max(this.#clock, now - CATCH_UP_MS) + took / this.speed;
		const finish = () => {
			if (!this.dead) for (const job of speaking) this.#say(job);
			this.#step();
		};
		if (this.#clock - now < 0.5) setImmediate(finish);
		else setTimeout(finish, this.#clock - now);
	}

	#admit(): void {
		while (this.waiting.length > 0 && this.running.length < this.options.maxSeqs) {
			const job = this.waiting[0]!;
			const size = this.options.blockSize;
			const tokens = [...job.prompt, ...job.output.slice(0, job.said)];
			const hashes = blockHashes(tokens, size, saltOf(job));
			// The last token is computed in any case: its logits are needed.
			const reusable = this.options.caching ? hashes.slice(0, Math.floor((tokens.length - 1) / size)) : [];
			const known = this.cache.known(reusable);
			if (this.cache.cost(hashes, 1) > this.cache.available && this.running.length > 0) return;
			this.waiting.shift();
			this.#take(job, hashes, tokens, undefined);
			this.cache.open();
			job.open = true;
			job.hashes = hashes;
			job.computed = known * size;
			if (job.firstAt === undefined) {
				job.cached = known * size;
				this.counters.queries += job.prompt.length;
				this.counters.hits += job.cached;
			}
			this.running.push(job);
		}
	}

	#say(job: Job): void {
		if (job.ended || !this.running.includes(job)) return;
		const now = performance.now();
		if (job.firstAt === undefined) {
			job.firstAt = now;
			this.counters.promptTokens += job.prompt.length;
			this.counters.cachedTokens += job.cached;
			this.counters.firstToken.observe((now - job.submittedAt) / 1000);
		} else this.counters.perToken.observe((now - job.lastAt) / 1000);
		job.lastAt = now;
		job.said++;
		this.counters.generated++;
		this.#grow(job);
		if (job.said >= job.output.length) {
			this.counters.whole.observe((now - job.submittedAt) / 1000);
			this.#end(job, "said");
		} else job.wake();
		this.options.onSaid?.(this.counters.generated);
	}

	/** A block that became full gets its name, and the next token needs another: the youngest job gives way. */
	#grow(job: Job): void {
		const size = this.options.blockSize;
		if ((job.prompt.length + job.said) % size !== 0 || !job.open) return;
		this.cache.close();
		job.open = false;
		const start = job.hashes.length * size;
		const block = [...job.prompt.slice(start), ...job.output.slice(Math.max(0, start - job.prompt.length), job.said)];
		const [hash] = blockHashes(block, size, job.hashes.at(-1) ?? saltOf(job));
		const parent = job.hashes.at(-1);
		job.hashes.push(hash!);
		this.#take(job, [hash!], block, parent);
		while (this.cache.available < 1 && this.running.length > 1) {
			const youngest = this.running.at(-1)!;
			this.#leave(youngest);
			this.waiting.unshift(youngest);
			this.counters.preemptions++;
			if (youngest === job) return;
		}
		this.cache.open();
		job.open = true;
	}

	/** Takes full blocks of a request into use, and tells of those that are new, each run of them at once. @param parent of the first */
	#take({ salt }: Job, hashes: readonly bigint[], tokens: readonly string[], parent: bigint | undefined): void {
		const { blockSize, blocksChanged, baseSalt = "" } = this.options;
		const areNew = hashes.map((hash) => this.cache.take(hash));
		for (let from = 0; blocksChanged && from < hashes.length; from++) {
			if (!areNew[from]) continue;
			let to = from + 1;
			while (areNew[to]) to++;
			blocksChanged.stored({
				hashes: hashes.slice(from, to),
				parent: from > 0 ? hashes[from - 1] : parent,
				tokens: tokens.slice(from * blockSize, to * blockSize).map(tokenId),
				blockSize,
				adapter: salt === baseSalt ? undefined : salt,
			});
			from = to;
		}
	}

	#end(job: Job, reason: "said" | "dead" | "aborted"): void {
		job.ended = reason;
		this.#leave(job);
		job.wake();
	}

	#leave(job: Job): void {
		for (const list of [this.running, this.waiting]) {
			const at = list.indexOf(job);
			if (at >= 0) list.splice(at, 1);
		}
		if (job.open) this.cache.close();
		this.cache.release(job.hashes);
		job.open = false;
		job.hashes = [];
		job.computed = 0;
	}
}

const saltOf = ({ salt }: Job): bigint => (salt ? (Bun.hash(salt) as bigint) : 0n);
