/**
 * HTTP/1.1 to upstreams, with and without TLS.
 *
 * `fetch` crosses to a thread of its own and back for every call, and for every chunk of a stream. This also distinguishes a connection that could not be
 * made within 5 s from a model that thinks for minutes, and one that was reset from one that ended, which fetch does not when
 * an answer has no length.
 */
import type { CancelSignal, Transport, UpstreamAnswer, UpstreamRequest } from "../../providers/provider.ts";
import { type ConnectionOwner, Http1Connection } from "./http1-connection.ts";
import { HeadReader } from "./http1-head.ts";
import type { Origin } from "./http1-origin.ts";

/** How long a connection may take to come about, ms. */
const CONNECT_MS = 5_000;
/** How long an idle connection is used again, ms: uvicorn, which vLLM runs on, closes its own after 5 s. */
const IDLE_MS = 4_500;
/** The same of TLS, which takes longer to come about: public services keep connections for a minute and more. */
const TLS_IDLE_MS = 48_000;
/** Idle connections kept an origin. */
const MOST_IDLE = 512;

/** Addresses whose requests' heads are remembered: upstreams are few, and their paths. */
const MOST_DESTINATIONS = 1000;

/** What may differ. */
export interface Http1Options {
	/** PEM with all the authorities that are trusted, in the place of the public ones. */
	readonly ca?: Buffer | undefined;
	/** How long an idle connection is used again. */
	readonly idleMs?: number;
	/** A clock that never goes back, ms. */
	readonly now?: () => number;
	/** Connects to every origin. */
	readonly open?: Origin["open"];
}

/** The clock of durations. No time of it is compared with those of other files, so that a plain call needs none of them. */
const monotonic = (): number => performance.now();

/** A transport with connections of its own. */
export function http1Transport({ idleMs, now = monotonic, ca, open }: Http1Options = {}): Transport {
	const pools = new Map<string, Pool>();
	const destinations = new Map<string, Destination>();
	function destinationOf(address: string): Destination {
		const url = new URL(address);
		let pool = pools.get(url.origin);
		if (!pool) {
			const origin = open ? { ...originOf(url, ca), open } : originOf(url, ca);
			pool = new Pool(origin, idleMs ?? (origin.tls ? TLS_IDLE_MS : IDLE_MS), now);
			pools.set(url.origin, pool);
		}
		const destination = { pool, head: new RequestHead(url) };
		if (destinations.size >= MOST_DESTINATIONS) destinations.clear();
		destinations.set(address, destination);
		return destination;
	}
	return {
		send(request, signal, connectMs = CONNECT_MS) {
			try {
				const { pool, head } = destinations.get(request.url) ?? destinationOf(request.url);
				return pool.send(head.textOf(request), request, signal, connectMs);
			} catch (error) {
				return Promise.reject(error);
			}
		},
	};
}

/** An address that requests go to. */
interface Destination {
	readonly pool: Pool;
	readonly head: RequestHead;
}

/** The connections to one origin. */
class Pool implements ConnectionOwner {
	readonly heads = new HeadReader();
	/** The one used last is at the end, and is used first. */
	readonly #idle: Http1Connection[] = [];

	constructor(
		private readonly origin: Origin,
		private readonly idleMs: number,
		private readonly now: () => number,
	) {}

	send(head: string, { body }: UpstreamRequest, signal: CancelSignal, connectMs: number): Promise<UpstreamAnswer> {
		for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) {
			if (!this.#isOld(idle)) return idle.send(head, body, signal);
			idle.retire();
		}
		return this.#sendOverNew(head, body, signal, connectMs);
	}

	async #sendOverNew(
		head: string,
		body: UpstreamRequest["body"],
		signal: CancelSignal,
		connectMs: number,
	): Promise<UpstreamAnswer> {
		const connection = await Http1Connection.open(this.origin, connectMs, signal, this);
		return connection.send(head, body, signal);
	}

	idle(connection: Http1Connection): void {
		if (this.#idle.length < MOST_IDLE) {
			connection.rest(this.now());
			this.#idle.push(connection);
		} else connection.discard();
	}

	checked(connection: Http1Connection): void {
		if (this.#isOld(connection)) connection.retire();
	}

	#isOld({ idleSince }: Http1Connection): boolean {
		return this.now() - idleSince > this.idleMs;
	}

	closed(connection: Http1Connection): void {
		const index = this.#idle.indexOf(connection);
		if (index !== -1) this.#idle.splice(index, 1);
	}
}

function originOf({ protocol, hostname: inUrl, port }: URL, ca: Buffer | undefined): Origin {
	const hostname = inUrl.replace(/^\[|\]$/g, "");
	if (protocol !== "https:") return { hostname, port: Number(port || 80) };
	// A closing dot is no part of the names in certificates.
	return { hostname, port: Number(port || 443), tls: { serverName: hostname.replace(/\.$/, ""), ...(ca && { ca }) } };
}

type HeadParts = Pick<UpstreamRequest, "headers" | "body" | "method">;

/**
 * The heads of requests to one address. Most of their headers are the same each time: the text of those is made and checked once, and only the
 * others are put behind it.
 */
class RequestHead {
	readonly #target: string;
	readonly #basic: string | undefined;
	/** Headers that have been the same in all requests; undefined before the first. */
	#same: Map<string, string> | undefined;
	/** The request line and those. */
	#text = "";

	constructor(url: URL) {
		this.#target = `${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n`;
		this.#basic = url.username === "" ? undefined : headerLine("authorization", basic(url));
	}

	/** The text, each of whose characters is a byte. Throws TypeError for a header that no message can hold. */
	textOf(request: HeadParts): string {
		const { headers, body } = request;
		const same = this.#same;
		let count = 0;
		let text = "";
		for (const name in headers) {
			const value = headers[name]!;
			if (same?.get(name) === value) count++;
			else text += headerLine(name, value);
		}
		if (count !== same?.size) return this.#other(request);
		// As fetch does for an address with a user and a password.
		if (this.#basic !== undefined && headers["authorization"] === undefined) text += this.#basic;
		const method = request.method ?? (body === undefined ? "GET" : "POST");
		if (body !== undefined) {
			const length = lengthOf(body);
			text += length === undefined ? CHUNKED : `content-length: ${length}\r\n`;
		}
		return `${method} ${this.#text}${text}\r\n`;
	}

	/** Of a request whose headers are not the same any more in one that was; or of the first. */
	#other(request: HeadParts): string {
		const { headers } = request;
		const before = this.#same ?? new Map(Object.entries(headers));
		const same = [...before].filter(([name, value]) => headers[name] === value);
		this.#text = this.#target + same.map(([name, value]) => headerLine(name, value)).join("");
		this.#same = new Map(same);
		return this.textOf(request);
	}
}

const CHUNKED = "transfer-encoding: chunked\r\n";

/** Bytes; undefined of a body that is read while it is sent, and of which nobody knows. */
function lengthOf(body: NonNullable<UpstreamRequest["body"]>): number | undefined {
	if (typeof body === "string") return Buffer.byteLength(body);
	if ("read" in body) return body.length;
	let sum = 0;
	for (const piece of body) sum += piece.length;
	return sum;
}

/** A line end in a value would begin a header, or a request, of the value's own. Values are ISO 8859-1 (RFC 9110, 5.5). */
function headerLine(name: string, value: string): string {
	if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) {
		throw new TypeError(`The header ${name} has a character that no HTTP message can hold.`);
	}
	return `${name}: ${value}\r\n`;
}

const basic = ({ username, password }: URL): string =>
	`Basic ${btoa(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}`;
