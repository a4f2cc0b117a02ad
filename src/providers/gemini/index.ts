/** Google's Gemini API behind OpenAI's. */
import { type Call, formFor, nativeFor } from "../../openai/call.ts";
import { encoded, readChat } from "../../openai/chat.ts";
import type { Operation } from "../../openai/operations.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import { answerObject } from "../answer-object.ts";
import type { Failure } from "../failure.ts";
import { noOperation } from "../fields.ts";
import type { ModelPage } from "../listed-model.ts";
import {
	type Answer,
	type MediaNeed,
	NO_INPUTS,
	type Provider,
	type RequestInputStore,
	type RequestInputs,
	type Transport,
	type UpstreamRequest,
} from "../provider.ts";
import { addressMissing, configuredOf, type Upstream } from "../registry.ts";
import { modelsRequest, requestHeaders } from "../request-headers.ts";
import { GEMINI_COUNTER } from "../token-count.ts";
import { toolCallIds } from "../tools.ts";
import { type UnsupportedFields, unsupportedFields } from "../unsupported-fields.ts";
import { embedAnswer, embedRequest } from "./embeddings.ts";
import { mediaNeeds } from "./media.ts";
import { nativeGenerateDecoder } from "./native-events.ts";
import { ownGeneratedAnswer } from "./own-answer.ts";
import { generateRequest } from "./request.ts";
import { generatedAnswer } from "./response.ts";
import { GenerateDecoder } from "./stream.ts";

/** The provider for a configured upstream of this type. */
export function gemini(upstream: Upstream, transport: Transport, inputStore: RequestInputStore): Provider {
	const headersFor = requestHeaders(upstream);
	const addressOf = addresses(upstream.baseUrl);
	return {
		...configuredOf(upstream),
		transport,
		inputStore,
		routesModels: false,
		counter: GEMINI_COUNTER,
		operations: Object.keys(TRANSLATIONS) as Operation[],
		needs(call, { model }) {
			// What is signed comes back in the client's own bytes.
			if (ownBody(call, model) !== undefined) return [];
			return TRANSLATIONS[call.operation]?.needs(formFor(call, "gemini").body().value) ?? [];
		},
		encode(call, { model }, inputs = NO_INPUTS, options) {
			const { state, baseUrl } = upstream;
			if (state !== "ready" || baseUrl === undefined) throw addressMissing(upstream);
			const translation = TRANSLATIONS[call.operation];
			if (!translation) throw noOperation("Gemini", call.operation);
			const { stream } = call;
			const { path, url } = addressOf(model, translation.method(stream));
			const own = ownBody(call, model);
			if (own !== undefined) return { url, headers: headersFor(call), stream, body: own };
			const request = formFor(call, "gemini");
			const fields = unsupportedFields(call, upstream, options, request.leftOut?.());
			const body = translation.encode({ body: request.body().value, model, path, baseUrl, inputs, fields });
			return { url, headers: headersFor(call), stream, body, dropped: fields.dropped };
		},
		decode(status, headers, body, call, { model }) {
			const answer = answerObject(upstream, status, headers, body);
			if (!("object" in answer)) return answer;
			if (ownBody(call, model) === undefined) return TRANSLATIONS[call.operation]!.decode(answer.object, call, model);
			return ownGeneratedAnswer(body, answer.object, call, model);
		},
		decoder(call, { model }) {
			if (ownBody(call, model) !== undefined) return nativeGenerateDecoder(upstream, call, model);
			return new GenerateDecoder(upstream, call, model);
		},
		listRequest: (after) =>
			modelsRequest(upstream, `?pageSize=1000${after === undefined ? "" : `&pageToken=${encodeURIComponent(after)}`}`),
		readList,
	};
}

/** The client's own words, where those are Google's. */
const ownBody = (call: Call, model: string): UpstreamRequest["body"] => nativeFor(call, "gemini")?.own(model);

/** What a request is made of. */
interface RequestParts {
	readonly body: RequestBody;
	readonly model: string;
	/** The model with its collection. */
	readonly path: string;
	readonly baseUrl: string;
	readonly inputs: RequestInputs;
	readonly fields: UnsupportedFields;
}

/** How one operation is put in Gemini's words. */
interface Translation {
	/** Behind the model, and a colon. */
	method(stream: boolean): string;
	needs(body: RequestBody): readonly MediaNeed[];
	encode(parts: RequestParts): string;
	decode(answer: Record<string, unknown>, call: Call, model: string): Answer | Failure;
}

/** The operations that Gemini has. */
const TRANSLATIONS: Partial<Record<Operation, Translation>> = {
	chat: {
		method: (stream) => (stream ? "streamGenerateContent?alt=sse" : "generateContent"),
		needs: (body) => encoded(() => chatNeeds(body)),
		encode: ({ body, model, baseUrl, inputs, fields }) =>
			encoded(() => generateRequest(body, model, baseUrl, inputs, fields)),
		decode: generatedAnswer,
	},
	embeddings: {
		method: () => "batchEmbedContents",
		needs: () => [],
		encode: ({ body, path }) => embedRequest(body, path),
		decode: (answer, call) => embedAnswer(answer, formFor(call, "gemini").body().value),
	},
};

function chatNeeds(body: RequestBody): MediaNeed[] {
	const stored = toolCallIds(body).map((id): MediaNeed => ({ kind: "thinking", id }));
	return [...stored, ...mediaNeeds(readChat(body).messages)];
}

/** Where a model is asked. */
interface Address {
	/** The model with its collection. */
	readonly path: string;
	readonly url: string;
}

/** Addresses that are remembered: the names of an upstream's models may be its clients' choice. */
const MOST_ADDRESSES = 1000;

/** The addresses behind a base URL: each is written once, and the same text each time is found sooner by who sends. */
function addresses(baseUrl: string | undefined): (model: string, method: string) => Address {
	const known = new Map<string, Map<string, Address>>();
	return (model, method) => {
		const before = known.get(method)?.get(model);
		if (before) return before;
		const path = pathOf(model);
		const address = { path, url: `${baseUrl}/${path}:${method}` };
		const byModel = known.get(method) ?? new Map<string, Address>();
		if (byModel.size >= MOST_ADDRESSES) byModel.clear();
		known.set(method, byModel.set(model, address));
		return address;
	};
}

/** `models/…` or `tunedModels/…`; whatever the name holds, it is one segment. */
function pathOf(model: string): string {
	const collection = model.startsWith("tunedModels/") ? "tunedModels" : "models";
	const name = model.startsWith(`${collection}/`) ? model.slice(collection.length + 1) : model;
	return `${collection}/${encodeURIComponent(name.toWellFormed())}`;
}

/** Methods of which a model must have one to be listed. */
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
