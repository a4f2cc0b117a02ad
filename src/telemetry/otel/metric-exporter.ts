/** Sends the counters of tokens to a collector, again and again: sums since the start, so that one that is not taken costs nothing but its time. */
import type { OtlpSource } from "./otlp.ts";
import { OtlpClient, type OtlpClientOptions } from "./otlp-client.ts";
import type { TokenCounters } from "./token-counters.ts";

/** What it works with. */
export interface MetricExporterOptions {
	readonly client: Omit<OtlpClientOptions, "what" | "consequence">;
	readonly source: OtlpSource;
	readonly counters: Pick<TokenCounters, "sums">;
	readonly intervalMs: number;
	/** Unix time, ms. */
	readonly wall?: () => number;
}

/** Longest that the end waits for a collector, ms. */
const CLOSING_MS = 1_000;

/** Sends from its making on, until it is closed. */
export class MetricExporter {
	readonly #client: OtlpClient;
	readonly #startedAt: number;
	readonly #wall: () => number;
	readonly #timer: ReturnType<typeof setInterval>;
	#sending: Promise<unknown> | undefined;
	/** That they could not be written has been said. */
	#hasSaidDefect = false;
	readonly #end = new AbortController();

	constructor(private readonly options: MetricExporterOptions) {
		const consequence = () => "Their sums are sent when it is back";
		this.#client = new OtlpClient({ ...options.client, what: "metrics", consequence });
		this.#wall = options.wall ?? Date.now;
		this.#startedAt = this.#wall();
		this.#timer = setInterval(() => this.#begin(), options.intervalMs);
		this.#timer.unref();
	}

	/** Sends the last sums. */
	async close(): Promise<void> {
		clearInterval(this.#timer);
		const timer = setTimeout(() => this.#end.abort(), CLOSING_MS);
		await this.#sending;
		this.#begin();
		await this.#sending;
		clearTimeout(timer);
		this.#end.abort();
	}

	/** Sends the sums, if that is not done already. `#sending` never rejects. */
	#begin(): void {
		this.#sending ??= this.#send()
			.catch((thrown) => this.#say(thrown as Error))
			.finally(() => {
				this.#sending = undefined;
			});
	}

	#say({ message }: Error): void {
		if (this.#hasSaidDefect) return;
		this.#hasSaidDefect = true;
		this.options.client.log.warn(`metrics could not be written, and are not sent: ${message}`);
	}

	async #send(): Promise<void> {
		const { counters, source } = this.options;
		const { sums } = counters;
		if (sums.length === 0 || this.#end.signal.aborted) return;
		const { encoding } = this.#client;
		const body = encoding.metrics(sums, { startMs: this.#startedAt, endMs: this.#wall() }, source);
		await this.#client.post(await this.#client.bodyOf(body), this.#end.signal);
	}
}
