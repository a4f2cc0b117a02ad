/** One client's WebSocket at `/v1/responses`: one response after the other, each a call like any other. */
import { authenticate } from "../accounts/auth/keys.ts";
import { openAiResponses } from "../dialects/openai-responses/index.ts";
import { warmUpEvents } from "../dialects/openai-responses/warm-up.ts";
import { asRouterError, RouterError } from "../errors.ts";
import { SseSplitter } from "../openai/sse.ts";
import { now } from "../providers/chat-answer.ts";
import { newRequestId } from "../request-id.ts";
import type { CallContext } from "./call-context.ts";
import type { CallHandler, CallServer } from "./handler.ts";
import { permittedRoute, resolveModel } from "./model-access.ts";
import type { OpenConnection } from "./open-connections.ts";
import { type CreateFrame, errorEvent, eventOf, readFrame } from "./responses-frames.ts";
import { ConnectionResponses, type StoredResponses } from "./stored-responses.ts";

/** How long a connection may be open, ms. */
const LONGEST_MS = 60 * 60 * 1000;
/** Most frames that wait while others are answered, and most streams at the same time. */
const MOST_WAITING = 16;
const MOST_STREAMS = 16;

/** The part of Bun's WebSocket that is used here. */
export interface ClientSocket {
	/** -1: the client does not keep up, and `drain` tells when it does; 0: it was not sent. */
	send(text: string): number;
	close(code?: number, reason?: string): void;
}

/** What a connection works with. */
export interface ConnectionOptions {
	readonly context: CallContext;
	readonly responses: StoredResponses;
	/** Answers the same by POST. */
	readonly handle: CallHandler;
	/** Of the request that opened it: its URL, the headers that are each call's, and who its client is. */
	readonly url: string;
	readonly headers: Headers;
	readonly server: CallServer;
	/** How long it may be open, ms; default: an hour. */
	readonly longestMs?: number;
}

/** A frame that waits; an error is told in its turn. */
interface WaitingFrame {
	readonly frame: CreateFrame | RouterError;
	readonly length: number;
}

/** Calls that are answered one after the other. */
interface CallStream {
	readonly id: string | undefined;
	readonly waiting: WaitingFrame[];
	isRunning: boolean;
	/** Ends the call that runs. */
	controller?: AbortController | undefined;
}

/** A connection. Its methods are called as the socket tells; none throws. */
export class ResponsesConnection implements OpenConnection {
	readonly #latest = new ConnectionResponses();
	#socket: ClientSocket | undefined;
	/** Those that have something to answer. */
	readonly #streams = new Map<string | undefined, CallStream>();
	#waiting = 0;
	#waitingLength = 0;
	#drained: (() => void) | undefined;
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** Says how it ends once nothing is answered any more. */
	#ending: { readonly event?: string; readonly code: number; readonly reason: string } | undefined;

	constructor(private readonly options: ConnectionOptions) {}

	open(socket: ClientSocket): void {
		this.#socket = socket;
		this.options.context.connections?.add(this);
		this.#timer = setTimeout(() => this.#expire(), this.options.longestMs ?? LONGEST_MS);
		this.#timer.unref();
	}

	message(_: ClientSocket, sent: string | Uint8Array): void {
		const frame = frameOf(sent);
		if (typeof frame === "string") {
			void this.#send(frame);
			return;
		}
		const id = frame instanceof RouterError ? undefined : frame.streamId;
		const stream: CallStream = this.#streams.get(id) ?? { id, waiting: [], isRunning: false };
		const limit = this.options.context.current.snapshot.config.server.body_limit;
		const isNew = !this.#streams.has(id);
		if (
			this.#waiting >= MOST_WAITING ||
			(isNew && this.#streams.size >= MOST_STREAMS) ||
			(this.#waiting > 0 && this.#waitingLength + sent.length > limit)
		) {
			const message = `${this.#waiting} calls wait on this connection for ${this.#streams.size} that are answered: wait for responses, too.`;
			void this.#fail(new RouterError("rate_limit_exceeded", message), id);
			return;
		}
		this.#streams.set(id, stream);
		stream.waiting.push({ frame, length: sent.length });
		this.#waiting++;
		this.#waitingLength += sent.length;
		void this.#work(stream);
	}

	drain(): void {
		const resume = this.#drained;
		this.#drained = undefined;
		resume?.();
	}

	close(): void {
		this.#socket = undefined;
		clearTimeout(this.#timer);
		this.options.context.connections?.delete(this);
		for (const { controller } of this.#streams.values()) controller?.abort();
		this.drain();
	}

	end(isReplaced: boolean): void {
		this.#ending ??= isReplaced
			? { code: 1012, reason: "This router is replaced by another one at its address: connect anew." }
			: { code: 1001, reason: "This router is stopping." };
		if (this.#streams.size === 0) this.#finish();
	}

	#expire(): void {
		const message =
			"Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue.";
		const { body, status } = new RouterError("invalid_value", message, {
			upstreamCode: "websocket_connection_limit_reached",
		});
		const event = JSON.stringify({ type: "error", status, ...body });
		this.#ending ??= { event, code: 1000, reason: "60 minutes are over." };
		if (this.#streams.size === 0) this.#finish();
	}

	#finish(): void {
		const { event, code, reason } = this.#ending!;
		if (event !== undefined) this.#socket?.send(event);
		this.#socket?.close(code, reason);
	}

	/** Answers the frames of a stream that wait, one after the other. */
	async #work(stream: CallStream): Promise<void> {
		if (stream.isRunning) return;
		stream.isRunning = true;
		while (this.#socket && !this.#ending) {
			const next = stream.waiting.shift();
			if (!next) break;
			this.#waiting--;
			this.#waitingLength -= next.length;
			const { frame } = next;
			let isAnswered = false;
			try {
				if (frame instanceof RouterError) throw frame;
				isAnswered = await (frame.isWarmUp ? this.#warmUp(frame) : this.#answer(frame, stream));
			} catch (thrown) {
				await this.#fail(asRouterError(thrown), stream.id);
			}
			if (!isAnswered && "previous" in frame && frame.previous !== undefined) this.#latest.forget(frame.previous);
		}
		this.#streams.delete(stream.id);
		if (this.#ending && this.#streams.size === 0) this.#finish();
	}

	/** Whether the response did not fail. */
	async #answer({ body, streamId }: CreateFrame, stream: CallStream): Promise<boolean> {
		const { responses, handle, server } = this.options;
		const controller = new AbortController();
		stream.controller = controller;
		try {
			const request = this.#request(body, controller.signal);
			responses.connect(request, this.#latest, streamId);
			const answer = await handle(request, server);
			const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream");
			if (answer.ok && isStream && answer.body) return await this.#relay(answer.body, streamId);
			await this.#send(eventOf(await errorEvent(answer), streamId));
			return false;
		} finally {
			stream.controller = undefined;
		}
	}

	/** The events of a stream, a frame each. Whether none of them says that the response failed. */
	async #relay(body: ReadableStream<Uint8Array>, streamId: string | undefined): Promise<boolean> {
		const reader = body.getReader();
		const splitter = new SseSplitter();
		let isAnswered = true;
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return isAnswered;
			for (const { name, data } of splitter.push(value)) {
				if (data === undefined || data === "[DONE]") continue;
				if (name === "response.failed" || name === "error") isAnswered = false;
				const taken = this.#send(eventOf(data, streamId));
				if (taken) await taken;
			}
			if (!this.#socket) {
				// The call is told by its signal, too; who only reads along by this.
				await reader.cancel();
				return isAnswered;
			}
		}
	}

	/** Takes what the next response begins with. No upstream is asked. */
	async #warmUp({ body, streamId }: CreateFrame): Promise<true> {
		const { context, responses } = this.options;
		const { config, auth, catalog } = context.current.snapshot;
		const request = this.#request(body);
		responses.connect(request, this.#latest, streamId);
		const caller = authenticate(auth, request, config);
		const sent = Buffer.from(body);
		const references = openAiResponses.references?.(sent);
		const earlier = await responses.earlier(references ?? { items: [] }, request, caller);
		const parsed = openAiResponses.parse("chat", sent, undefined, earlier);
		const { model } = parsed.facts;
		permittedRoute(caller, model, await resolveModel(catalog, model, caller, context.isBehindRouter));
		const call = { ...parsed, id: newRequestId(), operation: "chat" } as const;
		const storage = responses.storage(call, request, caller);
		for (const event of warmUpEvents({ ...call, storage }, now())) await this.#send(eventOf(event, streamId));
		return true;
	}

	#request(body: string, signal?: AbortSignal): Request {
		const { url, headers } = this.options;
		return new Request(url, { method: "POST", headers, body, ...(signal ? { signal } : {}) });
	}

	/** Tells of an error of this connection's own. */
	async #fail(error: RouterError, streamId: string | undefined): Promise<void> {
		const id = newRequestId();
		if (error.errorCode === "internal_error") this.options.context.onFault(id, error.cause ?? error);
		const event = await errorEvent(openAiResponses.error(error, { "x-request-id": id }));
		await this.#send(eventOf(event, streamId));
	}

	/** What to wait for before the next one, where the client does not keep up. */
	#send(text: string): Promise<void> | undefined {
		const sent = this.#socket?.send(text);
		if (sent === 0) this.#socket?.close(1011, "An event could not be sent.");
		if (sent !== -1) return undefined;
		const { promise, resolve } = Promise.withResolvers<void>();
		// Each stream may wait.
		const before = this.#drained;
		this.#drained = () => {
			before?.();
			resolve();
		};
		return promise;
	}
}

/** A frame, or what is wrong with it. */
function frameOf(sent: string | Uint8Array): CreateFrame | RouterError | string {
	if (typeof sent !== "string") return new RouterError("invalid_value", "A frame must be text: one JSON object.");
	try {
		return readFrame(sent);
	} catch (thrown) {
		return asRouterError(thrown);
	}
}
