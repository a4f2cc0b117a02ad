/** Gets the files behind https addresses that callers name, for upstreams that fetch none themselves. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { invalid } from "../../openai/chat.ts";
import { typeNamed } from "../../providers/media-parts.ts";
import type { Media, UpstreamAnswer } from "../../providers/provider.ts";
import { isPublic } from "./public-address.ts";
import type { FileFetch } from "./transport.ts";

/** Largest file, and all of one call's, bytes: the API takes 20 MB inline. */
const MAX_FILE = 20 * 1024 * 1024;
const MAX_FILES = 48 * 1024 * 1024;
/** How long one may take, redirects included, ms. */
const MAX_MS = 15_000;
const MAX_REDIRECTS = 4;

/** The network, as it is used here; tests have their own. */
export interface MediaAccess {
	readonly get: FileFetch;
	/** The addresses a name means. Rejects where it means none. */
	readonly resolve: (name: string) => Promise<readonly string[]>;
	readonly isAllowed: (address: string) => boolean;
}

/** The world as it is. */
export const mediaAccess = (get: FileFetch): MediaAccess => ({
	get,
	resolve: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
	isAllowed: isPublic,
});

/** How much one call may still get, bytes. */
export interface Allowance {
	left: number;
}

/** What a call may get at most. */
export const allowance = (): Allowance => ({ left: MAX_FILES });

/**
 * The file. Throws `invalid_value` naming `param` where there is none to be had; the reason never says more of what is there than
 * anybody on the internet could find out.
 */
export async function fetchMedia(
	url: string,
	param: string,
	access: MediaAccess,
	allowance: Allowance,
	signal: AbortSignal,
): Promise<Media> {
	const stop = new AbortController();
	const abort = () => stop.abort();
	const timer = setTimeout(abort, MAX_MS);
	signal.addEventListener("abort", abort);
	// A name server's look-up can't be aborted.
	const aborted = new Promise<never>((_, fail) => stop.signal.addEventListener("abort", fail));
	aborted.catch(() => {});
	if (signal.aborted) abort();
	try {
		let at = new URL(url);
		for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
			const address = await addressOf(at, param, access, aborted);
			const answer = await access.get(at, address, stop.signal);
			const location = answer.headers.get("location");
			if (answer.status < 300 || answer.status >= 400 || location === null)
				return await fileOf(answer, param, allowance);
			if (!URL.canParse(location, at.href)) throw invalid(param, "leads to an address that is none");
			at = new URL(location, at.href);
		}
		throw invalid(param, `leads from one address to the next more than ${MAX_REDIRECTS} times`);
	} catch (thrown) {
		if (thrown instanceof Error && thrown.name === "RouterError") throw thrown;
		const reason = stop.signal.aborted ? `can't be fetched within ${MAX_MS / 1000} s` : "can't be fetched";
		throw invalid(param, reason);
	} finally {
		clearTimeout(timer);
		signal.removeEventListener("abort", abort);
		stop.abort();
	}
}

/** The one machine to ask. Every address of the name must be public, or which one is asked would be luck. */
async function addressOf(
	{ protocol, hostname, username, password }: URL,
	param: string,
	{ resolve, isAllowed }: MediaAccess,
	aborted: Promise<never>,
): Promise<string> {
	if (protocol !== "https:" || username !== "" || password !== "") {
		throw invalid(param, "must lead to https addresses without a user or password");
	}
	const name = hostname.replace(/^\[|\]$/g, "");
	// A name that means nothing looks like one that means something private: which names this network has is its own affair.
	const addresses = isIP(name) ? [name] : await Promise.race([resolve(name).catch(() => []), aborted]);
	if (addresses.length === 0 || !addresses.every(isAllowed)) {
		throw invalid(param, "leads to nothing on the public internet");
	}
	return addresses[0]!;
}

async function fileOf({ status, headers, body }: UpstreamAnswer, param: string, allowance: Allowance): Promise<Media> {
	if (status < 200 || status >= 300) throw invalid(param, `leads to an address that answers ${status}`);
	const parts: Uint8Array[] = [];
	let size = 0;
	for (let part = await body.read(); part; part = await body.read()) {
		parts.push(part);
		size += part.byteLength;
		allowance.left -= part.byteLength;
		if (size > MAX_FILE) throw invalid(param, `leads to a file larger than ${MAX_FILE / 1024 / 1024} MB`);
		if (allowance.left < 0) throw invalid(param, `and those before it lead to more than ${MAX_FILES / 1024 / 1024} MB`);
	}
	const bytes = Buffer.concat(parts);
	const type = typeOf(headers.get("content-type"), bytes);
	if (type === undefined) throw invalid(param, "leads to no image, document, sound or film");
	return { type, data: bytes.toString("base64") };
}

/** The first bytes, in hex, of files that servers send under no type of their own. */
const SIGNATURES: readonly (readonly [RegExp, string])[] = [
	[/^89504e470d0a1a0a/, "image/png"],
	[/^ffd8ff/, "image/jpeg"],
	[/^47494638/, "image/gif"],
	[/^52494646.{8}57454250/, "image/webp"],
	[/^255044462d/, "application/pdf"],
];

/** The media type: what the server says where that is one a model may be sent, else what the bytes are. */
function typeOf(header: string | null, bytes: Buffer): string | undefined {
	const named = typeNamed(header?.split(";")[0]?.trim() ?? "");
	if (/^(?:image|audio|video)\/[\w.+-]+$|^application\/pdf$|^text\/(?:plain|csv|markdown)$/.test(named)) return named;
	const head = bytes.subarray(0, 16).toString("hex");
	return SIGNATURES.find(([pattern]) => pattern.test(head))?.[1];
}
