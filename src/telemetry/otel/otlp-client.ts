/** Asks a collector to take what is written for it, and says so in the log where it does not: once, and once when it does again. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { OtlpTarget } from "./otel-settings.ts";
import type { OtlpEncoding } from "./otlp.ts";
import { OTLP_JSON } from "./otlp-json.ts";
import { OTLP_PROTOBUF } from "./otlp-protobuf.ts";

/** A request to the collector. */
export interface OtlpRequest {
	readonly url: string;
	readonly headers: Record<string, string>;
	readonly body: readonly Buffer[];
}

/** What the collector answered. */
export interface OtlpAnswer {
	readonly status: number;
	/** `retry-after`, s; undefined where it does not say a number. */
	readonly retryAfter: number | undefined;
	readonly body: Buffer;
}

/** What it works with. */
export interface OtlpClientOptions {
	readonly target: OtlpTarget;
	/** Rejects with an error whose message says why there was no answer, as a predicate: `can't be reached: …`. */
	readonly send: (request: OtlpRequest, signal: AbortSignal) => Promise<OtlpAnswer>;
	readonly log: { warn(sentence: string): void; info(sentence: string): void };
	/** The endpoint as people may see it. */
	readonly shownEndpoint: string;
	/** What is sent, in the plural: `spans`. */
	readonly what: string;
	/** What becomes of what can't be sent, as a sentence. @param mayPass the same may be sent again */
	readonly consequence: (mayPass: boolean) => string;
}

/** When a request is given up, although its collector may answer yet. */
export interface PostDeadline {
	readonly signal: AbortSignal;
	/** After how many ms. */
	readonly ms: number;
}

/** What became of one request. */
export type PostResult =
	/** Taken, but for so many. */
	| { readonly rejected: number }
	/** `mayPass`: the same may be sent again. */
	| { readonly mayPass: boolean; readonly retryAfterMs?: number | undefined };

/** Statuses after which the same may be sent again (OTLP, "Retryable Response Codes"). */
const PASSING = new Set([429, 502, 503, 504]);
const LONGEST_REASON = 200;

const compress = promisify(gzip);

/** One signal's. */
export class OtlpClient {
	readonly encoding: OtlpEncoding;
	/** Dropped since the collector began to fail; undefined: it is well. */
	#dropped: number | undefined;
	/** What was refused of a request has been said. */
	#hasSaidRejected = false;

	constructor(private readonly options: OtlpClientOptions) {
		this.encoding = options.target.protocol === "http/json" ? OTLP_JSON : OTLP_PROTOBUF;
	}

	/** What is sent, as the settings have it. */
	async bodyOf(pieces: readonly Buffer[]): Promise<readonly Buffer[]> {
		return this.options.target.isCompressed ? [await compress(Buffer.concat(pieces))] : pieces;
	}

	/**
	 * Sends a body once. Never rejects.
	 * @param end ends it: nobody waits for it any more, and nothing is said of it
	 * @param deadline ends it, too: the collector has not answered in time
	 */
	async post(body: readonly Buffer[], end: AbortSignal, deadline?: PostDeadline): Promise<PostResult> {
		const { target, send } = this.options;
		const { endpoint, headers, isCompressed, timeoutMs } = target;
		const own = { "content-type": this.encoding.contentType, ...(isCompressed && { "content-encoding": "gzip" }) };
		const request = { url: endpoint, headers: { ...headers, ...own }, body };
		const late = AbortSignal.timeout(timeoutMs);
		try {
			const signal = AbortSignal.any([late, end, ...(deadline ? [deadline.signal] : [])]);
			const { status, retryAfter, body: answer } = await send(request, signal);
			if (status >= 200 && status < 300) return this.#taken(answer);
			const mayPass = PASSING.has(status);
			this.#fails(`answers ${status}`, mayPass, end);
			return { mayPass, retryAfterMs: retryAfter === undefined ? undefined : retryAfter * 1000 };
		} catch (thrown) {
			const lateMs = late.aborted ? timeoutMs : deadline?.signal.aborted ? deadline.ms : undefined;
			const why = lateMs === undefined ? (thrown as Error).message : `has not answered within ${lateMs} ms`;
			this.#fails(why, true, end);
			return { mayPass: true };
		}
	}

	/** Something will not be sent: it is told of when the collector is back. */
	dropped(count: number): void {
		if (this.#dropped !== undefined) this.#dropped += count;
	}

	/** The collector has taken it, or most of it. */
	#taken(answer: Buffer): PostResult {
		const { shownEndpoint, what, log } = this.options;
		if (this.#dropped !== undefined) {
			const lost = this.#dropped > 0 ? `; ${this.#dropped} were dropped meanwhile` : "";
			log.info(`${shownEndpoint} takes ${what} again${lost}`);
			this.#dropped = undefined;
		}
		try {
			const { count, message } = this.encoding.rejected(answer);
			if (count > 0 && message !== "" && !this.#hasSaidRejected) {
				this.#hasSaidRejected = true;
				log.warn(`${shownEndpoint} refuses some ${what}: ${message.slice(0, LONGEST_REASON)}`);
			}
			return { rejected: count };
		} catch {
			// Some answer 200 with words of their own.
			return { rejected: 0 };
		}
	}

	#fails(why: string, mayPass: boolean, end: AbortSignal): void {
		if (this.#dropped !== undefined || end.aborted) return;
		this.#dropped = 0;
		const { shownEndpoint, what, consequence, log } = this.options;
		log.warn(`${what} can't be sent: ${shownEndpoint} ${why}. ${consequence(mayPass)}`);
	}
}
