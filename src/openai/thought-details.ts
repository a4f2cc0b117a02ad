/**
 * `reasoning_details`, OpenRouter's field for what a model has thought in the form in which its vendor wants it back: readable, signed or
 * encrypted. Who has signed a detail is said by its `format`.
 */
import { objectIn } from "./usage.ts";

type Json = Readonly<Record<string, unknown>>;

/** Who signs thoughts. */
export type ThoughtSigner = "anthropic" | "google" | "openai" | "x-ai";

const SIGNERS: Readonly<Record<string, ThoughtSigner>> = {
	"anthropic-claude-v1": "anthropic",
	"google-gemini-v1": "google",
	"openai-responses-v1": "openai",
	"azure-openai-responses-v1": "openai",
	"xai-responses-v1": "x-ai",
};

/** Who has signed a detail; undefined where nobody has, or its format is none that is known. */
export function signerOf(detail: unknown): ThoughtSigner | undefined {
	const { format, data } = objectIn(detail) ?? {};
	const signer = SIGNERS[String(format)];
	// xAI speaks OpenAI's API, too.
	return signer === "openai" && typeof data === "string" && !OPENAIS.test(data) ? "x-ai" : signer;
}

/** How what OpenAI has encrypted begins. */
const OPENAIS = /^gAAAA/;

/** The format of a signature of Google's as Google itself has sent it, which stands in `extra_content` of what it belongs to. */
const GOOGLES = "google-thought-signature";

/** Whether a detail is one of `googlesDetails`, which nobody takes but Google. */
export const isGooglesOwn = (detail: unknown): boolean => objectIn(detail)?.["format"] === GOOGLES;

const googlesIn = (sent: unknown): unknown =>
	objectIn(objectIn(objectIn(sent)?.["extra_content"])?.["google"])?.["thought_signature"];

/** What Google has signed of a message or a piece of one, for wires whose messages and calls have no field for it: of calls under their ids. */
export function googlesDetails(message: Json): object[] {
	const { tool_calls: calls } = message;
	// Most have none.
	if (message["extra_content"] === undefined && !Array.isArray(calls)) return [];
	const detail = (data: unknown, more: object) =>
		typeof data === "string" ? [{ type: "reasoning.encrypted", format: GOOGLES, data, ...more }] : [];
	const ofCalls = Array.isArray(calls)
		? calls.flatMap((call) => detail(googlesIn(call), { id: objectIn(call)?.["id"] }))
		: [];
	return [...detail(googlesIn(message), {}), ...ofCalls];
}

/** All that vendors have signed of a whole message, as details. */
export function signedDetails(message: Json): readonly unknown[] {
	const details: readonly unknown[] = Array.isArray(message["reasoning_details"]) ? message["reasoning_details"] : [];
	return details.some(isGooglesOwn) ? details : [...details, ...googlesDetails(message)];
}

/** The signature of a call, or without an id of the message, among a message's details. */
export function googlesSignature(details: unknown, id?: string): string | undefined {
	if (!Array.isArray(details)) return undefined;
	const found = objectIn(details.findLast((each) => isGooglesOwn(each) && objectIn(each)?.["id"] === id));
	return typeof found?.["data"] === "string" ? found["data"] : undefined;
}

/** Texts of a detail that come in pieces. */
const PIECES = new Set(["text", "data", "signature", "summary"]);

/** Puts a detail of a stream's to those before it: pieces of one have the same index and the same type. */
export function addDetail(details: unknown[], piece: unknown): void {
	const more = objectIn(piece);
	const nth = more?.["index"];
	const at = nth === undefined ? -1 : details.findLastIndex((each) => isSame(objectIn(each), more!));
	if (at === -1 || !more) {
		details.push(piece);
		return;
	}
	const joined: Record<string, unknown> = { ...objectIn(details[at]) };
	for (const [name, value] of Object.entries(more)) {
		const before = joined[name];
		const isPiece = PIECES.has(name) && typeof value === "string" && typeof before === "string";
		joined[name] = isPiece ? before + value : (value ?? before);
	}
	details[at] = joined;
}

/** A summary and what is encrypted beside it have one index (OpenAI's models behind OpenRouter). */
function isSame(before: Json | undefined, { index, type }: Json): boolean {
	return before?.["index"] === index && (type == null || before?.["type"] == null || before["type"] === type);
}

/** How what `carriedDetails` has written begins: base64 of `router:1:`. */
const CARRIED = "cm91dGVyOjE6";
const MARK = "router:1:";

/**
 * Details as one text in base64, for a wire whose clients send back a signature, and nothing else of a thought that they don't know. Its vendor would
 * refuse it: whoever writes a request to that vendor leaves it out.
 */
export const carriedDetails = (details: readonly unknown[]): string =>
	Buffer.from(MARK + JSON.stringify(details)).toString("base64");

/** Whether a signature is none, but carries details. */
export const carriesDetails = (signature: unknown): signature is string =>
	typeof signature === "string" && signature.startsWith(CARRIED);

/** The details that it carries; none where its client has bent it. */
export function detailsIn(signature: string): readonly unknown[] {
	try {
		const details: unknown = JSON.parse(Buffer.from(signature, "base64").toString().slice(MARK.length));
		return Array.isArray(details) ? details : [];
	} catch {
		return [];
	}
}
