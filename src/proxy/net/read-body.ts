/** Reading an upstream's whole answer. */
import type { UpstreamAnswer } from "../../providers/provider.ts";

/** Largest whole answer that is kept in memory, bytes: long embeddings run to tens of MB, nothing honest runs to this. */
export const MAX_ANSWER = 256 * 1024 * 1024;

/** The router's own refusal to read on; the message is a predicate for the upstream's name. */
export class AnswerTooLarge extends Error {}

/** What is ended. */
interface Ends {
	abort(): void;
}

/** How long the end of an answer is waited for whose JSON is complete, ms. */
const CLOSING_MS = 5000;

/** The answer's text. Throws when the body breaks off or is shorter than it said; AnswerTooLarge past `limit` bytes. */
export function readText({ headers, body, whole }: UpstreamAnswer, limit = MAX_ANSWER): Promise<string> {
	const length = headers.get("content-length");
	const isShort = length !== null && Number(length) <= limit;
	return whole && isShort ? Promise.resolve(whole.text()) : readCounting(body, limit);
}

/**
 * The text of an answer that is to be JSON, and is not `whole`. Where its connection breaks, or falls silent, behind a JSON that is
 * complete, nothing of it is missing: it counts as whole, and `connection`, which is of no more use, is ended. Throws as `readText` does.
 */
export function readJsonText({ headers, body }: UpstreamAnswer, connection: Ends): Promise<string> {
	// Whoever says how long it is has said where it ends.
	return readCounting(body, MAX_ANSWER, headers.has("content-length") ? undefined : connection);
}

/** The answer's bytes, which may be no text. Throws as `readText` does. */
export async function readBytes({ body }: Pick<UpstreamAnswer, "body">, limit: number): Promise<Buffer> {
	const chunks: Uint8Array[] = [];
	let size = 0;
	for (let chunk = await body.read(); chunk; chunk = await body.read()) {
		size += chunk.byteLength;
		if (size > limit) throw new AnswerTooLarge(`sent an answer larger than ${limit / 1024} KB`);
		// It may be in memory that is read into again.
		chunks.push(Buffer.from(chunk));
	}
	return Buffer.concat(chunks);
}

async function readCounting(body: UpstreamAnswer["body"], limit: number, connection?: Ends): Promise<string> {
	const decoder = new TextDecoder();
	let text = "";
	let size = 0;
	let mayBeWhole = false;
	for (;;) {
		let chunk: Uint8Array | undefined | typeof LATE;
		try {
			const reading = body.read();
			chunk = mayBeWhole ? await inTime(reading) : await reading;
			if (chunk === LATE) {
				if (isJson(text)) {
					// However that read ends, it is no failure of the answer.
					reading.catch(() => undefined);
					connection!.abort();
					return text;
				}
				chunk = await reading;
			}
		} catch (thrown) {
			if (!mayBeWhole || !isJson(text)) throw thrown;
			connection!.abort();
			return text;
		}
		if (!chunk) return text + decoder.decode();
		size += chunk.byteLength;
		if (size > limit) throw new AnswerTooLarge(`sent an answer larger than ${limit / 1024 / 1024} MB`);
		const piece = decoder.decode(chunk, { stream: true });
		text += piece;
		if (connection) mayBeWhole = endsAsJson(piece, mayBeWhole);
	}
}

/**
 * Whether what has been read might be all of an answer. Only the new piece is looked at: to read a text that still grows has it copied
 * each time.
 * @param before whether it was so before the piece
 */
function endsAsJson(piece: string, before: boolean): boolean {
	const end = piece.slice(-16).trimEnd();
	// White space behind the end, in a piece of its own.
	return end === "" ? before : end.endsWith("}");
}

const LATE = Symbol("late");

/** What is read within the time that an end may take. */
async function inTime(reading: Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined | typeof LATE> {
	const { promise, resolve } = Promise.withResolvers<typeof LATE>();
	const timer = setTimeout(resolve, CLOSING_MS, LATE);
	try {
		return await Promise.race([reading, promise]);
	} finally {
		clearTimeout(timer);
	}
}

function isJson(text: string): boolean {
	try {
		JSON.parse(text);
		return true;
	} catch {
		return false;
	}
}
