/** What of a request of Google's stands in its URL: the model, what is asked of it, and how a stream is written. */
import { RouterError } from "../../errors.ts";

/** What can be asked of a model. */
export const METHODS = [
	"generateContent",
	"streamGenerateContent",
	"countTokens",
	"embedContent",
	"batchEmbedContents",
] as const;
/** One of them. */
export type GeminiMethod = (typeof METHODS)[number];

/** What a URL asks. */
export interface AskedMethod {
	/** As the router knows it; may hold slashes and colons. */
	readonly model: string;
	readonly method: GeminiMethod;
	/** A stream is server-sent events (`alt=sse`); else it is one JSON list. */
	readonly isEvents: boolean;
}

/** `models/` is missing before names with a slash in calls of the AI SDK. */
const PATH = /^(?:[a-z]+:\/\/[^/?#]*)?\/(?:v\d\w*\/(?:models\/)?|models\/)([^?#]*)/i;

/** What is asked by this URL. Throws `unknown_path` where that is nothing that a model can be asked. */
export const askedMethod = (url: string): AskedMethod => ({ ...askedAt(pathIn(url)), isEvents: asksForEvents(url) });

/** The model and what it is asked, as they were written. */
const pathIn = (url: string): string => PATH.exec(url)?.[1] ?? "";

type ModelMethod = Pick<AskedMethod, "model" | "method">;

/** Clients ask the same few things with every call: each is read once. Bounded, since clients choose them. */
const known = new Map<string, ModelMethod>();
const MOST_KNOWN = 1000;
/** Longest path that is remembered, characters. */
const LONGEST_KNOWN = 200;

function askedAt(written: string): ModelMethod {
	const before = known.get(written);
	if (before) return before;
	const asked = readAsked(written);
	if (known.size >= MOST_KNOWN) known.clear();
	if (written.length <= LONGEST_KNOWN) known.set(written, asked);
	return asked;
}

function readAsked(written: string): ModelMethod {
	const path = decoded(written).replace(/\/$/, "");
	// Models of Ollama's have colons in their names, too.
	const colon = path.lastIndexOf(":");
	const name = path.slice(colon + 1);
	const method = METHODS.find((each) => each === name);
	if (colon > 0 && method) return { model: path.slice(0, colon), method };
	throw new RouterError(
		"unknown_path",
		`A model is asked by POST /v1beta/models/{model}:{method}; methods are ${METHODS.join(", ")}.`,
	);
}

/** The key in a URL (`?key=…`); undefined where there is none. */
export const keyInUrl = (url: string): string | undefined =>
	url.includes("key=") ? queryOf(url).get("key") || undefined : undefined;

/** Whether a stream is to be events. Most queries that there are say that alone. */
function asksForEvents(url: string): boolean {
	const at = url.indexOf("?");
	return at !== -1 && (url.slice(at) === "?alt=sse" || queryOf(url).get("alt") === "sse");
}

const queryOf = (url: string): URLSearchParams => {
	const at = url.indexOf("?");
	return new URLSearchParams(at === -1 ? "" : url.slice(at + 1));
};

function decoded(path: string): string {
	if (!path.includes("%")) return path;
	try {
		return decodeURIComponent(path);
	} catch {
		return path;
	}
}

const LINE_END = 10;

/** A request's body behind a line that says what its URL does: what is read, remembered and compared as one. */
export function joinedRequest(url: string, body: Buffer): Buffer {
	const path = pathIn(url);
	const length = Buffer.byteLength(path);
	const joined = Buffer.allocUnsafe(length + 1 + body.length);
	joined.write(path);
	joined[length] = LINE_END;
	joined.set(body, length + 1);
	return joined;
}

/** The two apart; `start` is where the body begins. Throws `unknown_path` as `askedMethod` does. */
export function partedRequest(sent: Buffer): { readonly asked: ModelMethod; readonly start: number } {
	const end = sent.indexOf(LINE_END);
	return { asked: askedAt(sent.toString("utf8", 0, end)), start: end + 1 };
}
