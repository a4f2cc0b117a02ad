/** The head of an HTTP/1.1 answer (RFC 9112). Pure: no socket, no clock. */
import type { AnswerHeaders } from "../../providers/provider.ts";

/** An answer that is no HTTP, or not in bounds. The message is a predicate for the upstream's name. */
export class MalformedAnswer extends Error {
	/** @param isInBody some of the body had come */
	constructor(
		message: string,
		readonly isInBody = false,
	) {
		super(message);
	}
}

/** The answer's head. */
export interface Head {
	readonly status: number;
	readonly headers: HeaderList;
}

/** A head with what the framing of its body needs. */
export interface ParsedHead extends Head {
	/** With the blank line, bytes. */
	readonly size: number;
	/** `transfer-encoding` in lower case. */
	readonly encoding: string | null;
	/** `content-length` as it was sent. */
	readonly length: string | null;
	/** Neither the version nor `connection` says that the connection ends with this answer. */
	readonly keepsAlive: boolean;
}

/** A line of a head. */
interface HeaderLine {
	/** As it was sent, with its end. */
	readonly text: string;
	/** In lower case. */
	readonly name: string;
	readonly value: string;
}

/** Headers in the order in which they came. To make a web `Headers` takes as long as all else of the parse. */
export class HeaderList implements AnswerHeaders {
	#hasRepeats: boolean | undefined;

	constructor(private readonly lines: readonly HeaderLine[]) {}

	get(name: string): string | null {
		const lower = name.toLowerCase();
		let value: string | null = null;
		for (const line of this.lines) {
			if (line.name === lower) value = value === null ? line.value : `${value}, ${line.value}`;
		}
		return value;
	}

	has(name: string): boolean {
		return this.get(name) !== null;
	}

	/** The values of all `set-cookie` lines. */
	getSetCookie(): string[] {
		return this.lines.filter(({ name }) => name === "set-cookie").map(({ value }) => value);
	}

	forEach(callback: (value: string, name: string) => void): void {
		const { lines } = this;
		this.#hasRepeats ??= lines.some((_, at) => !this.#isFirst(at));
		for (let at = 0; at < lines.length; at++) {
			const { name, value } = lines[at]!;
			if (!this.#hasRepeats || name === "set-cookie") callback(value, name);
			else if (this.#isFirst(at)) callback(this.get(name)!, name);
		}
	}

	[Symbol.iterator](): Iterator<[name: string, value: string]> {
		const entries: [string, string][] = [];
		this.forEach((value, name) => void entries.push([name, value]));
		return entries.values();
	}

	/** Whether no line before has the name of this one. */
	#isFirst(at: number): boolean {
		const { lines } = this;
		for (let before = 0; before < at; before++) if (lines[before]!.name === lines[at]!.name) return false;
		return true;
	}
}

const CR = 13;
const NAME = /^[\w!#$%&'*+.^`|~-]+$/;
const STATUS = /^HTTP\/1\.[01] [1-5]\d\d[ \r\n]/;

/** Longest head that is remembered, characters. */
const MOST_REMEMBERED = 8 * 1024;

/**
 * Reads the heads of one origin's answers. Nearly all of their lines are the same each time: what a head has in common with the one before is
 * taken from there, which takes no look at it but one, and no memory.
 */
export class HeadReader {
	#text = "";
	#head: ParsedHead | undefined;
	#lines: readonly HeaderLine[] = [];

	/**
	 * Throws MalformedAnswer.
	 * @param text ISO 8859-1, with a blank line at its end or before
	 */
	read(text: string): ParsedHead {
		if (this.#head && text === this.#text) return this.#head;
		if (!STATUS.test(text)) throw new MalformedAnswer("sent an answer that is no HTTP/1.1");
		const lines: HeaderLine[] = [];
		const size = this.#readLines(text, lines);
		const head = headOf(text, size, new HeaderList(lines));
		if (text.length > MOST_REMEMBERED) return head;
		this.#text = text;
		this.#head = head;
		this.#lines = lines;
		return head;
	}

	/** Puts them into `lines`; returns where the blank line behind them ends. */
	#readLines(text: string, lines: HeaderLine[]): number {
		const known = this.#lines;
		let next = 0;
		let length: string | undefined;
		let start = text.indexOf("\n") + 1;
		for (;;) {
			let line = known[next];
			if (line !== undefined && text.startsWith(line.text, start)) next++;
			else {
				const end = text.indexOf("\n", start) + 1;
				if (isBlank(text, start, end)) return end;
				const other = lineIn(text.slice(start, end));
				if (line?.name === other.name) next++;
				line = other;
			}
			start += line.text.length;
			if (line.name === "content-length") {
				if (length !== undefined && length !== line.value) throw new MalformedAnswer("sent two different lengths");
				if (length !== undefined) continue;
				length = line.value;
			}
			lines.push(line);
		}
	}
}

function headOf(text: string, size: number, headers: HeaderList): ParsedHead {
	const connection = headers.get("connection");
	return {
		status: Number(text.slice(9, 12)),
		headers,
		size,
		encoding: headers.get("transfer-encoding")?.toLowerCase().trim() ?? null,
		length: headers.get("content-length"),
		keepsAlive: text[7] === "1" && (connection === null || !/\bclose\b/i.test(connection)),
	};
}

/** Whether the line of which these are the bounds, its end included, is empty. */
const isBlank = (text: string, start: number, end: number): boolean =>
	end <= start + 1 || (end === start + 2 && text.charCodeAt(start) === CR);

/** @param text with its end */
function lineIn(text: string): HeaderLine {
	const colon = text.indexOf(":");
	if (colon === -1) throw new MalformedAnswer("sent a header line that is none");
	const name = nameOf(text.slice(0, colon));
	const value = text.slice(colon + 1, text.endsWith("\r\n") ? -2 : -1).trim();
	if (value.includes("\r") || value.includes("\0")) {
		throw new MalformedAnswer("sent a header value with characters that none may have");
	}
	return { text, name, value };
}

/** Names as they are sent → in lower case: upstreams send the same dozen with every answer. Bounded, since they choose them. */
const names = new Map<string, string>();
const MOST_NAMES = 1000;

function nameOf(sent: string): string {
	let name = names.get(sent);
	if (name === undefined) {
		if (!NAME.test(sent)) throw new MalformedAnswer("sent a header line that is none");
		// A copy: a piece of the head would hold all of it in memory.
		const copy = Buffer.from(sent).toString("latin1");
		name = copy.toLowerCase();
		if (names.size >= MOST_NAMES) names.clear();
		names.set(copy, name);
	}
	return name;
}
