/** What real clients have sent, recorded beside the repository (`../shared/clients`) and not in it. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Json, Loose } from "./exchange.ts";
import { RECORDINGS } from "./recordings.ts";

const CLIENTS = join(RECORDINGS, "../clients");

/** A recorded request. */
export interface ClientRequest {
	readonly method: string;
	/** At the server, query included. */
	readonly path: string;
	readonly headers: Readonly<Record<string, string>>;
	readonly body: Loose;
}

/**
 * The requests of one file (`codex-http-turns`) with a body, in their order; none where the recordings are not beside the clone. What the recording
 * has cut out of lists and objects (`…more`) is left out of them, unless `keepsCuts`.
 */
export function clientRequests(file: string, keepsCuts = false): ClientRequest[] {
	const path = join(CLIENTS, `${file}.json`);
	if (!existsSync(path) && process.env["CI"] !== "true") return [];
	const { requests } = JSON.parse(readFileSync(path, "utf8")) as { requests: ClientRequest[] };
	return requests
		.filter(({ body }) => body)
		.map((request) => ({ ...request, body: (keepsCuts ? request.body : withoutCuts(request.body)) as Json }));
}

/** A recorded WebSocket: the headers of its handshake, and what its client sent. */
export interface ClientSocketFrames {
	readonly headers: Readonly<Record<string, string>>;
	readonly frames: readonly Loose[];
}

/** The WebSocket of one file, without what the recording has cut out; no frames where the recordings are not beside the clone. */
export function clientFrames(file: string): ClientSocketFrames {
	const path = join(CLIENTS, `${file}.json`);
	if (!existsSync(path) && process.env["CI"] !== "true") return { headers: {}, frames: [] };
	const { requests } = JSON.parse(readFileSync(path, "utf8")) as { requests: Loose[] };
	const { headers, client_text_frames: frames } = requests.find((request) => request["client_text_frames"])!;
	return { headers, frames: withoutCuts(frames) as Loose[] };
}

function withoutCuts(value: unknown): unknown {
	if (Array.isArray(value)) return value.filter((item) => !isCut(item)).map(withoutCuts);
	if (typeof value !== "object" || value === null) return value;
	const kept = Object.entries(value).filter(([name]) => name !== "…more");
	return Object.fromEntries(kept.map(([name, inner]) => [name, withoutCuts(inner)]));
}

const isCut = (item: unknown): boolean =>
	typeof item === "object" && item !== null && Object.keys(item).join() === "…more";
