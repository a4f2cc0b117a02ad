/** How upstreams are reached: the one place that calls `fetch`. */
import { readFileSync } from "node:fs";
import { isIP, isIPv6 } from "node:net";
import { StartError } from "../../errors.ts";
import type { BodyStream } from "../../openai/call.ts";
import type { ByteSource, CancelSignal, Transport, UpstreamAnswer, UpstreamRequest } from "../../providers/provider.ts";
import { publicAuthorities } from "../../public-authorities.ts";
import { VERSION } from "../../version.ts";
import { ALIVE_MS, ConnectWatch, originOf } from "./connect-watch.ts";
import { behindProxy, type NamedProxy, type ProxyChoice, unauthorized } from "./environment-proxy.ts";
import { http1Transport } from "./http1.ts";
import { MAX_ANSWER } from "./read-body.ts";

/** How to reach an upstream. */
export interface TransportOptions {
	/** PEM with further certificate authorities. */
	readonly ca?: string | undefined;
	/** `HTTPS_PROXY` and friends, for what is not local; absent: every address is called directly. */
	readonly proxyFor?: ProxyChoice | undefined;
	/** Only for asking this machine about itself. */
	readonly acceptsAnyCertificate?: boolean;
}

/** RFC 9110, 15.5.8: only proxies say this. */
const PROXY_AUTHENTICATION_REQUIRED = 407;

/** Bun's own additions to `fetch`, as far as they are used here. */
interface BunFetchInit extends RequestInit {
	timeout: false;
	proxy?: string | false;
	tls?: { ca?: Buffer; serverName?: string; rejectUnauthorized?: false };
}

/**
 * Requests over HTTP: over connections of our own, which take less CPU; by `fetch` what goes through a proxy, or where any certificate
 * will do. There `timeout: false` lifts Bun's end after 360 s without bytes: deadlines are kept by the caller's signal. `proxy: false` since
 * Bun applies HTTP_PROXY to 127.0.0.1, too. Redirects are not followed: they would carry the provider's key to another host, so a 3xx is
 * an answer like any other.
 */
export function httpTransport({ ca, proxyFor, acceptsAnyCertificate }: TransportOptions = {}): Transport {
	// `ca` takes the place of the built-in roots; both are wanted. As a list they cost more with each call than in one buffer.
	const trusted = ca ? { ca: trustedWith(ca) } : undefined;
	const direct = http1Transport(trusted);
	const watch = new ConnectWatch();
	const tls = acceptsAnyCertificate ? { rejectUnauthorized: false as const } : trusted;
	async function fetched(
		{ url, headers, body, method }: UpstreamRequest,
		signal: CancelSignal,
		connectMs: number | undefined,
		proxy: NamedProxy | undefined,
	): Promise<UpstreamAnswer> {
		const request = body === undefined ? { method: method ?? "GET" } : { method: "POST", body: bodyInit(body) };
		const init: BunFetchInit = {
			...request,
			headers,
			signal: signal.signal ?? (signal as AbortSignal),
			redirect: "manual",
			timeout: false,
			proxy: proxy?.url ?? false,
			...(tls && url.startsWith("https:") ? { tls } : {}),
		};
		const answer = fetch(url, init as RequestInit);
		const origin = originOf(proxy?.url ?? url);
		const aliveAt = watch.aliveAt.get(origin);
		const isFresh = aliveAt !== undefined && performance.now() - aliveAt < ALIVE_MS;
		const response = connectMs === undefined || isFresh ? answer : watch.over(answer, origin, connectMs);
		return proxy === undefined ? responseAnswer(await response) : throughProxy(response, proxy);
	}
	return {
		send(outgoing, signal, connectMs) {
			const { url } = outgoing;
			const proxy = proxyFor?.(url);
			if (proxy === undefined && !acceptsAnyCertificate) return direct.send(outgoing, signal, connectMs);
			return fetched(outgoing, signal, connectMs, proxy);
		},
	};
}

/** A web `Response` as an upstream's answer. Reads nothing until it is asked to. */
export function responseAnswer(response: Response): UpstreamAnswer {
	const { status, headers } = response;
	const length = headers.get("content-length");
	// A compressed body, which nobody asked for, is longer than it says.
	const isWhole = length !== null && Number(length) <= MAX_ANSWER && !headers.has("content-encoding");
	return { status, headers, body: new ResponseBody(response), whole: isWhole ? response : undefined };
}

class ResponseBody implements ByteSource {
	#reader: { read(): Promise<{ value?: Uint8Array | undefined }> } | undefined;

	constructor(private readonly response: Response) {}

	async read(): Promise<Uint8Array | undefined> {
		this.#reader ??= this.response.body?.getReader();
		return (await this.#reader?.read())?.value;
	}
}

/** The answer to a call through a proxy. Rejects with ProxyTrouble where the proxy is what failed. */
async function throughProxy(response: Promise<Response>, proxy: NamedProxy): Promise<UpstreamAnswer> {
	let answer: Response;
	try {
		answer = await response;
	} catch (thrown) {
		throw behindProxy(thrown, proxy);
	}
	if (answer.status !== PROXY_AUTHENTICATION_REQUIRED) return responseAnswer(answer);
	await answer.body?.cancel();
	throw unauthorized(proxy);
}

/** A file behind an https address, from the one machine that its name was found to mean. */
export type FileFetch = (url: URL, address: string, signal: AbortSignal) => Promise<UpstreamAnswer>;

/**
 * Fetches files for calls. The connection goes to `address`, not to what the name means by then (DNS rebinding), and the
 * certificate is checked against the name. No redirect is followed, no connection shared: another name's may end there, too.
 */
export function fileFetch({ ca, proxyFor }: Pick<TransportOptions, "ca" | "proxyFor">): FileFetch {
	const trusted = ca ? { ca: trustedWith(ca) } : {};
	return async (url, address, signal) => {
		const port = url.port === "" ? "" : `:${url.port}`;
		const at = `https://${isIPv6(address) ? `[${address}]` : address}${port}${url.pathname}${url.search}`;
		const proxy = proxyFor?.(url.href);
		const name = url.hostname.replace(/^\[|\]$/g, "");
		const init: BunFetchInit = {
			method: "GET",
			headers: { host: url.host, accept: "*/*", "accept-encoding": "identity", "user-agent": `router/${VERSION}` },
			signal,
			redirect: "manual",
			keepalive: false,
			timeout: false,
			proxy: proxy?.url ?? false,
			tls: { ...trusted, ...(isIP(name) ? {} : { serverName: name }) },
		};
		const response = fetch(at, init as RequestInit);
		return proxy === undefined ? responseAnswer(await response) : throughProxy(response, proxy);
	};
}

/** The public authorities and one's own: Bun's `tls.ca` takes the place of the built-in ones, and both are wanted. */
const trustedWith = (ca: string): Buffer => Buffer.from([...publicAuthorities(), ca].join("\n"));

/** The text of the PEM file that a setting names. Throws StartError naming the setting where it can't be read. */
export function readCa(file: string | undefined, setting: "ca_file" | "redis.ca_file" = "ca_file"): string | undefined {
	try {
		return file === undefined ? undefined : readFileSync(file, "utf8");
	} catch (error) {
		throw new StartError(`${setting} can't be read: ${(error as Error).message}`);
	}
}

/** What fetch takes. */
function bodyInit(
	body: NonNullable<UpstreamRequest["body"]>,
): string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
	if (typeof body === "string") return body;
	if ("read" in body) return new ReadableStream({ pull: (controller) => pull(body, controller) });
	return (body.length === 1 ? body[0] : Buffer.concat(body)) as Buffer<ArrayBuffer>;
}

async function pull(body: BodyStream, controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
	const piece = await body.read();
	if (piece) controller.enqueue(piece);
	else controller.close();
}
