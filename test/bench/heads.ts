/** The heads of HTTP/1.1 requests on one connection, each handed out once its body has been read to the end and dropped. */
export class Heads {
	#head = "";
	/** Bytes of the present body that are still to come. */
	#left = 0;
	/** Set while a chunked body runs: what was read since its last whole line. */
	#chunks: string | undefined;
	/** Whether the chunk of no size, the last, has come. */
	#isLast = false;

	/** The requests that `bytes` complete, usually one or none. */
	push(bytes: Buffer): string[] {
		const done: string[] = [];
		let at = 0;
		while (at < bytes.length) {
			if (this.#left > 0) {
				const taken = Math.min(this.#left, bytes.length - at);
				this.#left -= taken;
				at += taken;
			} else if (this.#chunks !== undefined) at = this.#chunk(bytes, at);
			else at = this.#open(bytes, at);
			if (this.#head.endsWith("\r\n\r\n") && this.#left === 0 && this.#chunks === undefined) {
				done.push(this.#head);
				this.#head = "";
			}
		}
		return done;
	}

	/** Reads on in a head; returns where the rest begins. */
	#open(bytes: Buffer, at: number): number {
		// The four bytes that end a head may have come in two reads.
		const before = this.#head.length;
		const text = this.#head + bytes.toString("latin1", at, bytes.length);
		const end = text.indexOf("\r\n\r\n", Math.max(0, before - 3));
		if (end < 0) {
			this.#head = text;
			return bytes.length;
		}
		this.#head = text.slice(0, end + 4);
		this.#left = Number(/\r\ncontent-length: *(\d+)/i.exec(this.#head)?.[1] ?? 0);
		if (/\r\ntransfer-encoding: *chunked/i.test(this.#head)) {
			this.#chunks = "";
			this.#isLast = false;
		}
		return at + end + 4 - before;
	}

	/** Reads on among the chunks' sizes; a chunk itself is counted down as a body is. */
	#chunk(bytes: Buffer, at: number): number {
		const end = bytes.indexOf(10, at);
		if (end < 0) {
			this.#chunks += bytes.toString("latin1", at, bytes.length);
			return bytes.length;
		}
		const line = (this.#chunks + bytes.toString("latin1", at, end)).trim();
		this.#chunks = "";
		if (this.#isLast) {
			// Trailers, and the empty line that ends the body.
			if (line === "") this.#chunks = undefined;
		} else {
			const size = Number.parseInt(line, 16);
			this.#isLast = size === 0;
			if (size > 0) this.#left = size + 2; // with the line break behind it
		}
		return end + 1;
	}
}
