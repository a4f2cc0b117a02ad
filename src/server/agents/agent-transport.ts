/** How the router calls its agents. */
import type { Transport, UpstreamRequest } from "../../providers/provider.ts";
import { http1Transport } from "../../proxy/net/http1.ts";
import { httpTransport } from "../../proxy/net/transport.ts";

/**
 * Plain addresses are called over connections of the router's own, whole answers too: a host that lost its power is told from a model
 * that thinks after 5 s, where fetch waits for minutes.
 */
export class AgentTransport implements Transport {
	readonly #plain = http1Transport();
	#ca: string | undefined;
	#tls: Transport;

	/** @param ca PEM certificates that are trusted besides the system's, the content of `ca_file` */
	constructor(ca: string | undefined) {
		this.#ca = ca;
		this.#tls = httpTransport({ ca });
	}

	send(request: UpstreamRequest, signal: AbortSignal): ReturnType<Transport["send"]> {
		return (request.url.startsWith("http:") ? this.#plain : this.#tls).send(request, signal);
	}

	/** These certificates are trusted from now on: a file that is renewed in its place keeps its name. */
	trust(ca: string | undefined): void {
		if (ca === this.#ca) return;
		this.#ca = ca;
		this.#tls = httpTransport({ ca });
	}
}
