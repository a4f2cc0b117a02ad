/**
 * A client's form, passed on while it comes. To choose an upstream the model must be known, and clients may send it behind the file: what comes
 * before it waits in memory, and from the first MB on in a file that has no name, so a call holds no more than that.
 */
import { type FileHandle, open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RouterError } from "../errors.ts";
import type { BodyStream } from "../openai/call.ts";
import { boundaryOf, type FormField, FormScanner } from "../openai/multipart.ts";

/** Bytes of a body that are held in memory. */
const MOST_IN_MEMORY = 1024 * 1024;
/** Bytes that are read of the file at a time. */
const PIECE = 64 * 1024;

/** One form. `close` it when nobody reads on. */
export class FormBody {
	readonly #scanner: FormScanner;
	readonly #boundary: string;
	#reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
	#reading: Promise<void> | undefined;
	/** What has come of it and is not in the file; of what was sent and is not held, nothing but its place. */
	#pieces: Uint8Array[] = [];
	#heldBytes = 0;
	#size = 0;
	#file: FileHandle | undefined;
	#fileSize = 0;
	#isWhole = false;
	#run = 0;
	/** Not all of it is held any more: it can be sent once. */
	isSpent = false;

	private constructor(
		body: ReadableStream<Uint8Array> | null,
		boundary: string,
		private readonly length: number | undefined,
		private readonly limit: number,
		private readonly dataDir: string | undefined,
	) {
		this.#boundary = boundary;
		this.#scanner = new FormScanner(boundary);
		this.#reader = body?.getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined;
		this.#isWhole = !body;
	}

	/**
	 * Reads so far, or to the end where it does not come so far.
	 * @param limit bytes of the whole
	 * @param until `model`: until that field is there; `end`: all is read, and all fields are known; `nothing`: all is sent while it comes
	 * @param dataDir where its file is made if the system's temporary directory takes none, as on a read-only root; `nothing` needs no file
	 * @returns undefined where the content-type is no form's
	 * Throws `body_too_large`, `unsupported_media_type`, `invalid_value`, `duplicate_key`; `cancelled` where the client leaves; `internal_error` where no
	 * file can be made.
	 */
	static async read(
		request: Request,
		limit: number,
		until: "model" | "end" | "nothing",
		dataDir?: string,
	): Promise<FormBody | undefined> {
		const { headers } = request;
		const boundary = boundaryOf(headers.get("content-type") ?? "");
		if (boundary === undefined) return undefined;
		const encoding = headers.get("content-encoding");
		if (encoding !== null && encoding !== "identity") {
			throw new RouterError("unsupported_media_type", "Send the body uncompressed, without content-encoding.");
		}
		const sent = headers.get("content-length");
		const length = sent === null ? undefined : Number(sent);
		if (length !== undefined && length > limit) throw tooLarge(limit);
		const form = new FormBody(request.body, boundary, length, limit, dataDir);
		try {
			if (until === "nothing") return form;
			while (!form.#isWhole && (until === "end" || !form.field(until))) await form.#readAhead();
			if (form.#isWhole && !form.#scanner.isDone) throw cutOff();
			return form;
		} catch (thrown) {
			await form.close();
			throw thrown;
		}
	}

	/** The field of that name, as far as the form was read; undefined where it has none. */
	field(name: string): FormField | undefined {
		return this.#scanner.field(name);
	}

	/** Names of all parts that have come. */
	get names(): readonly string[] {
		return this.#scanner.names;
	}

	/** Its bytes, with this text in the place of a field's value, or as a field where it has none. */
	stream(name: string, value: string | undefined): BodyStream {
		const field = this.field(name);
		const edit = value === undefined || field?.value === value ? undefined : this.#editOf(field, name, value);
		const added = edit ? edit.insert.length - (edit.end - edit.start) : 0;
		const length = this.#isWhole ? this.#size : this.length;
		return {
			length: length === undefined ? undefined : length + added,
			read: edited(this.#bytes(), edit),
		};
	}

	/** Gives back what it holds. */
	async close(): Promise<void> {
		const [file, reader] = [this.#file, this.#reader];
		this.#file = undefined;
		this.#reader = undefined;
		this.#pieces = [];
		await file?.close().catch(() => undefined);
		if (!this.#isWhole) await reader?.cancel().catch(() => undefined);
	}

	#editOf(field: FormField | undefined, name: string, value: string): FormEdit {
		if (field) return { start: field.start, end: field.end, insert: Buffer.from(value) };
		const head = `--${this.#boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n`;
		return { start: 0, end: 0, insert: Buffer.from(`${head}${value}\r\n`) };
	}

	/** All of it, from its beginning. Only the reader that was made last gets on. */
	async *#bytes(): AsyncGenerator<Uint8Array, undefined> {
		const run = ++this.#run;
		for (let at = 0; at < this.#fileSize; ) {
			const { bytesRead, buffer } = await this.#file!.read(Buffer.allocUnsafe(PIECE), 0, PIECE, at);
			if (bytesRead === 0) throw cutOff();
			yield buffer.subarray(0, bytesRead);
			at += bytesRead;
		}
		for (let at = 0; ; at++) {
			while (at >= this.#pieces.length && !this.#isWhole) await this.#more();
			// An attempt that was given up.
			if (run !== this.#run) throw cutOff();
			if (at >= this.#pieces.length) break;
			const piece = this.#pieces[at]!;
			if (this.isSpent) this.#pieces[at] = SENT;
			yield piece;
		}
		if (!this.#scanner.isDone) throw cutOff();
		return undefined;
	}

	/** Reads on while nothing is sent; what is too long for the memory goes to the file. */
	async #readAhead(): Promise<void> {
		await this.#more();
		if (this.#heldBytes <= MOST_IN_MEMORY && !this.#file) return;
		this.#file ??= await namelessFile(this.dataDir);
		for (const piece of this.#pieces.splice(0)) {
			await this.#file.appendFile(piece);
			this.#fileSize += piece.byteLength;
		}
		this.#heldBytes = 0;
		this.isSpent = false;
	}

	/** The next bytes of the client's; undefined at the end. */
	async #received(): Promise<Uint8Array | undefined> {
		const { promise: silence, reject } = Promise.withResolvers<never>();
		const stopped = new RouterError("cancelled", "The client stopped in the middle of its body.");
		const timer = setTimeout(() => reject(stopped), SILENT_MS);
		try {
			return (await Promise.race([this.#reader!.read(), silence])).value;
		} catch (cause) {
			if (cause === stopped) throw stopped;
			throw new RouterError("cancelled", "The client left before its body was complete.", { cause });
		} finally {
			clearTimeout(timer);
		}
	}

	/** The next piece has come, or the end. One read at a time, whoever waits for it. */
	#more(): Promise<void> {
		this.#reading ??= this.#read().finally(() => {
			this.#reading = undefined;
		});
		return this.#reading;
	}

	async #read(): Promise<void> {
		const piece = await this.#received();
		if (!piece) {
			this.#isWhole = true;
			return;
		}
		this.#size += piece.byteLength;
		if (this.#size > this.limit) throw tooLarge(this.limit);
		this.#scanner.push(piece);
		this.#pieces.push(piece);
		this.#heldBytes += piece.byteLength;
		if (this.#heldBytes > MOST_IN_MEMORY) this.isSpent = true;
	}
}

/** How long a client may send nothing of its form, ms. It is no fault of the upstream that waits for the rest. */
const SILENT_MS = 30_000;

/** In the place of what has been sent. */
const SENT = new Uint8Array();

interface FormEdit {
	readonly start: number;
	readonly end: number;
	readonly insert: Buffer;
}

/** The pieces of a body with one edit, each time it is called the next. */
function edited(pieces: AsyncGenerator<Uint8Array>, edit: FormEdit | undefined): () => Promise<Uint8Array | undefined> {
	let at = 0;
	return async () => {
		for (;;) {
			const { value: piece } = await pieces.next();
			if (!piece) return undefined;
			const start = at;
			at += piece.byteLength;
			if (!edit || at < edit.start || start > edit.end || (start === edit.end && edit.start < edit.end)) return piece;
			const before = piece.subarray(0, Math.max(0, edit.start - start));
			const insert =
				edit.start >= start && (edit.start < at || edit.start === edit.end) ? edit.insert : Buffer.alloc(0);
			const after = piece.subarray(Math.min(piece.byteLength, Math.max(0, edit.end - start)));
			const made = Buffer.concat([before, insert, after]);
			if (made.length > 0) return made;
		}
	};
}

/** A file, for its owner alone, that is gone with the process, or with its last reader. Rejects with RouterError where none can be made. */
async function namelessFile(dataDir: string | undefined): Promise<FileHandle> {
	try {
		return await namelessFileIn(tmpdir());
	} catch (cause) {
		const file = dataDir === undefined ? undefined : await namelessFileIn(dataDir).catch(() => undefined);
		if (file) return file;
		const message =
			"A long form can't be kept: no file can be made in the router's temporary directory, nor in its data directory. Send its `model` in front of its files.";
		throw new RouterError("internal_error", message, { cause });
	}
}

async function namelessFileIn(directory: string): Promise<FileHandle> {
	const path = join(directory, `router-${crypto.randomUUID()}`);
	const file = await open(path, "wx+", 0o600);
	try {
		await unlink(path);
		return file;
	} catch (error) {
		await file.close();
		throw error;
	}
}

function cutOff(): RouterError {
	return new RouterError("invalid_value", "The form can't be read: it ends before its last boundary.");
}

function tooLarge(limit: number): RouterError {
	return new RouterError("body_too_large", `The body is larger than ${limit} bytes (server.body_limit).`, {
		headers: { connection: "close" },
	});
}
