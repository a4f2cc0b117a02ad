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

/** The query that most ask for a stream with. */
const EVENTS = "alt=sse";

/** Clients ask the same few things with every call: each URL is read once. Bounded, since clients choose them. */
const byUrl = new Map<string, AskedMethod>();
/** The same by the path behind the version, for URLs with another query, which is not kept: with events, and as a list. */
const byPath = new Map<string, readonly [events: AskedMethod, list: AskedMethod]>();
const MOST_KNOWN = 1000;
/** Longest URL or path that is remembered, characters. */
const LONGEST_KNOWN = 300;

/** What is asked by this URL: the same object for the same, unless that is long. Throws `unknown_path` where that is nothing that a model can be asked. */
export function askedMethod(url: string): AskedMethod {
	const before = byUrl.get(url);
	if (before) return before;
	const [events, list] = askedAt(PATH.exec(url)?.[1] ?? "");
	const asked = asksForEvents(url) ? events : list;
	// What else a query says may be a secret, or another one with each call.
	if (url.length <= LONGEST_KNOWN && (!url.includes("?") || url.endsWith(`?${EVENTS}`))) remember(byUrl, url, asked);
	return asked;
}

function remember<Value>(known: Map<string, Value>, name: string, value: Value): void {
	if (known.size >= MOST_KNOWN) known.clear();
	known.set(name, value);
}

/** @param path as it was written */
function askedAt(path: string): readonly [events: AskedMethod, list: AskedMethod] {
	const before = byPath.get(path);
	if (before) return before;
	const asked = readAsked(path);
	const both = [
		{ ...asked, isEvents: true },
		{ ...asked, isEvents: false },
	] as const;
	if (path.length <= LONGEST_KNOWN) remember(byPath, path, both);
	return both;
}

function readAsked(written: string): Pick<AskedMethod, "model" | "method"> {
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
	return at !== -1 && (url.slice(at + 1) === EVENTS || queryOf(url).get("alt") === "sse");
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
