/** The events of a response as chunks of a chat, for clients of other wires. */
import type { Call } from "../../openai/call.ts";
import { thoughtFields } from "../../openai/reasoning.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import type { SseEvent } from "../../openai/sse.ts";
import { objectIn } from "../../openai/usage.ts";
import { ChatChunks, chatUsage, now } from "../chat-answer.ts";
import type { Out, StreamDecoder } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { BETWEEN_SUMMARIES, chatAnnotation, encryptedDetail, finishOf, storedThinking } from "./response-answer.ts";
import { type Json, PassedResponse, ResponseDecoder } from "./response-events.ts";

/** What reads a response's stream, for the client of this call. */
export const responseDecoderFor = (upstream: Upstream, call: Call): StreamDecoder =>
	call.responses ? new PassedResponse(upstream) : new ResponseChunks(upstream, call);

/** A call of a tool, as far as it has come. */
interface StreamedArguments {
	/** Its place among the calls. */
	readonly at: number;
	hasPieces: boolean;
}

/** Reads one stream. */
class ResponseChunks extends ResponseDecoder {
	readonly #chunks: ChatChunks;
	/** By the place of their items. */
	readonly #calls = new Map<unknown, StreamedArguments>();
	readonly #details: object[] = [];
	/** The first of them. */
	#callId: unknown;
	#hasRole = false;
	/** Another part of a summary is to come behind one. */
	#hasThought = false;

	constructor(
		upstream: Upstream,
		private readonly call: Call,
	) {
		super(upstream);
		this.#chunks = new ChatChunks(now());
	}

	protected begins(_: SseEvent, { id, model, service_tier: tier }: Json): Out {
		if (!this.#chunks.hasBegun) this.#begin(id, model, tier);
		return { bytes: "", held: true };
	}

	#begin(id: unknown, model: unknown, tier?: unknown): void {
		const name = typeof id === "string" ? id.replace(/^resp_/, "chatcmpl-") : `chatcmpl-${crypto.randomUUID()}`;
		this.#chunks.begin(
			name,
			typeof model === "string" ? model : this.call.facts.model,
			typeof tier === "string" ? tier : undefined,
		);
	}

	protected piece(_: SseEvent, event: Json, type: string): Out {
		const chunks = this.#chunks;
		if (!chunks.hasBegun) this.#begin(undefined, undefined);
		const { delta, output_index: index, item } = event;
		const said = typeof delta === "string" ? delta : "";
		switch (type) {
			case "response.output_text.delta":
				return this.#said(this.#text(said, event["logprobs"]));
			case "response.refusal.delta":
				return this.#said(chunks.delta(JSON.stringify({ refusal: said })));
			case "response.reasoning_summary_part.added":
				return this.#hasThought ? this.#said(chunks.reasoning(BETWEEN_SUMMARIES)) : { bytes: "" };
			case "response.reasoning_summary_text.delta":
			case "response.reasoning_text.delta":
				this.#hasThought = true;
				return this.#said(chunks.delta(JSON.stringify(thoughtFields(said))));
			case "response.output_text.annotation.added": {
				const annotation = objectIn(event["annotation"]);
				if (!annotation) return { bytes: "" };
				return this.#said(chunks.delta(JSON.stringify({ annotations: [chatAnnotation(annotation)] })));
			}
			case "response.output_item.added":
				return this.#added(objectIn(item) ?? {}, index);
			case "response.function_call_arguments.delta":
				return this.#arguments(index, said);
			case "response.output_item.done":
				return this.#done(objectIn(item) ?? {}, index);
			default:
				return { bytes: "" };
		}
	}

	#text(said: string, logprobs: unknown): string {
		if (!Array.isArray(logprobs) || logprobs.length === 0) return this.#chunks.text(said);
		return this.#chunks.delta(JSON.stringify({ content: said }), 0, JSON.stringify({ content: logprobs }));
	}

	#added({ type, call_id: id, name }: Json, index: unknown): Out {
		if (type !== "function_call") return { bytes: "" };
		const call = { at: this.#calls.size, hasPieces: false };
		this.#callId ??= id;
		this.#calls.set(index, call);
		return this.#said(this.#chunks.call(call.at, String(id), String(name), ""));
	}

	#arguments(index: unknown, said: string): Out {
		const call = this.#calls.get(index);
		if (!call) return { bytes: "" };
		call.hasPieces = true;
		return this.#said(this.#chunks.args(call.at, said));
	}

	#done(item: Json, index: unknown): Out {
		const call = this.#calls.get(index);
		const { arguments: args } = item;
		// A server that tells of its calls' arguments at their end alone.
		if (call && !call.hasPieces && typeof args === "string" && args !== "") return this.#arguments(index, args);
		const detail = item["type"] === "reasoning" ? encryptedDetail(item, this.#details.length) : undefined;
		if (!detail) return { bytes: "" };
		this.#details.push(detail);
		return this.#said(this.#chunks.delta(JSON.stringify({ reasoning_details: [detail] })));
	}

	#said(bytes: string): Out {
		const role = this.#hasRole ? "" : this.#chunks.role();
		this.#hasRole = true;
		return { bytes: role + bytes, delta: true };
	}

	flush(): Out {
		const { response = {}, tokens } = this;
		if (!this.#chunks.hasBegun) this.#begin(response["id"], response["model"], response["service_tier"]);
		const role = this.#hasRole ? "" : this.#chunks.role();
		const bytes = role + this.#chunks.finish(finishOf(response, this.#calls.size > 0));
		const options = this.call.body().at("stream_options") as RequestBody["stream_options"];
		const isAsked = options?.include_usage === true && tokens !== undefined;
		const thinking = storedThinking(this.#callId, this.#details);
		return { bytes, thinking, usage: isAsked ? this.#chunks.usage(chatUsage(tokens)) : undefined };
	}
}
