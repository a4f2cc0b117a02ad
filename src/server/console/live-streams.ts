/** The event streams of one thread's clients, over one subscription for all of them. */
import type { LiveListener } from "./live-feed.ts";

/**
 * How long a stream lasts, ms. Its client opens another one by itself, for which its session is looked at anew: nobody watches on long after
 * having signed out.
 */
const LASTS_MS = 300_000;
/** Streams of one thread: a browser has six connections to a host, and a person few windows. */
const MOST_STREAMS = 200;

const HEADERS = {
	"content-type": "text/event-stream; charset=utf-8",
	"cache-control": "no-store",
	"x-content-type-options": "nosniff",
	// Of nginx: passed on as it comes.
	"x-accel-buffering": "no",
};

/** Told where a subscription begins; returns how it ends. */
type Subscribe = (listener: LiveListener) => () => void;

/** One client's. */
interface ClientStream {
	/** What it is to get next. */
	next: Uint8Array | undefined;
	/** Wakes it where it waits for that. */
	wake: (() => void) | undefined;
	isOver: boolean;
}

/** All of them. A client that reads slowly gets the newest when it reads again, and not what it has missed. */
export class LiveStreams {
	readonly #clients = new Set<ClientStream>();
	#unsubscribe: (() => void) | undefined;
	#isEnded = false;

	constructor(
		private readonly subscribe: Subscribe,
		private readonly lastsMs: number = LASTS_MS,
	) {}

	/** How many there are. */
	get size(): number {
		return this.#clients.size;
	}

	/** Opens one; undefined where there are too many. @param signal aborts when its client leaves, which may be before this */
	open(signal: AbortSignal): Response | undefined {
		if (this.#isEnded || signal.aborted) return new Response("retry: 5000\n\n", { headers: HEADERS });
		if (this.#clients.size >= MOST_STREAMS) return undefined;
		const client: ClientStream = { next: encoded("retry: 2000\n\n"), wake: undefined, isOver: false };
		const end = () => {
			clearTimeout(timer);
			this.#close(client);
		};
		const timer = setTimeout(end, this.lastsMs);
		signal.addEventListener("abort", end);
		this.#clients.add(client);
		this.#unsubscribe ??= this.subscribe((sample) => this.#tell(encoded(`data: ${sample}\n\n`)));
		const body = new ReadableStream<Uint8Array>(
			{
				async pull(controller) {
					if (!client.next && !client.isOver) {
						await new Promise<void>((resolve) => {
							client.wake = resolve;
						});
					}
					const { next, isOver } = client;
					client.next = undefined;
					if (isOver) controller.close();
					else if (next) controller.enqueue(next);
				},
				cancel: end,
			},
			{ highWaterMark: 0 },
		);
		return new Response(body, { headers: HEADERS });
	}

	/** Ends all of them; who opens one from now on is told to come again. */
	end(): void {
		this.#isEnded = true;
		for (const client of [...this.#clients]) this.#close(client);
	}

	#tell(event: Uint8Array): void {
		for (const client of this.#clients) {
			client.next = event;
			client.wake?.();
			client.wake = undefined;
		}
	}

	#close(client: ClientStream): void {
		client.isOver = true;
		client.wake?.();
		client.wake = undefined;
		this.#clients.delete(client);
		if (this.#clients.size > 0) return;
		this.#unsubscribe?.();
		this.#unsubscribe = undefined;
	}
}

const encoded = (text: string): Uint8Array => new TextEncoder().encode(text);
