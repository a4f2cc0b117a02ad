/**
 * A model's containers as one upstream: calls wait until one of them takes calls. A stream that waits gets comments with the
 * progress of the load, so that neither the client nor a proxy on the way times out.
 */
import { sseComment, sseData } from "../../openai/sse.ts";
import { REPLICA_HEADER } from "../../protocol/agent.ts";
import { ROUTER_NAME_HEADER } from "../../protocol/router-shares.ts";
import { saysBusy } from "../../providers/engine-errors.ts";
import type { ByteSource, CancelSignal, Transport, UpstreamAnswer, UpstreamRequest } from "../../providers/provider.ts";
import { readError } from "../../providers/upstream-error.ts";
import { readText } from "../../proxy/net/read-body.ts";
import { CallInContainer, type DeathWatch, diedEvent, diedText, isErrorEvent } from "./container-death.ts";
import { type ContainerLease, QueueRefusal, type Traffic } from "./traffic.ts";

/** Base of the URLs that `send` is given; the container's origin replaces it. */
export const CONTAINER_BASE_URL = "http://container";

/** A stream that waits longer than this, ms, gets its first comment; the next ones come every COMMENT_MS. */
const FIRST_COMMENT_MS = 1000;
const COMMENT_MS = 3000;
/** Largest refusal read, bytes. */
const MAX_REFUSAL = 1024 * 1024;

const encoder = new TextEncoder();
const JSON_TYPE = { "content-type": "application/json" };
const decoder = new TextDecoder();

/** The model, its queue, and the texts of refusals. */
export interface ModelTransportOptions {
	readonly model: string;
	readonly traffic: Pick<Traffic, "acquire">;
	readonly http: Transport;
	/** How far the load of the model is, in a few words. */
	readonly progress: () => string;
	/** vLLM's refusal (400) with what to do about it, where that is known. */
	readonly explain: (body: string) => string;
	/** How containers ended; absent: nobody knows, and a break is only that. */
	readonly ends?: DeathWatch | undefined;
	/** Hears of the calls that containers are given. */
	readonly prefixes?: PromptWatch | undefined;
}

/** Told of each call that a container is given. */
export interface PromptWatch {
	/** Returns what is to be called when the answer has ended; undefined where nobody asks. @param id of the container */
	given(id: string, request: UpstreamRequest): (() => void) | undefined;
}

/** The transport of one model. */
export function modelTransport(options: ModelTransportOptions): Transport {
	const { model, traffic } = options;
	return {
		async send(request, signal) {
			const replica = replicaOf(request);
			const entering = traffic.acquire(model, signal, replica, request.headers[ROUTER_NAME_HEADER]);
			// It is awaited below; a rejection before that is not unhandled.
			entering.catch(() => {});
			if (request.stream && !(await settlesWithin(entering, FIRST_COMMENT_MS))) {
				const headers = new Headers({ "content-type": "text/event-stream" });
				return { status: 200, headers, body: new WaitingStream(options, entering, request, signal) };
			}
			try {
				const lease = await entering;
				const answer = await forward(options, lease, request, signal);
				// Where it was no matter to the caller which one answers it is none to say it.
				return replica === undefined ? answer : withReplica(answer, lease);
			} catch (thrown) {
				if (thrown instanceof QueueRefusal) return refusalAnswer(thrown);
				throw thrown;
			}
		},
	};
}

/** The replica that is to take the call; undefined where the header names none. */
function replicaOf({ headers }: UpstreamRequest): number | undefined {
	const value = headers[REPLICA_HEADER];
	return value !== undefined && /^\d{1,4}$/.test(value) ? Number(value) : undefined;
}

/** The answer, which names the replica that gave it. */
function withReplica(answer: UpstreamAnswer, { replica }: ContainerLease): UpstreamAnswer {
	const headers = new Headers([...answer.headers]);
	headers.set(REPLICA_HEADER, String(replica));
	return { ...answer, headers };
}

/** The request as its container takes it, which has an address and a key of its own, and no use for headers that are for this agent. */
function addressed(request: UpstreamRequest, { origin, key }: ContainerLease): UpstreamRequest {
	const { [ROUTER_NAME_HEADER]: _router, [REPLICA_HEADER]: _replica, ...headers } = request.headers;
	if (key !== undefined) headers["authorization"] = `Bearer ${key}`;
	return { ...request, url: request.url.replace(CONTAINER_BASE_URL, origin), headers };
}

/** Sends the call to its container, and releases the lease when the answer has ended, failed or been given up. */
async function forward(
	{ http, explain, ends, prefixes }: ModelTransportOptions,
	lease: ContainerLease,
	request: UpstreamRequest,
	signal: CancelSignal,
): Promise<UpstreamAnswer> {
	const release = () => lease.release();
	if (signal.aborted) release();
	signal.addEventListener("abort", release, { once: true });
	const inContainer = new CallInContainer(lease, signal, ends);
	const answered = prefixes?.given(lease.id, request);
	const counted = lease.counter?.begin(request);
	let answer: UpstreamAnswer;
	try {
		answer = await http.send(addressed(request, lease), signal);
	} catch (thrown) {
		if (!signal.aborted) {
			lease.suspect();
			counted?.failed();
		}
		lease.release();
		if (await inContainer.died(thrown))
			return { status: 500, headers: new Headers(JSON_TYPE), body: textSource(diedText(await inContainer.cause())) };
		throw thrown;
	}
	lease.bytesCame();
	const ended = () => {
		signal.removeEventListener("abort", release);
		release();
		answered?.();
	};
	if (counted) answer = counted.answered(answer, signal);
	if (answer.status === 503) return refused(answer, inContainer, lease, ends !== undefined, ended);
	const relayed = relayedAnswer(answer, request.stream === true, inContainer, lease, ended);
	if (answer.status >= 500) {
		lease.suspect();
		if (ends) return withoutPointer(relayed, inContainer, lease);
	}
	if (answer.status !== 400) return relayed;
	return withText(relayed, explain(await readText(relayed, MAX_REFUSAL)));
}

/** The answer as it is read, with what becomes of its lease, and an end that says so where its engine died. */
function relayedAnswer(
	answer: UpstreamAnswer,
	isStream: boolean,
	inContainer: CallInContainer,
	lease: ContainerLease,
	ended: () => void,
): UpstreamAnswer {
	const { body, whole } = answer;
	let isOver = false;
	const source: ByteSource = {
		async read() {
			if (isOver) return undefined;
			try {
				const chunk = await body.read();
				// Its server sends comments while its engine hangs, too.
				if (chunk && !isComment(chunk)) lease.bytesCame();
				if (!chunk) ended();
				if (chunk && inContainer.isStopping && inContainer.isStopped(decoder.decode(chunk))) throw stopped(lease);
				if (!chunk || !isErrorEvent(chunk) || !inContainer.saysDead(decoder.decode(chunk))) return chunk;
				lease.suspect();
				if (inContainer.wasLate) throw dead(lease);
				const cause = await inContainer.cause();
				if (cause === undefined) return chunk;
				ended();
				isOver = true;
				return diedEvent(cause);
			} catch (thrown) {
				if (!inContainer.isGivenUp) lease.suspect();
				ended();
				if (!isStream || !(await inContainer.died(thrown))) throw thrown;
				isOver = true;
				return diedEvent(await inContainer.cause());
			}
		},
	};
	const text = async (): Promise<string> => {
		try {
			return await whole!.text();
		} catch (thrown) {
			if (await inContainer.died(thrown)) return diedText(await inContainer.cause());
			throw thrown;
		} finally {
			ended();
		}
	};
	return { ...answer, body: source, whole: whole && { text } };
}

const COLON = 58;

/** Whether a piece of a stream is nothing but comments. */
function isComment(chunk: Uint8Array): boolean {
	return chunk[0] === COLON && !/^[^:\r\n]/m.test(decoder.decode(chunk));
}

/** A refusal with this text in its place. */
function withText({ status, headers: sent }: UpstreamAnswer, text: string): UpstreamAnswer {
	const headers = new Headers([...sent]);
	headers.delete("content-length");
	return { status, headers, body: textSource(text) };
}

/** A 503: of a vLLM that has too many calls it is handed on, and its container is well; else as of one that fails. */
async function refused(
	answer: UpstreamAnswer,
	inContainer: CallInContainer,
	lease: ContainerLease,
	isWatched: boolean,
	ended: () => void,
): Promise<UpstreamAnswer> {
	try {
		const text = await readText(
			relayedAnswer(answer, false, inContainer, lease, () => {}),
			MAX_REFUSAL,
		);
		const whole = withText(answer, text);
		if (saysBusy(503, readError(text, 503))) return whole;
		// Before the call is over: the next one would go there.
		lease.suspect();
		return isWatched ? await withoutPointer(whole, inContainer, lease) : whole;
	} finally {
		ended();
	}
}

/**
 * The answer of a container that fails: where it says that its engine is dead, with what that died of in the place of vLLM's pointer to its log.
 * Throws where its engine is gone since it is being stopped, or had died before the call: it is as if its connection had broken.
 */
async function withoutPointer(answer: UpstreamAnswer, call: CallInContainer, lease: ContainerLease) {
	const text = await readText(answer, MAX_REFUSAL);
	if (call.isStopped(text)) throw stopped(lease);
	if (!call.saysDead(text)) return withText(answer, text);
	if (call.wasLate) throw dead(lease);
	const cause = await call.cause();
	return withText(answer, cause === undefined ? text : diedText(cause));
}

const dead = ({ id }: ContainerLease): Error => new Error(`the engine of container ${id.slice(0, 12)} is dead`);
const stopped = ({ id }: ContainerLease): Error => new Error(`container ${id.slice(0, 12)} is being stopped`);

/** The body of a stream that waits: comments, then the container's own events, or one error event. */
class WaitingStream implements ByteSource {
	#source: ByteSource | undefined;
	#isOver = false;
	#hasRetried = false;
	/** The container's answer, once the call has a container and the head of the answer has come. */
	#answer: Promise<UpstreamAnswer>;
	#isFirst = true;

	constructor(
		private readonly options: ModelTransportOptions,
		entering: Promise<ContainerLease>,
		private readonly request: UpstreamRequest,
		private readonly signal: CancelSignal,
	) {
		this.#answer = this.#forward(entering);
	}

	async read(): Promise<Uint8Array | undefined> {
		if (this.#isOver) return undefined;
		if (this.#source) return this.#source.read();
		if (this.#isFirst || !(await settlesWithin(this.#answer, COMMENT_MS))) {
			this.#isFirst = false;
			return encoder.encode(sseComment(`${this.options.model}: ${this.options.progress()}`));
		}
		try {
			const answer = await this.#answer;
			const isStream = answer.headers.get("content-type")?.toLowerCase().startsWith("text/event-stream");
			if (answer.status === 200 && isStream) {
				this.#source = answer.body;
				return this.#source.read();
			}
			return this.#fail(errorIn(await readText(answer, MAX_REFUSAL), answer.status));
		} catch (thrown) {
			if (this.signal.aborted) throw thrown;
			if (thrown instanceof QueueRefusal) return this.#fail(errorOf(thrown));
			// As the relay does before a status is sent: a call whose container just went away is tried once more.
			if (this.#hasRetried)
				return this.#fail({ message: "its container can't be reached", type: "api_error", code: 502 });
			this.#hasRetried = true;
			const { options, request, signal } = this;
			const router = request.headers[ROUTER_NAME_HEADER];
			this.#answer = this.#forward(options.traffic.acquire(options.model, signal, replicaOf(request), router));
			return this.read();
		}
	}

	#forward(entering: Promise<ContainerLease>): Promise<UpstreamAnswer> {
		const coming = entering.then((lease) => forward(this.options, lease, this.request, this.signal));
		coming.catch(() => {});
		return coming;
	}

	#fail(error: object): Uint8Array {
		this.#isOver = true;
		return encoder.encode(sseData(JSON.stringify({ error })));
	}
}

/** Whether it resolves or rejects in that time. */
async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
	const { promise: late, resolve } = Promise.withResolvers<boolean>();
	const timer = setTimeout(() => resolve(false), ms);
	const settled = promise.then(
		() => true,
		() => true,
	);
	const result = await Promise.race([settled, late]);
	clearTimeout(timer);
	return result;
}

/** A refusal in vLLM's shape, whose `code` is the status. */
function errorOf({ status, message }: QueueRefusal): object {
	return { message, type: status === 429 ? "rate_limit_error" : "api_error", param: null, code: status };
}

function refusalAnswer(refusal: QueueRefusal): UpstreamAnswer {
	return {
		status: refusal.status,
		headers: new Headers({ ...JSON_TYPE, "retry-after": String(refusal.retryAfter) }),
		body: textSource(JSON.stringify({ error: errorOf(refusal) })),
	};
}

/** The error object of a container's refusal, with the status as its code where it has none: an event carries no status. */
function errorIn(text: string, status: number): object {
	try {
		const { error } = JSON.parse(text) as { error?: unknown };
		if (typeof error === "object" && error !== null) return { code: status, ...error };
	} catch {
		// No JSON: only the status is known.
	}
	return { message: `its container answered ${status} to a streamed call`, type: "api_error", code: status };
}

function textSource(text: string): ByteSource {
	let rest: Uint8Array | undefined = encoder.encode(text);
	return {
		async read() {
			const chunk = rest;
			rest = undefined;
			return chunk?.length ? chunk : undefined;
		},
	};
}
