/**
 * HTTP/1.1 to upstreams at plain `http:` addresses, which is where models on one's own machines are: vLLM, agents, llm-d.
 *
 * Made for streams: `fetch` crosses to a thread of its own and back for every chunk. It also distinguishes a connection that could not be
 * made within 5 s from a model that thinks for minutes, and one that was reset from one that ended, which fetch does not when
 * an answer has no length.
 */
import type { Transport, UpstreamAnswer, UpstreamRequest } from "../../providers/provider.ts";
import { type ConnectionOwner, Http1Connection, type Origin } from "./http1-connection.ts";
import { MalformedAnswer } from "./http1-parser.ts";

/** How long a connection may take to come about, ms. */
const CONNECT_MS = 5_000;
/** How long an idle connection is kept, s: uvicorn, which vLLM runs on, closes its own after 5. */
const IDLE_SECONDS = 4;
/** Idle connections kept an origin. */
const MOST_IDLE = 512;

/** What may differ. */
export interface Http1Options {
	readonly idleSeconds?: number;
}

/** A transport with connections of its own. Its addresses must begin with `http://`. */
export function http1Transport({ idleSeconds = IDLE_SECONDS }: Http1Options = {}): Transport {
	const pools = new Map<string, Pool>();
	return {
		async send(request, signal, connectMs = CONNECT_MS) {
			const url = new URL(request.url);
			let pool = pools.get(url.host);
			if (!pool) {
				pool = new Pool(originOf(url), idleSeconds);
				pools.set(url.host, pool);
			}
			return pool.send(requestText(request, url), signal, connectMs);
		},
	};
}

/** The connections to one origin. */
class Pool implements ConnectionOwner {
	/** The one used last is at the end, and is used first. */
	readonly #idle: Http1Connection[] = [];

	constructor(
		private readonly origin: Origin,
		private readonly idleSeconds: number,
	) {}

	async send(request: string | Buffer, signal: AbortSignal, connectMs: number): Promise<UpstreamAnswer> {
		const connection = this.#idle.pop() ?? (await Http1Connection.open(this.origin, connectMs, signal, this));
		return decodedAnswer(await connection.send(request, signal));
	}

	idle(connection: Http1Connection): void {
		if (this.#idle.length < MOST_IDLE) {
			connection.rest(this.idleSeconds);
			this.#idle.push(connection);
		} else connection.discard();
	}

	closed(connection: Http1Connection): void {
		const index = this.#idle.indexOf(connection);
		if (index !== -1) this.#idle.splice(index, 1);
	}
}

function originOf({ hostname, port }: URL): Origin {
	return { hostname: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 80) };
}

/**
 * The request on the wire: text, where its UTF-8 is what is sent, since the socket encodes that itself; a buffer of our own a
 * call doubles the garbage collections. Throws TypeError for a header that no message can hold.
 */
function requestText({ headers, body }: UpstreamRequest, url: URL): string | Buffer {
	const sent = typeof body === "object" ? Buffer.concat(body) : (body ?? "");
	let head = `${body === undefined ? "GET" : "POST"} ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n`;
	for (const name in headers) head += headerLine(name, headers[name]!);
	// As fetch does for an address with a user and a password.
	if (url.username && headers["authorization"] === undefined) head += headerLine("authorization", basic(url));
	if (body === undefined) head += "\r\n";
	else head += `content-length: ${Buffer.byteLength(sent)}\r\n\r\n`;
	// Header values are ISO 8859-1 (RFC 9110, 5.5).
	const isAscii = !/[\x80-\xff]/.test(head);
	if (isAscii && typeof sent === "string") return head + sent;
	return Buffer.concat([Buffer.from(head, "latin1"), typeof sent === "string" ? Buffer.from(sent) : sent]);
}

/** A line end in a value would begin a header, or a request, of the value's own. */
function headerLine(name: string, value: string): string {
	if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) {
		throw new TypeError(`The header ${name} has a character that no HTTP message can hold.`);
	}
	return `${name}: ${value}\r\n`;
}

const basic = ({ username, password }: URL): string =>
	`Basic ${btoa(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}`;

/** Names of content codings (RFC 9110, 8.4.1) → those of DecompressionStream, Bun's own among them. */
const FORMATS: Readonly<Record<string, ConstructorParameters<typeof DecompressionStream>[0]>> = {
	gzip: "gzip",
	"x-gzip": "gzip",
	deflate: "deflate",
	br: "brotli",
	zstd: "zstd",
};

/** The answer with its body decompressed where it says that it is compressed: identity is asked for, and some upstreams compress all the same. Throws MalformedAnswer for an unknown coding. */
function decodedAnswer(answer: UpstreamAnswer): UpstreamAnswer {
	const coding = answer.headers.get("content-encoding")?.trim().toLowerCase();
	if (!coding || coding === "identity") return answer;
	const format = Object.hasOwn(FORMATS, coding) ? FORMATS[coding] : undefined;
	if (!format) throw new MalformedAnswer("sent a content encoding that nobody asked for");
	const { body } = answer;
	const bytes = new ReadableStream<Uint8Array<ArrayBuffer>>({
		async pull(controller) {
			const chunk = await body.read();
			if (chunk) controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
			else controller.close();
		},
	});
	const reader = bytes.pipeThrough(new DecompressionStream(format)).getReader();
	return { ...answer, body: { read: async () => (await reader.read()).value } };
}
