/** The agent's tunnel: one WebSocket to the router, which is opened again and again as long as the agent runs. */
import { rootCertificates } from "node:tls";
import {
	FRAME,
	frame,
	PING_MS,
	SILENCE_MS,
	TUNNEL_AGENT_HEADER,
	TUNNEL_INSTANCE_HEADER,
	TUNNEL_PATH,
	TunnelFault,
} from "../../protocol/tunnel.ts";
import type { Transport } from "../../providers/provider.ts";
import type { ProxyChoice } from "../../proxy/net/environment-proxy.ts";
import { readText } from "../../proxy/net/read-body.ts";
import { shortText } from "../../short-text.ts";
import type { Log } from "../../telemetry/log.ts";
import { type AgentPort, TunnelPipes } from "./tunnel-pipe.ts";

/** First and longest wait until it is opened again, ms. */
const FIRST_MS = 250;
const LONGEST_MS = 8_000;
/** Longest wait where it was open, if not for long: the way to the router is there. */
const LONGEST_AFTER_OPEN_MS = 1_000;
/** It is opened again at once only where it was open for so long, ms: another agent of this name or a proxy may close each at once. */
const STEADY_MS = PING_MS;
/** How long a handshake may take, ms. */
const OPEN_MS = 10_000;
const MAX_REFUSAL = 64 * 1024;

/** Where it leads, and who opens it. */
export interface TunnelOptions {
	/** The router's base URL, with or without a closing slash or `/v1`. */
	readonly router: string;
	/** The agents' shared token. */
	readonly token?: string | undefined;
	readonly name: string;
	readonly instance?: string | undefined;
	/** Where the agent listens: what the router asks goes there. */
	readonly site: AgentPort;
	/** Asks the router why it refuses. */
	readonly transport: Transport;
	/** PEM with further certificate authorities. */
	readonly ca?: string | undefined;
	readonly proxyFor?: ProxyChoice | undefined;
	readonly log: Pick<Log, "logger">;
}

/** The tunnel. Nothing of it throws or rejects. */
export class TunnelClient {
	readonly #base: string;
	readonly #headers: Record<string, string>;
	#socket: WebSocket | undefined;
	#pings: ReturnType<typeof setInterval> | undefined;
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** How often in a row it could not be opened, or not for long. */
	#failures = 0;
	#openedAt = 0;
	#isStopped = false;
	#lastProblem: string | undefined;
	#heardAt = 0;
	#whenOpen = Promise.withResolvers<void>();
	isOpen = false;

	constructor(private readonly options: TunnelOptions) {
		const { router, token, name, instance } = options;
		this.#base = router.replace(/\/+$/, "").replace(/\/v1$/, "");
		this.#headers = {
			[TUNNEL_AGENT_HEADER]: name,
			...(instance === undefined ? {} : { [TUNNEL_INSTANCE_HEADER]: instance }),
			...(token ? { authorization: `Bearer ${token}` } : {}),
		};
	}

	/** Opens it, and again whenever it closes. */
	open(): void {
		if (this.#isStopped || this.#socket) return;
		const { site, ca, proxyFor } = this.options;
		const url = `${this.#base.replace(/^http/, "ws")}${TUNNEL_PATH}`;
		const tls = ca === undefined ? {} : { tls: { ca: [...rootCertificates, ca] } };
		const proxy = proxyFor?.(this.#base)?.url;
		const options = { headers: this.#headers, ...tls, ...(proxy === undefined ? {} : { proxy }) };
		const socket = new WebSocket(url, options as never);
		this.#socket = socket;
		socket.binaryType = "nodebuffer";
		const pipes = new TunnelPipes(site, (message) => socket.send(message as Buffer<ArrayBuffer>));
		this.#timer = setTimeout(() => socket.terminate(), OPEN_MS);
		socket.onopen = () => this.#opened(socket);
		socket.onmessage = ({ data }) => this.#received(socket, pipes, data as unknown as Buffer | string);
		// What is wrong is told by `close`.
		socket.onerror = () => undefined;
		socket.onclose = () => {
			pipes.lost();
			this.#closed();
		};
	}

	/** Opens it, and resolves once it is open, or after so many ms. */
	async opened(ms: number): Promise<void> {
		this.open();
		const { promise, resolve } = Promise.withResolvers<void>();
		const timer = setTimeout(resolve, ms);
		await Promise.race([promise, this.#whenOpen.promise]);
		clearTimeout(timer);
	}

	/** Breaks the connection, as a network does: it is opened again. */
	cut(): void {
		this.#socket?.terminate();
	}

	/** Ends it. */
	stop(): void {
		this.#isStopped = true;
		clearTimeout(this.#timer);
		this.#socket?.close(1001);
	}

	#opened(socket: WebSocket): void {
		clearTimeout(this.#timer);
		this.isOpen = true;
		this.#openedAt = performance.now();
		this.#heardAt = this.#openedAt;
		this.#pings = setInterval(() => {
			if (performance.now() - this.#heardAt > SILENCE_MS) socket.terminate();
			else socket.send(frame(FRAME.ping, 0) as Buffer<ArrayBuffer>);
		}, PING_MS);
		this.#pings.unref();
		this.options.log.logger.info({ router: this.options.router }, "The tunnel to the router is open.");
		this.#lastProblem = undefined;
		this.#whenOpen.resolve();
	}

	#received(socket: WebSocket, pipes: TunnelPipes, message: Buffer | string): void {
		this.#heardAt = performance.now();
		try {
			if (typeof message === "string") throw new TunnelFault("a frame must be binary");
			if (message[0] !== FRAME.pong) pipes.take(message);
		} catch (thrown) {
			if (!(thrown instanceof TunnelFault)) throw thrown;
			this.#warnOnce(`The router does not keep to the tunnel's protocol: ${thrown.message}.`);
			socket.close(1002, thrown.message);
		}
	}

	#closed(): void {
		clearTimeout(this.#timer);
		clearInterval(this.#pings);
		this.#socket = undefined;
		const wasOpen = this.isOpen;
		this.isOpen = false;
		if (wasOpen) this.#whenOpen = Promise.withResolvers<void>();
		if (this.#isStopped) return;
		if (wasOpen) this.#warnOnce("The tunnel to the router is closed: it is opened again.");
		else void this.#reasonOfRefusal().then((why) => this.#warnOnce(`The tunnel can't be opened: ${why}`));
		const wasSteady = wasOpen && performance.now() - this.#openedAt >= STEADY_MS;
		const mostMs = wasOpen ? LONGEST_AFTER_OPEN_MS : LONGEST_MS;
		const waitMs = wasSteady ? 0 : Math.min(mostMs, FIRST_MS * 2 ** Math.min(this.#failures, 10));
		this.#failures = wasSteady ? 0 : this.#failures + 1;
		this.#timer = setTimeout(() => this.open(), waitMs * (1 - Math.random() / 4));
	}

	/** A WebSocket does not tell what its handshake was answered. */
	async #reasonOfRefusal(): Promise<string> {
		const request = { url: this.#base + TUNNEL_PATH, headers: { ...this.#headers, accept: "application/json" } };
		try {
			const answer = await this.options.transport.send(request, AbortSignal.timeout(OPEN_MS));
			const { error } = JSON.parse(await readText(answer, MAX_REFUSAL)) as {
				error?: { message?: unknown; code?: unknown };
			};
			// So it answers who asks for no WebSocket: something between the two opens none.
			if (error?.code === "method_not_allowed")
				return `${this.#base} opens no WebSocket: a proxy in between may not let it pass.`;
			if (typeof error?.message === "string") return shortText(error.message, 500);
			return `${this.#base} answers ${answer.status}: is that the router?`;
		} catch (thrown) {
			const code = thrown instanceof Error && "code" in thrown ? ` (${thrown.code})` : "";
			return `${this.#base} can't be reached${code}.`;
		}
	}

	/** Once for each problem, however often it is met. */
	#warnOnce(sentence: string): void {
		const { router, log } = this.options;
		if (sentence !== this.#lastProblem) log.logger.warn({ router }, sentence);
		this.#lastProblem = sentence;
	}
}
