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

function askedAt(written: string): Pick<AskedMethod, "model" | "method"> {
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
	return Buffer.concat([Buffer.from(`${pathIn(url)}\n`), body]);
}

/** The two apart. Throws `unknown_path` as `askedMethod` does. */
export function partedRequest(sent: Buffer): Pick<AskedMethod, "model" | "method"> & { readonly body: Buffer } {
	const end = sent.indexOf(LINE_END);
	const { model, method } = askedAt(sent.toString("utf8", 0, end));
	return { model, method, body: sent.subarray(end + 1) };
}
