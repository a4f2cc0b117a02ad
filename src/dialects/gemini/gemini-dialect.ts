/** Google's Gemini API, `/v1beta/models/{model}:{method}`, in front of every model. */
import type { ParsedRequest } from "../../openai/call.ts";
import { hasLongNumbers, parsedExactly } from "../../openai/exact-numbers.ts";
import type { Operation } from "../../openai/operations.ts";
import { textOf } from "../../openai/sse.ts";
import { utf8Text } from "../../openai/validation.ts";
import { type Dialect, type DialectCall, madeOnce } from "../dialect.ts";
import { parseRequest } from "../openai-chat.ts";
import { type GeneratedForm, generatedText } from "./answer.ts";
import { askedMethod, type GeminiMethod, joinedRequest, partedRequest } from "./asked-method.ts";
import { embeddingAnswer, embeddingRequest } from "./embeddings.ts";
import { errorResponse } from "./error.ts";
import { type AnswerShape, GeminiFacts } from "./facts.ts";
import { foldGenerated } from "./folded-answer.ts";
import { isGoogles } from "./foreign-parts.ts";
import { wholeNames } from "./function-names.ts";
import { normalized, readRequest, refusal } from "./read-request.ts";
import { chatRequest, isThoughtless, refuseCached, type TranslatedRequest } from "./request.ts";
import type { EmbedRequest, GenerateRequest } from "./request-schema.ts";
import { EVENTS, GeminiStream, LIST } from "./stream.ts";

/** The wire, with its streams as events or as one list. */
function geminiDialect(isEvents: boolean): Dialect {
	return {
		id: "gemini",
		contentType: "application/json; charset=UTF-8",
		streamContentType: isEvents ? "text/event-stream" : "application/json; charset=UTF-8",
		withUrl: joinedRequest,
		parse: parseGemini,
		answer(answer, call, costUsd) {
			const { method } = shapeOf(call);
			if (call.operation === "embeddings") return embeddingAnswer(textOf(answer), method === "batchEmbedContents");
			return generatedText(textOf(answer), formOf(call), costUsd);
		},
		stream: (call) => new GeminiStream(formOf(call), call.facts.model, isEvents ? EVENTS : LIST),
		fold: (_, stream) => foldGenerated(stream, isEvents),
		error: (error, headers) => errorResponse(error, headers, !isEvents),
	};
}

/** `:generateContent`, embeddings, and streams with `alt=sse`. */
export const gemini: Dialect = geminiDialect(true);
/** Streams without it. */
export const geminiLists: Dialect = geminiDialect(false);

const NO_SHAPE: AnswerShape = {
	method: "generateContent",
	showsThoughts: false,
	names: undefined,
	isLive: false,
	beyond: "",
};

const shapeOf = ({ facts }: Pick<DialectCall, "facts">): AnswerShape =>
	facts instanceof GeminiFacts ? facts.shape : NO_SHAPE;

function formOf(call: DialectCall): GeneratedForm {
	const { showsThoughts, names } = shapeOf(call);
	return { id: call.id, showsThoughts, names };
}

function parseGemini(operation: Operation, sent: Buffer): ParsedRequest {
	const { model, method, body } = partedRequest(sent);
	if (model.length > 512) throw refusal("model", "must be a string of 1 to 512 characters");
	const text = utf8Text(body);
	if (operation === "embeddings") return embedding(model, method, requestsIn(text, method));
	return generating({ model, method, text, request: readRequest<GenerateRequest>(text, "generate") });
}

/** A request whose tokens are to be counted. Throws as `parse` does. */
export function countedContents(text: string, url: string): ParsedRequest {
	const { model } = askedMethod(url);
	const { contents, generateContentRequest } = readRequest<Partial<GenerateRequest> & WholeRequest>(text, "count");
	const request = generateContentRequest ?? (contents && { contents });
	if (!request) throw refusal("contents", "is missing");
	const whole = generateContentRequest ? undefined : text;
	return generating({ model, method: "generateContent", text: whole, request: request as GenerateRequest });
}

interface WholeRequest {
	readonly generateContentRequest?: GenerateRequest | null;
}

/** What is to be answered. */
interface Generating {
	readonly model: string;
	readonly method: GeminiMethod;
	/** The client's own; undefined where that is none that could be sent. */
	readonly text: string | undefined;
	readonly request: GenerateRequest;
}

/** A request for an answer. */
function generating({ model, method, text, request }: Generating): ParsedRequest {
	const asked = { model, stream: method === "streamGenerateContent" };
	const exact = text !== undefined && hasLongNumbers(text) ? exactly(request, text) : request;
	const others = chatRequest(exact, asked, "others");
	const translated = madeOnce(() => chatRequest(exact, asked, "gemini"));
	const functions = (request.tools ?? []).flatMap(({ functionDeclarations }) => functionDeclarations ?? []);
	const shape = {
		method,
		showsThoughts: request.generationConfig?.thinkingConfig?.includeThoughts === true,
		names: wholeNames(functions.map(({ name }) => name)),
		isLive: others.leftOut.some((name) => name.startsWith("tools.")),
		beyond: isAllSaid(request, others) ? "" : JSON.stringify(request),
	};
	const parsed = parsedWith("chat", shape, others, translated, (target) =>
		text !== undefined && isGoogles(request, target) ? text : undefined,
	);
	return {
		...parsed,
		body() {
			refuseCached(request);
			return parsed.body();
		},
		stream: asked.stream,
		prefills: request.contents.at(-1)?.role === "model",
		isThoughtless: isThoughtless(request),
	};
}

/** Whether Google gets no more than the chat request says. */
const isAllSaid = ({ generationConfig, cachedContent }: GenerateRequest, { leftOut }: TranslatedRequest): boolean =>
	leftOut.length === 0 && generationConfig?.thinkingConfig == null && cachedContent == null;

/** A request for vectors. */
function embedding(model: string, method: GeminiMethod, requests: readonly EmbedRequest[]): ParsedRequest {
	const others = embeddingRequest(model, requests, false);
	const translated = madeOnce(() => embeddingRequest(model, requests, true));
	const beyond = others.leftOut.length > 0 ? JSON.stringify(requests[0]) : "";
	return parsedWith("embeddings", { ...NO_SHAPE, method, beyond }, others, translated, () => undefined);
}

/** The same with numbers in its contents as they were sent. */
const exactly = (request: GenerateRequest, text: string): GenerateRequest => ({
	...request,
	contents: (normalized(parsedExactly(text)) as GenerateRequest).contents,
});

function requestsIn(text: string, method: GeminiMethod): readonly EmbedRequest[] {
	if (method === "embedContent") return [readRequest<EmbedRequest>(text, "embed")];
	return readRequest<{ requests: readonly EmbedRequest[] }>(text, "batch").requests;
}

/**
 * @param translated the same with what Google alone has a form for
 * @param own the client's text, for a model of this name
 */
function parsedWith(
	operation: Operation,
	shape: AnswerShape,
	others: TranslatedRequest,
	translated: () => TranslatedRequest,
	own: (model: string) => string | undefined,
): ParsedRequest {
	const chat = parseRequest(operation, others.text);
	const { leftOut } = others;
	return {
		facts: new GeminiFacts(chat, shape),
		stream: false,
		body: chat.body,
		leftOut: leftOut.length > 0 ? () => leftOut : undefined,
		native: {
			vendor: "gemini",
			body: madeOnce(() => parseRequest(operation, translated().text).body()),
			leftOut: () => translated().leftOut,
			own,
		},
	};
}
