/** The events of OpenAI's Responses (`/responses`), and the responses that they hold: what the router reads of them. */
import { parseBounded } from "../../openai/json.ts";
import { type SseEvent, sseData } from "../../openai/sse.ts";
import { objectIn, readUsage, type Tokens } from "../../openai/usage.ts";
import { type Failure, TRUNCATED } from "../failure.ts";
import type { Out, PassedEvents, StreamDecoder } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { failureOf, readErrorObject } from "../upstream-error.ts";
import { DeltaTemplate } from "./fast-path.ts";
import { endedResponse, pastClosing } from "./response-scan.ts";

/** A part of an answer, as it came. */
export type Json = Readonly<Record<string, unknown>>;

/** What a response says of itself besides its output. */
export interface ResponseReading {
	readonly tokens?: Tokens | undefined;
	/** USD. */
	readonly cost?: number | undefined;
	readonly failure?: Failure | undefined;
}

/** Reads a response that is over. */
export function responseReading(upstream: Upstream, response: Json): ResponseReading {
	const { tokens, cost } = readUsage(response["usage"]);
	const { status, error } = response;
	if (status === "failed" || objectIn(error)) return { tokens, cost, failure: failed(upstream, error) };
	const isOver = status === "completed" || status === "incomplete" || status === undefined;
	return { tokens, cost, failure: isOver ? undefined : TRUNCATED };
}

/** @param error as the response, or the event, has it */
function failed(upstream: Upstream, error: unknown): Failure {
	const read = readErrorObject({ error: objectIn(error) ?? { message: "the response failed" } })!;
	return failureOf(upstream, read.status ?? 500, read);
}

/** An event, read; undefined where it is none. */
function eventIn(data: string): Json | undefined {
	try {
		return objectIn(parseBounded(data));
	} catch {
		return undefined;
	}
}

/** Whether an event's data, parsed, is one of a response. */
export const isResponseEvent = (event: object): boolean => String((event as Json)["type"]).startsWith("response.");

const AS_IT_CAME: Out = {};
const UNSENT: Out = { bytes: "" };
const DROPPED: Out = { bytes: "", dropped: true };

/** Events that say of a response no more than that there will be one. */
const BEGINNINGS = new Set(["response.created", "response.in_progress", "response.queued"]);
const ENDS = new Set(["response.completed", "response.incomplete", "response.failed"]);
/** How the types of those end that carry a piece of it. */
const DELTA = ".delta";

/** Reads the events of one response; what it gives for them depends on who wants them. */
export abstract class ResponseDecoder implements StreamDecoder {
	/** The event that the response ended with, JSON. */
	protected ending: string | undefined;
	/** The response that it holds. */
	protected response: Json | undefined;
	protected tokens: Tokens | undefined;

	constructor(protected readonly upstream: Upstream) {}

	push(event: SseEvent): Out {
		const { data, raw } = event;
		if (data === undefined) return raw.startsWith(": router {") ? UNSENT : AS_IT_CAME;
		// The end of the response itself counts.
		if (data === "[DONE]") return UNSENT;
		const known = this.known(event);
		if (known) return known;
		const read = eventIn(data);
		if (!read) return DROPPED;
		const type = String(read["type"] ?? event.name);
		if (type === "error") {
			const { error } = read;
			return { bytes: "", failure: failed(this.upstream, error ?? { ...read, type: undefined }) };
		}
		const response = objectIn(read["response"]);
		if (BEGINNINGS.has(type)) return this.begins(event, response ?? {}, type);
		return ENDS.has(type) ? this.ends(data, response ?? {}) : this.piece(event, read, type);
	}

	end(): Failure | undefined {
		return this.ending === undefined ? TRUNCATED : undefined;
	}

	/** An event that needs no reading. */
	protected known(_event: SseEvent): Out | undefined {
		return undefined;
	}

	/** The response has begun, and nothing of it has come. */
	protected abstract begins(event: SseEvent, response: Json, type: string): Out;
	/** @param read the event, parsed */
	protected abstract piece(event: SseEvent, read: Json, type: string): Out;
	abstract flush(): Out;

	/** @param response the one in the event, or what is read of it here */
	protected ends(data: string, response: Json): Out {
		const { tokens, cost, failure } = responseReading(this.upstream, response);
		if (failure) return { bytes: "", failure, tokens, cost };
		this.ending = data;
		this.response = response;
		this.tokens = tokens;
		return { bytes: "", finish: true, done: true, tokens, cost };
	}
}

/** For a client that speaks Responses itself: each event as it came, the last one at the end. */
export class PassedResponse extends ResponseDecoder {
	readonly #template = new DeltaTemplate();
	/** A piece of it has come: what closes one says no more. */
	#hasBegun = false;

	protected override known({ name, data, isNamed }: SseEvent): Out | undefined {
		if (name === undefined) return undefined;
		if (ENDS.has(name) && data!.startsWith(`{"type":"${name}"`)) {
			const response = endedResponse(data!);
			return response && this.ends(data!, response);
		}
		if (!name.endsWith(DELTA)) return undefined;
		const bytes = eventText(name, data!);
		return this.#template.matchesEvent(bytes) ? { bytes, delta: true, own: isNamed || undefined } : undefined;
	}

	/** Until more has come the call can go elsewhere. */
	protected begins(event: SseEvent, _: Json, type: string): Out {
		return { ...outOf(event, type), held: true };
	}

	protected piece(event: SseEvent, _: Json, type: string): Out {
		const delta = type.endsWith(DELTA);
		const out = outOf(event, type);
		if (delta) {
			this.#hasBegun = true;
			this.#template.learn(out.bytes);
		}
		return { ...out, delta };
	}

	passThrough(chunk: Buffer, from: number): PassedEvents | undefined {
		if (!this.#hasBegun) return undefined;
		let [at, events, beside] = [from, 0, 0];
		while (at < chunk.length) {
			if (this.#template.passThrough(chunk, at)) {
				at += this.#template.length;
				events += this.#template.events;
			}
			const past = pastClosing(chunk, at);
			if (past === at) break;
			beside += past - at;
			at = past;
		}
		return at === from ? undefined : { length: at - from, events, beside };
	}

	flush(): Out {
		return { ending: this.ending };
	}
}

/** An event as it is sent on. */
function outOf({ data = "", name, isNamed }: SseEvent, type: string) {
	return { bytes: eventText(type, data), own: (isNamed && name === type) || undefined };
}

/** An event, in the one form that is passed on without being read. In JSON a line's end stands between two values only. */
const eventText = (type: string, data: string): string =>
	`event: ${type}\n${sseData(/[\r\n]/.test(data) ? data.replace(/[\r\n]+/g, " ") : data)}`;
