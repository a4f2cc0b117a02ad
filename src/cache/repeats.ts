/** Calls that the cache has answered lately, by their text: clients that repeat a call send the same bytes. */
import type { Call, Operation } from "../openai/call.ts";
import type { Entry } from "./entry.ts";
import { BETAS } from "./key.ts";
import type { RingKey } from "./ring.ts";

/** What a text was read as. */
export type Parsed = Pick<Call, "raw" | "body" | "fields" | "stream">;

/** Who asked, besides what. */
export interface Asker {
	/** Whose answers these are; "" where all share them. */
	readonly tenant: string;
	/** Where the call may run: the same object for the same route. */
	readonly targets: object;
	readonly headers: Headers;
}

/** A call that was answered. */
export interface Repeat {
	readonly operation: Operation;
	readonly parsed: Parsed;
	readonly tenant: string;
	readonly targets: object;
	/** The values of {@link BETAS}. */
	readonly betas: readonly (string | null)[];
	readonly key: RingKey;
	/** Where the entry lay in the ring: no other will ever lie there. */
	readonly place: number;
	/** With a body of its own. */
	readonly entry: Entry;
}

/** Longest text and longest answer that are remembered, characters and bytes. */
const LONGEST = 4096;
/** What one takes at most, with all that was made of its text, bytes: one part in 32 of the cache's memory may go there. */
const SIZE = 24 * 1024;
const SHARE = 32;

/**
 * The calls, the latest to be answered: a hit that finds its text here need not be read, checked and hashed again, nor its answer looked
 * up: 8 of its 60 µs.
 */
export class Repeats {
	readonly #most: number;
	readonly #byText = new Map<string, Repeat>();

	/** @param memory the cache's, bytes */
	constructor(memory: number) {
		this.#most = Math.floor(memory / SHARE / SIZE);
	}

	/** What this text was read as; undefined where that has to be done. */
	parsed(operation: Operation, text: string): Parsed | undefined {
		const repeat = this.#of(text);
		return repeat?.operation === operation ? repeat.parsed : undefined;
	}

	/** The same call by the same caller. */
	find(call: Pick<Call, "operation" | "raw">, { tenant, targets, headers }: Asker): Repeat | undefined {
		const repeat = this.#of(call.raw);
		if (!repeat || repeat.operation !== call.operation) return undefined;
		if (repeat.tenant !== tenant || repeat.targets !== targets) return undefined;
		return BETAS.every((name, at) => headers.get(name) === repeat.betas[at]) ? repeat : undefined;
	}

	/** Remembers a call whose answer was found in the ring. */
	keep(call: Call, asker: Asker, found: Pick<Repeat, "key" | "place" | "entry">): void {
		const { raw, body, fields, stream, operation } = call;
		const { facts, body: answer } = found.entry;
		if (raw.length > LONGEST || answer.length > LONGEST) return;
		this.#byText.delete(raw);
		this.#byText.set(raw, {
			...found,
			operation,
			parsed: { raw, body, fields, stream },
			tenant: asker.tenant,
			targets: asker.targets,
			betas: BETAS.map((name) => asker.headers.get(name)),
			// What lies in the ring is good for a moment only.
			entry: { facts, body: answer.slice() },
		});
		if (this.#byText.size > this.#most) this.#byText.delete(this.#byText.keys().next().value!);
	}

	/** Where nothing is repeated, long texts are not hashed for it. */
	#of(text: string): Repeat | undefined {
		return this.#byText.size > 0 && text.length <= LONGEST ? this.#byText.get(text) : undefined;
	}
}
