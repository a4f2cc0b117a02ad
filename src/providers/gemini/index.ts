/** Google's Gemini API behind OpenAI's. */
import type { Call } from "../../openai/call.ts";
import { encoded, readChat, unsupported } from "../../openai/chat.ts";
import { answerObject } from "../answer-object.ts";
import type { Failure } from "../failure.ts";
import {
	type Answer,
	type MediaNeed,
	type ModelPage,
	NO_INPUTS,
	type Provider,
	type RequestInputStore,
	type RequestInputs,
	type Transport,
	type UpstreamRequest,
} from "../provider.ts";
import { addressMissing, configuredOf, type Upstream } from "../registry.ts";
import { listHeaders, requestHeaders } from "../request-headers.ts";
import { toolCallIds } from "../tools.ts";
import { embedAnswer, embedRequest } from "./embeddings.ts";
import { mediaNeeds } from "./media.ts";
import { generateRequest } from "./request.ts";
import { answerOf } from "./response.ts";
import { GenerateDecoder } from "./stream.ts";

/** The provider for a configured upstream of this type. */
export function gemini(upstream: Upstream, transport: Transport, supplies: RequestInputStore): Provider {
	const headersFor = requestHeaders(upstream);
	return {
		...configuredOf(upstream),
		transport,
		supplies,
		routesModels: false,
		needs: ({ operation, body }) => (operation === "chat" ? encoded(() => chatNeeds(body)) : []),
		encode: (call, { model }, got = NO_INPUTS) => encode(upstream, headersFor, call, model, got),
		decode: (status, headers, body, call) => decode(upstream, status, headers, body, call),
		decoder: (call) => new GenerateDecoder(upstream, call),
		listRequest: (after) => listRequest(upstream, after),
		readList,
	};
}

function chatNeeds(body: Call["body"]): MediaNeed[] {
	const kept = toolCallIds(body).map((id): MediaNeed => ({ kind: "kept", id }));
	return [...kept, ...mediaNeeds(readChat(body).messages)];
}

function encode(
	upstream: Upstream,
	headersFor: (call: Call) => Record<string, string>,
	call: Call,
	model: string,
	got: RequestInputs,
): UpstreamRequest {
	const { state, baseUrl } = upstream;
	if (state !== "ready" || baseUrl === undefined) throw addressMissing(upstream);
	const headers = headersFor(call);
	const path = pathOf(model);
	const at = `${baseUrl}/${path}`;
	switch (call.operation) {
		case "chat": {
			const method = call.stream ? "streamGenerateContent?alt=sse" : "generateContent";
			const { stream } = call;
			return {
				url: `${at}:${method}`,
				headers,
				stream,
				body: encoded(() => generateRequest(call.body, model, baseUrl, got)),
			};
		}
		case "embeddings":
			return { url: `${at}:batchEmbedContents`, headers, body: embedRequest(call.body, path) };
		default:
			throw unsupported("model", "Gemini has no text completions, only /v1/chat/completions");
	}
}

/** `models/…` or `tunedModels/…`; whatever the name holds, it is one segment. */
function pathOf(model: string): string {
	const collection = model.startsWith("tunedModels/") ? "tunedModels" : "models";
	const name = model.startsWith(`${collection}/`) ? model.slice(collection.length + 1) : model;
	return `${collection}/${encodeURIComponent(name.toWellFormed())}`;
}

function decode(upstream: Upstream, status: number, headers: Headers, body: string, call: Call): Answer | Failure {
	const answer = answerObject(upstream, status, headers, body);
	if (!("object" in answer)) return answer;
	return call.operation === "embeddings" ? embedAnswer(answer.object, call.body) : answerOf(answer.object, call);
}

function listRequest(upstream: Upstream, after: string | undefined): UpstreamRequest | undefined {
	if (upstream.state !== "ready" || !upstream.baseUrl) return undefined;
	const page = after === undefined ? "" : `&pageToken=${encodeURIComponent(after)}`;
	return { url: `${upstream.baseUrl}/models?pageSize=1000${page}`, headers: listHeaders(upstream) };
}

/** What a model must do to be of use here. */
const USED = new Set(["generateContent", "embedContent", "batchEmbedContents"]);

/** `{ models: [{ name: "models/…", supportedGenerationMethods }], nextPageToken }`. */
function readList(body: unknown): ModelPage | undefined {
	const { models, nextPageToken } = (body ?? {}) as Record<string, unknown>;
	if (!Array.isArray(models)) return undefined;
	const used = models.filter((each) => {
		const { name, supportedGenerationMethods: methods } = each ?? {};
		return typeof name === "string" && (!Array.isArray(methods) || methods.some((method) => USED.has(method)));
	});
	return {
		models: used.map(({ name }) => ({ id: name.replace(/^models\//, ""), owned_by: "google" })),
		next: typeof nextPageToken === "string" && nextPageToken !== "" ? nextPageToken : undefined,
	};
}
