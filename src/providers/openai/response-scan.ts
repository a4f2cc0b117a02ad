/** Events of Responses that are looked through in their bytes: those that close a part of a response go on unread, and of the last one only what is counted is parsed. */
import { type TSchema, Type } from "@sinclair/typebox";
import { bytePart } from "../../openai/byte-part.ts";
import { BAD, ObjectScan, placeAt, wordList } from "../../openai/object-scan.ts";
import { open } from "../../openai/request-fields.ts";
import { requestScan } from "../../openai/request-scan.ts";

type Json = Readonly<Record<string, unknown>>;

const LF = 10;
const CR = 13;
const QUOTE = 34;
const OPEN_BRACE = 123;

const ANY_EVENT: TSchema = Type.Object({}, open);
/** Whether bytes are JSON of an object, none of whose fields stands twice. */
const scan = requestScan(ANY_EVENT);

const EVENT = Buffer.from("event: response.");
const NAME_AT = "event: ".length;
const DATA = Buffer.from('\ndata: {"type":"');
/** Longest name of an event that is looked at. */
const LONGEST_NAME = 80;
/** How the names end of events that say again what others have brought, or what is about to come. */
const BESIDE = /\.(?:done|added)$/;

/** Past the event that begins there, where it is such a one, whole, and named as its data says; `from` where it is not. */
export function pastClosing(chunk: Buffer, from: number): number {
	if (!isThere(chunk, from, EVENT)) return from;
	const start = from + NAME_AT;
	const nameEnd = chunk.indexOf(LF, start);
	if (nameEnd === -1 || nameEnd - start > LONGEST_NAME || !isThere(chunk, nameEnd, DATA)) return from;
	const type = nameEnd + DATA.length;
	const typeEnd = type + nameEnd - start;
	const isNamed = chunk[typeEnd] === QUOTE && chunk.compare(chunk, start, nameEnd, type, typeEnd) === 0;
	if (!isNamed || !BESIDE.test(chunk.toString("latin1", start, nameEnd))) return from;
	const end = chunk.indexOf(LF, typeEnd);
	if (end === -1 || chunk[end + 1] !== LF) return from;
	const data = bytePart(chunk, type - '{"type":"'.length, end);
	// For clients it would end the line.
	return data.includes(CR) || !scan(data) ? from : end + 2;
}

const isThere = (chunk: Buffer, at: number, bytes: Buffer): boolean =>
	at + bytes.length <= chunk.length && bytes.compare(chunk, at, at + bytes.length) === 0;

const READ = ["status", "error", "usage"] as const;
const NAMES = wordList(READ);
const values = new Int32Array(READ.length);

class ResponseScan extends ObjectScan {
	/** Those fields of the object that begins there, parsed. */
	read(brace: number): Json | undefined {
		const { text } = this;
		if (text[brace] !== OPEN_BRACE || this.fieldsIn(placeAt(brace), NAMES, values, false) === BAD) return undefined;
		const response: Record<string, unknown> = {};
		for (const [nth, name] of READ.entries()) {
			if (values[nth] !== 0) response[name] = JSON.parse(this.textAt(values[nth]!));
		}
		return response;
	}
}

/** What is read of the response that an event ends with; undefined where only a parse of all of it can tell. @param data its JSON */
export function endedResponse(data: string): Json | undefined {
	const bytes = Buffer.from(data);
	const response = scan(bytes)?.find(({ key }) => key === "response");
	return response && new ResponseScan(bytes).read(response.start);
}
