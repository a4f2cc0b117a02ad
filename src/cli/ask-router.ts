/** A client of a running router, for the commands that ask one. */
import type { Config } from "../config/schema.ts";
import { StartError } from "../errors.ts";
import { isOk, type UpstreamAnswer } from "../providers/provider.ts";
import { readText } from "../proxy/net/read-body.ts";
import { httpTransport, readCa } from "../proxy/net/transport.ts";
import { localUrl } from "./local-url.ts";
import { plainText } from "./table.ts";

/** How long the answer may take, ms: a list of models may wait 2 s for upstreams. */
const TIMEOUT_MS = 10_000;
/** Largest answer read, bytes. */
const MAX_ANSWER = 64 * 1024 * 1024;

/** Nothing answers at the router's address. */
export class UnreachableRouter extends StartError {}

/** The router that is asked. */
export interface RouterResponse {
	/** Its base URL, without a closing slash. */
	readonly url: string;
	/**
	 * The `data` of a list. Throws StartError where nothing answers or the answer is no list; undefined for a 401 or 403 where
	 * `mayRefuse`.
	 */
	list<Item>(path: string, secret: string | undefined, mayRefuse?: boolean): Promise<Item[] | undefined>;
	/** The answer's JSON; a POST where there is a body. Throws StartError for every other answer than a good one. */
	ask<Body>(path: string, secret: string | undefined, body?: string): Promise<Body>;
	/** The answer's text and headers. Throws StartError for every other answer than a good one. */
	text(path: string, secret: string | undefined): Promise<Pick<UpstreamAnswer, "headers"> & { readonly text: string }>;
}

/** The key that the command line calls with: one that may use every model, if there is one. A key given by its hash can't be used. */
export function callerKey({ keys }: Config): string | undefined {
	return plainKey(keys.filter(({ models }) => models.includes("*"))) ?? plainKey(keys);
}

/** The first of these secrets that is given in clear text, not as its hash. */
export function plainKey(keys: readonly { readonly key: string }[]): string | undefined {
	return keys.find(({ key }) => !/^sha256:/i.test(key))?.key;
}

/** The router at `url`, by default the one that this configuration starts on this machine. */
export function askRouter(url: string | undefined, { server, ca_file }: Config): RouterResponse {
	const isTls = server.tls !== undefined;
	const own = isTls ? localUrl(server).replace("http:", "https:") : localUrl(server);
	const base = (url ?? own).replace(/\/+$/, "").replace(/\/v1$/, "");
	if (!/^https?:\/\//.test(base) || !URL.canParse(base)) {
		throw new StartError(`--url ${base} is no http(s) address: http://router:8000`);
	}
	// The certificate names the router's public host, which loopback is not.
	const acceptsAnyCertificate = url === undefined && isTls;
	const transport = httpTransport({ ca: readCa(ca_file), acceptsAnyCertificate });
	async function ask(path: string, secret: string | undefined, body?: string) {
		const headers: Record<string, string> = { accept: "application/json" };
		if (secret) headers["authorization"] = `Bearer ${secret}`;
		if (body !== undefined) headers["content-type"] = "application/json";
		let answer: UpstreamAnswer;
		let text: string;
		try {
			const request = { url: base + path, headers, ...(body !== undefined && { body }) };
			answer = await transport.send(request, AbortSignal.timeout(TIMEOUT_MS));
			text = await readText(answer, MAX_ANSWER);
		} catch {
			throw new UnreachableRouter(`nothing answers at ${base}: is the router running there? --url names another`);
		}
		return { answer, text, content: parsed(text) };
	}
	function refused(path: string, answer: UpstreamAnswer, content: unknown): StartError {
		const { error } = (content ?? {}) as { error?: { message?: unknown } };
		const message =
			typeof error?.message === "string"
				? plainText(error.message)
				: "that is no router; --url names one: http://router:8000";
		const { status } = answer;
		// The router says how a client gives a key; this client takes it from elsewhere.
		const key =
			status === 401 && path.startsWith("/v1/")
				? " This command takes the key from `keys:` of its configuration (--config)."
				: "";
		return new StartError(`${base}${path} answers ${status}: ${message}${key}`);
	}
	return {
		url: base,
		async list<Item>(path: string, secret: string | undefined, mayRefuse = false) {
			const { answer, content } = await ask(path, secret);
			if (mayRefuse && (answer.status === 401 || answer.status === 403)) return undefined;
			const { data } = (content ?? {}) as { data?: unknown };
			if (isOk(answer) && Array.isArray(data)) return data as Item[];
			throw refused(path, answer, content);
		},
		async ask<Body>(path: string, secret: string | undefined, body?: string) {
			const { answer, content } = await ask(path, secret, body);
			if (isOk(answer) && content !== undefined) return content as Body;
			throw refused(path, answer, content);
		},
		async text(path: string, secret: string | undefined) {
			const { answer, text, content } = await ask(path, secret);
			if (isOk(answer)) return { text, headers: answer.headers };
			throw refused(path, answer, content);
		},
	};
}

function parsed(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
