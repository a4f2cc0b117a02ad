/**
 * Finds out that no connection to an upstream comes about, which `fetch` does not tell from a model that thinks: the kernel gives
 * up after two minutes. While a request has no answer, a bare connection beside it knocks at the same door.
 */
import { ConnectionLost } from "./http1-connection.ts";

/** A sign of life counts for so long, ms. */
const FRESH_MS = 10_000;
/** Most requests are answered within this, ms; only then is knocked. At most half of the time that a connection may take. */
const PATIENCE_MS = 1_000;

/** What is known of the origins that requests go to. */
export class ConnectWatch {
	readonly #aliveAt = new Map<string, number>();
	#lastUrl = "";
	#lastOrigin = "";

	/** Whether there was a sign of life of late: nobody need watch. */
	isFresh(url: string): boolean {
		// Calls come in rows to the same place: to cut the same text and to look up what was cut costs 1 µs.
		if (url !== this.#lastUrl) {
			this.#lastUrl = url;
			this.#lastOrigin = originOf(url);
		}
		const aliveAt = this.#aliveAt.get(this.#lastOrigin);
		return aliveAt !== undefined && performance.now() - aliveAt < FRESH_MS;
	}

	/** The answer to a request to `url`; rejects with ConnectionLost `ETIMEDOUT` where no connection came about within `connectMs`. */
	async over<T>(answer: Promise<T>, url: string, connectMs: number): Promise<T> {
		const origin = originOf(url);
		const { promise: unreached, reject } = Promise.withResolvers<never>();
		const patienceMs = Math.min(PATIENCE_MS, connectMs / 2);
		const timer = setTimeout(() => {
			this.#knock(origin, connectMs - patienceMs).then((isThere) => {
				if (!isThere) reject(new ConnectionLost("ETIMEDOUT"));
			}, reject);
		}, patienceMs);
		try {
			return this.#alive(origin, await Promise.race([answer, unreached]));
		} finally {
			clearTimeout(timer);
		}
	}

	#alive<T>(origin: string, value: T): T {
		this.#aliveAt.set(origin, performance.now());
		return value;
	}

	/** False where the connection neither comes about nor is refused: the request itself tells of all else. */
	async #knock(origin: string, ms: number): Promise<boolean> {
		const { protocol, hostname, port } = new URL(origin);
		const { promise: late, resolve } = Promise.withResolvers<false>();
		const timer = setTimeout(() => resolve(false), ms);
		const connecting = Bun.connect({
			hostname: hostname.replace(/^\[|\]$/g, ""),
			port: Number(port || (protocol === "https:" ? 443 : 80)),
			socket: { data: () => undefined, connectError: () => undefined, error: () => undefined },
		});
		const connected = connecting.then(
			(socket) => {
				this.#alive(origin, undefined);
				socket.terminate();
				return true;
			},
			() => true,
		);
		const isThere = await Promise.race([connected, late]);
		clearTimeout(timer);
		return isThere;
	}
}

/** `https://host:port` of an address, by its text: a parse costs 1 µs. */
function originOf(url: string): string {
	const end = url.indexOf("/", url.indexOf("//") + 2);
	return end === -1 ? url : url.slice(0, end);
}
