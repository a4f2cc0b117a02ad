/**
 * An HTTP server over a `fetch` function that sends an answer's headers at once, as uvicorn does. Bun.serve holds them
 * back until the body's first byte, and a client can't tell a call that waits from one that isn't taken.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A listening server. */
export interface HttpServer {
	readonly port: number;
	/** Takes no more connections. `force`: breaks what is being answered; else waits for it. */
	stop(force: boolean): Promise<void>;
}

/** Rejects with `code: "EADDRINUSE"` when the port is taken. */
export async function serve(
	port: number,
	hostname: string,
	answer: (request: Request) => Promise<Response>,
): Promise<HttpServer> {
	let open = 0;
	let answered = () => {};
	const server = createServer((incoming, outgoing) => {
		open++;
		outgoing.once("close", () => {
			if (--open === 0) answered();
		});
		// A client that leaves in the middle is no trouble of the server's.
		respond(incoming, outgoing, answer).catch(() => outgoing.destroy());
	});
	server.keepAliveTimeout = 5000;
	server.requestTimeout = 0;
	await new Promise<void>((resolve, reject) => {
		server.once("error", reject);
		server.listen(port, hostname, resolve);
	});
	return {
		port: (server.address() as AddressInfo).port,
		stop: async (force) => {
			server.close();
			if (!force && open > 0) {
				await new Promise<void>((resolve) => {
					answered = resolve;
				});
			}
			server.closeAllConnections();
		},
	};
}

async function respond(
	incoming: IncomingMessage,
	outgoing: ServerResponse,
	answer: (request: Request) => Promise<Response>,
): Promise<void> {
	const left = new AbortController();
	outgoing.once("close", () => {
		if (!outgoing.writableFinished) left.abort();
	});
	const parts: Uint8Array[] = [];
	for await (const part of incoming) parts.push(part as Uint8Array);
	const method = incoming.method ?? "GET";
	const response = await answer(
		new Request(`http://${incoming.headers.host ?? "vllm"}${incoming.url}`, {
			method,
			headers: incoming.headers as Record<string, string>,
			signal: left.signal,
			...(method !== "GET" && method !== "HEAD" && { body: Buffer.concat(parts) }),
		}),
	);
	outgoing.writeHead(response.status, { ...Object.fromEntries(response.headers), server: "uvicorn" });
	if (!response.body) return void outgoing.end();
	outgoing.flushHeaders();
	const reader = response.body.getReader();
	left.signal.addEventListener("abort", () => void reader.cancel().catch(() => {}), { once: true });
	for (;;) {
		const { value, done } = await reader.read();
		if (done) break;
		if (!outgoing.write(value) && !left.signal.aborted) {
			await new Promise<void>((resolve) => {
				outgoing.once("drain", resolve);
				outgoing.once("close", resolve);
			});
		}
	}
	outgoing.end();
}
