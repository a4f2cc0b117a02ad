/**
 * Finds out that no connection to a proxy comes about, which `fetch` does not distinguish from a model that thinks: the kernel gives
 * up after two minutes. While a request has no answer, a bare connection to the same address is tried beside it.
 */
import { ConnectionLost } from "./http1-exchange.ts";

/** A sign of life counts for so long, ms. */
export const ALIVE_MS = 10_000;
/** Most requests are answered within this, ms; only then is probed. At most half of the time that a connection may take. */
const PROBE_AFTER_MS = 1_000;

/** What is known of the origins that requests go to. */
export class ConnectWatch {
	/** When each last gave a sign of life, on `performance.now()`'s clock: while that is fresh, nobody need watch. */
	readonly aliveAt = new Map<string, number>();

	/** The answer to a request to an origin; rejects with ConnectionLost `ETIMEDOUT` where no connection came about within `connectMs`. */
	async over<T>(answer: Promise<T>, origin: string, connectMs: number): Promise<T> {
		const { promise: unreached, reject } = Promise.withResolvers<never>();
		const probeAfterMs = Math.min(PROBE_AFTER_MS, connectMs / 2);
		const timer = setTimeout(() => {
			this.#probe(origin, connectMs - probeAfterMs).then((isThere) => {
				if (!isThere) reject(new ConnectionLost("ETIMEDOUT"));
			}, reject);
		}, probeAfterMs);
		try {
			return this.#alive(origin, await Promise.race([answer, unreached]));
		} finally {
			clearTimeout(timer);
		}
	}

	#alive<T>(origin: string, value: T): T {
		this.aliveAt.set(origin, performance.now());
		return value;
	}

	/** False where the connection neither comes about nor is refused: the request itself reports all else. */
	async #probe(origin: string, ms: number): Promise<boolean> {
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

/** `https://host:port` of an address, cut from its text: a parse costs more. */
export function originOf(url: string): string {
	const end = url.indexOf("/", url.indexOf("//") + 2);
	return end === -1 ? url : url.slice(0, end);
}
