/** An answer as it is kept: in this process and in Redis, in the same bytes. */

/** What is known of an answer besides its text. Times are Unix times, ms. */
export interface EntryFacts {
	readonly provider: string;
	readonly model: string;
	/** Fields of the call that it was made without. */
	readonly dropped?: readonly string[] | undefined;
	readonly storedAt: number;
	readonly expiresAt: number;
}

/** One answer. */
export interface CacheEntry {
	readonly facts: EntryFacts;
	/** The JSON answer, UTF-8. */
	readonly body: Uint8Array;
}

/** The first byte says how the rest is written. Another version's entries are none. */
const PLAIN = 0x10;
const ZSTD = 0x11;
/** Smaller answers are kept as they are: they would save little, and a hit would cost more. */
const COMPRESSED_FROM = 4096;
/** Fast, and half the size for English. */
const LEVEL = 3;
/** Above this, bytes, the work is left to another thread. */
const LARGE = 128 * 1024;
const NEWLINE = 10;

const decoder = new TextDecoder();

/** The bytes to keep. */
export async function encodeEntry({ facts, body }: CacheEntry): Promise<Uint8Array> {
	const text = Buffer.concat([Buffer.from(`${JSON.stringify(facts)}\n`), body]);
	if (body.length <= COMPRESSED_FROM) return Buffer.concat([Buffer.of(PLAIN), text]);
	const packed =
		text.length > LARGE ? await Bun.zstdCompress(text, { level: LEVEL }) : Bun.zstdCompressSync(text, { level: LEVEL });
	return Buffer.concat([Buffer.of(ZSTD), packed]);
}

/** The answer in these bytes (its body may lie in them), at once unless it is large; undefined where there is none that this version can read. */
export function decodeEntry(bytes: Uint8Array): CacheEntry | undefined | Promise<CacheEntry | undefined> {
	try {
		if (bytes[0] === PLAIN) return entryIn(bytes.subarray(1));
		if (bytes[0] !== ZSTD) return undefined;
		const packed = bytes.subarray(1);
		if (packed.length <= LARGE) return entryIn(Bun.zstdDecompressSync(packed));
		// What is given may be good for this moment only.
		return Bun.zstdDecompress(packed.slice()).then(entryIn, () => undefined);
	} catch {
		// Somebody else has written there.
		return undefined;
	}
}

function entryIn(text: Uint8Array): CacheEntry | undefined {
	const end = text.indexOf(NEWLINE);
	if (end === -1) return undefined;
	const facts = JSON.parse(decoder.decode(text.subarray(0, end))) as EntryFacts;
	return { facts, body: text.subarray(end + 1) };
}

/** Whether an entry that others may have written to is what it should be. */
export function isSound({ facts, body }: CacheEntry): boolean {
	const { provider, model, dropped, storedAt, expiresAt } = facts;
	if (typeof provider !== "string" || typeof model !== "string") return false;
	if (dropped !== undefined && !Array.isArray(dropped)) return false;
	if (!(Number.isFinite(storedAt) && Number.isFinite(expiresAt))) return false;
	try {
		const answer = JSON.parse(decoder.decode(body));
		return typeof answer === "object" && answer !== null;
	} catch {
		return false;
	}
}

/** How far another router's clock may be ahead, ms. What is from later still was kept before the clock was set back: nobody knows when. */
const MOST_AHEAD_MS = 60_000;

/** Whether the entry may still answer a call that takes answers of that age. */
export function isFresh({ storedAt, expiresAt }: EntryFacts, maxAgeMs: number, now: number): boolean {
	return now < expiresAt && now - storedAt <= maxAgeMs && storedAt - now <= MOST_AHEAD_MS;
}
