/** Anthropic's Messages API behind OpenAI's. */
import { type Call, formFor, nativeFor } from "../../openai/call.ts";
import { encoded } from "../../openai/chat.ts";
import type { Chat } from "../../openai/chat-schema.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import { answerObject } from "../answer-object.ts";
import type { Failure } from "../failure.ts";
import { noOperation } from "../fields.ts";
import type { ListedModel, ModelPage } from "../listed-model.ts";
import { answerNames } from "../message-marks.ts";
import { lifecycleIn } from "../model-lifecycle.ts";
import {
	type Answer,
	type AnswerHeaders,
	type MediaNeed,
	NO_INPUTS,
	type Provider,
	type RequestInputStore,
	type Transport,
	type UpstreamRequest,
} from "../provider.ts";
import { addressMissing, configuredOf, type Upstream } from "../registry.ts";
import { modelsRequest, requestHeaders } from "../request-headers.ts";
import { CLAUDE_COUNTER } from "../token-count.ts";
import { toolCallIds } from "../tools.ts";
import { unsupportedFields } from "../unsupported-fields.ts";
import { type AnswerReading, answerPlan, asksForm } from "./answer-plan.ts";
import { claude, hasTrait } from "./models.ts";
import { nativeDecoder } from "./native-stream.ts";
import { ownMessageAnswer } from "./own-answer.ts";
import { plannedMessage } from "./planned-answer.ts";
import { PlannedDecoder } from "./planned-stream.ts";
import { messagesRequest, thinkingField } from "./request.ts";
import { messageAnswer } from "./response.ts";
import { MessageDecoder } from "./stream.ts";

/** The provider for a configured upstream of this type. */
export function anthropic(upstream: Upstream, transport: Transport, inputStore: RequestInputStore): Provider {
	const headersFor = requestHeaders(upstream);
	// The same text each time: who sends finds it sooner.
	const url = `${upstream.baseUrl}/messages`;
	return {
		...configuredOf(upstream),
		transport,
		inputStore,
		routesModels: false,
		operations: ["chat"],
		counter: CLAUDE_COUNTER,
		needs(call, { model }) {
			// It comes back in the client's own bytes.
			if (ownText(call, model) !== undefined) return [];
			return toolCallIds(formFor(call, "anthropic").body().value).map((id): MediaNeed => ({ kind: "thinking", id }));
		},
		encode(call, { model }, inputs = NO_INPUTS, options) {
			if (call.operation !== "chat") throw noOperation("Anthropic", call.operation);
			const { state, baseUrl } = upstream;
			if (state !== "ready" || baseUrl === undefined) throw addressMissing(upstream);
			const { stream } = call;
			const own = ownText(call, model);
			if (own !== undefined) return { url, headers: withVersion(headersFor(call), call), body: own, stream };
			const request = formFor(call, "anthropic");
			const fields = unsupportedFields(call, upstream, options, request.leftOut?.());
			const { body, betas } = encoded(() => messagesRequest(request.body().value, model, stream, inputs, fields));
			const headers = withBetas(headersFor(call), betas);
			return { url, headers, body, stream, dropped: fields.dropped };
		},
		continuation: ({ model }) => (hasTrait(claude(model), "refusesPrefill") ? "replay" : "prefill"),
		decode: (status, headers, body, call, { model }) => decode({ upstream, status, headers, body, call, model }),
		decoder(call, { model }) {
			if (ownText(call, model) !== undefined) return nativeDecoder(upstream, call);
			const decoder = new MessageDecoder(upstream, call);
			const reading = readingOf(call, model);
			return reading ? new PlannedDecoder(decoder, reading) : decoder;
		},
		listRequest: (after) =>
			modelsRequest(upstream, `?limit=1000${after === undefined ? "" : `&after_id=${encodeURIComponent(after)}`}`),
		readList,
	};
}

/** The client's own text, where that is in Anthropic's words. */
const ownText = (call: Call, model: string): UpstreamRequest["body"] => nativeFor(call, "anthropic")?.own(model);

/** The version of the API that the client speaks. */
function withVersion(headers: Record<string, string>, { headers: sent }: Call): Record<string, string> {
	const version = sent.get("anthropic-version");
	return version === null ? headers : { ...headers, "anthropic-version": version };
}

/** The client's own betas stay. */
function withBetas(headers: Record<string, string>, betas: readonly string[]): Record<string, string> {
	if (betas.length === 0) return headers;
	const own = headers["anthropic-beta"];
	return { ...headers, "anthropic-beta": [...(own ? [own] : []), ...betas].join(",") };
}

/** How the answer to a call is read; undefined: as it is. */
function readingOf(call: Call, model: string): AnswerReading | undefined {
	const chat = formFor(call, "anthropic").body().value as unknown as Chat & RequestBody;
	return asksForm(chat) ? answerPlan(chat, thinkingField(chat), claude(model)).reading : undefined;
}

/** A whole answer, as it came, and the call that it is to. */
interface SentAnswer {
	readonly upstream: Upstream;
	readonly status: number;
	readonly headers: AnswerHeaders;
	readonly body: string;
	readonly call: Call;
	readonly model: string;
}

function decode({ upstream, status, headers, body, call, model }: SentAnswer): Answer | Failure {
	const answer = answerObject(upstream, status, headers, body);
	if (!("object" in answer)) return answer;
	if (ownText(call, model) !== undefined) return ownMessageAnswer(body, answer.object);
	const reading = readingOf(call, model);
	const names = answerNames(formFor(call, "anthropic").body().value["messages"]);
	if (reading) return plannedMessage(body, answer.object, reading, names);
	return messageAnswer(body, answer.object, names);
}

/** `{ data: [{ id, created_at }], has_more, last_id }`. */
function readList(body: unknown): ModelPage | undefined {
	const { data, has_more, last_id } = (body ?? {}) as Record<string, unknown>;
	if (!Array.isArray(data)) return undefined;
	const models = data
		.filter((each) => typeof each?.id === "string" && each.id !== "")
		.map((each): ListedModel => {
			const created = Math.floor(Date.parse(each.created_at) / 1000);
			return { id: each.id, created, owned_by: "anthropic", lifecycle: lifecycleIn(each) };
		});
	return { models, next: has_more === true && typeof last_id === "string" ? last_id : undefined };
}
