/** Files that a call names: a key reaches its own alone, by whatever route. */
import { RouterError } from "../errors.ts";
import type { ObjectStore } from "../store/object-table.ts";

/** Who asks, as far as it matters whose a file is. */
interface Asking {
	readonly id: string;
}

/** Fields that hold ids of files: `file_id`, `file_ids`, `image_file_id`, `fileId`. */
const FIELD = /file_?ids?$/i;
/** Longest id that is looked up, characters. */
const LONGEST_ID = 200;
/** As long as one can be in JSON, each character of it escaped, with its quotes. */
const LONGEST_WRITTEN = 6 * LONGEST_ID + 2;

/**
 * Throws `object_not_found` where a call names a file that another key has made here. A file that nobody has made here is its provider's to
 * refuse. To be called only where the store has any.
 * @param sent the client's bytes, JSON; what can't be parsed names none
 */
export function refuseForeignFiles(objects: ObjectStore, caller: Asking | undefined, sent: Buffer): void {
	// A name may be written with escapes, which no client does without need.
	if (!(sent.includes("file_id") || sent.includes("fileId") || sent.includes("\\u00"))) return;
	const owner = caller?.id ?? "";
	for (const id of fileIdsIn(sent)) {
		const owners = objects.objectOwners("file", id);
		if (owners.length === 0 || owners.includes(owner)) continue;
		throw new RouterError("object_not_found", `This key has no file "${id}".`, { param: "file_id" });
	}
}

/**
 * By the text, and not by what it parses to: of two fields of one name a parser has one only, and an upstream's may have the other. A text that is no
 * JSON is refused by whoever reads it.
 */
function fileIdsIn(sent: Buffer): ReadonlySet<string> {
	const found = new Set<string>();
	const text = sent.toString();
	let isFile = false;
	for (let start = text.indexOf('"'); start !== -1; ) {
		const end = endOfString(text, start);
		if (end === -1) break;
		if (isName(text, end)) isFile = end - start <= LONGEST_WRITTEN && FIELD.test(stringIn(text, start, end));
		// A list's are all meant.
		else if (isFile && end - start <= LONGEST_WRITTEN) add(found, stringIn(text, start, end));
		start = text.indexOf('"', end);
	}
	return found;
}

/** Behind the closing quote of the string that begins here; -1 where there is none. */
function endOfString(text: string, start: number): number {
	for (let quote = text.indexOf('"', start + 1); quote !== -1; quote = text.indexOf('"', quote + 1)) {
		let before = quote;
		while (text[before - 1] === "\\") before--;
		if ((quote - before) % 2 === 0) return quote + 1;
	}
	return -1;
}

const COLON = /\s*:/y;

/** Whether the string that ends here is the name of a field. */
function isName(text: string, end: number): boolean {
	COLON.lastIndex = end;
	return COLON.test(text);
}

function stringIn(text: string, start: number, end: number): string {
	const inner = text.slice(start + 1, end - 1);
	if (!inner.includes("\\")) return inner;
	try {
		return String(JSON.parse(text.slice(start, end)));
	} catch {
		return inner;
	}
}

function add(found: Set<string>, id: string): void {
	if (id !== "" && id.length <= LONGEST_ID) found.add(id);
}
