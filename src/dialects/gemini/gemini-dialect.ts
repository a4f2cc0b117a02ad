/** Google's Gemini API, `/v1beta/models/{model}:{method}`, in front of every model. */
import type { NativeRequest, ParsedRequest } from "../../openai/call.ts";
import { hasLongNumbers, parsedExactly } from "../../openai/exact-numbers.ts";
import { fieldNamed } from "../../openai/json.ts";
import type { Operation } from "../../openai/operations.ts";
import type { ParsedBody } from "../../openai/parsed-body.ts";
import type { PromptSizes } from "../../openai/prompt-sizes.ts";
import { textOf } from "../../openai/sse.ts";
import { utf8Text } from "../../openai/validation.ts";
import { type Dialect, type DialectCall, madeOnce } from "../dialect.ts";
import { parseRequest } from "../openai-chat.ts";
import { plainToolName, wholeToolNames } from "../tool-names.ts";
import { type GeneratedForm, generatedText } from "./answer.ts";
import { askedMethod, type GeminiMethod, joinedRequest, partedRequest } from "./asked-method.ts";
import { contentsSizes } from "./contents-sizes.ts";
import { embeddingAnswer, embeddingRequest } from "./embeddings.ts";
import { errorResponse } from "./error.ts";
import { type AnswerShape, type ChatForm, type FactSources, GeminiFacts } from "./facts.ts";
import { foldGenerated } from "./folded-answer.ts";
import type { RequestForm } from "./media.ts";
import { checkResults, goesAsSent } from "./open-calls.ts";
import { type CheckedRequest, normalized, readRequest, refusal } from "./read-request.ts";
import { chatRequest, isThoughtless, refuseCached, saysMore, settingsOf, type TranslatedRequest } from "./request.ts";
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

const NO_SHAPE: AnswerShape = { method: "generateContent", showsThoughts: false, names: undefined };

const shapeOf = ({ facts }: Pick<DialectCall, "facts">): AnswerShape =>
	facts instanceof GeminiFacts ? facts.shape : NO_SHAPE;

function formOf(call: DialectCall): GeneratedForm {
	const { showsThoughts, names } = shapeOf(call);
	return { id: call.id, showsThoughts, names };
}

function parseGemini(operation: Operation, sent: Buffer): ParsedRequest {
	const { asked, start } = partedRequest(sent);
	const { model, method } = asked;
	if (model.length > 512) throw refusal("model", "must be a string of 1 to 512 characters");
	const text = utf8Text(sent, start);
	if (operation === "embeddings") return embedding(model, method, requestsIn(text, method));
	return generating(model, method, { text, ...readRequest<GenerateRequest>(text, "generate") });
}

/** A request whose tokens are to be counted. Throws as `parse` does. */
export function countedContents(text: string, url: string): ParsedRequest {
	const { model } = askedMethod(url);
	const { request: asked, fields } = readRequest<CountedRequest>(text, "count");
	const { generateContentRequest: whole, contents } = asked;
	if (whole) return generating(model, "generateContent", { request: whole });
	if (!contents) throw refusal("contents", "is missing");
	return generating(model, "generateContent", { text, fields, request: { ...asked, contents } });
}

type CountedRequest = Partial<GenerateRequest> & { readonly generateContentRequest?: GenerateRequest | null };

/** What is to be answered; the client's own text where that is all of a request. */
type Generating = Partial<CheckedRequest<GenerateRequest> & { readonly text: string }> &
	Pick<CheckedRequest<GenerateRequest>, "request">;

/** A request for an answer. */
function generating(model: string, method: GeminiMethod, asked: Generating): ParsedRequest {
	const { request } = asked;
	checkResults(request);
	const stream = method === "streamGenerateContent";
	const forms = new RequestForms(asked, { model, stream });
	const showsThoughts = request.generationConfig?.thinkingConfig?.includeThoughts === true;
	const shape = { method, showsThoughts, names: functionNames(request) };
	return {
		facts: new GeminiFacts(settingsOf(request, model), forms, shape),
		stream,
		body() {
			refuseCached(request);
			return forms.form().body;
		},
		leftOut: () => forms.form().leftOut,
		prefills: request.contents.at(-1)?.role === "model",
		isThoughtless: isThoughtless(request),
		native: forms,
	};
}

/** Whole names of functions, by those that are sent. */
function functionNames({ tools }: GenerateRequest): AnswerShape["names"] {
	if (!tools?.length) return undefined;
	const functions = tools.flatMap(({ functionDeclarations }) => functionDeclarations ?? []);
	return wholeToolNames(
		functions.map(({ name }) => name),
		plainToolName,
	);
}

/** What stands before the contents to the model that reads them, as Google's clients name it. */
const BEFORE_CONTENTS: ReadonlySet<string> = new Set(["tools", "systemInstruction", "system_instruction"]);

/** A request in others' words and in Google's, each made when it is first asked for. */
class RequestForms implements FactSources, NativeRequest {
	readonly vendor = "gemini";
	#exact: GenerateRequest | undefined;
	#others: ChatForm | undefined;
	#googles: ChatForm | undefined;
	/** The model that was asked about last, and whether it gets the client's own text: each call asks several times. */
	#target: string | undefined;
	#goes = false;

	constructor(
		private readonly sent: Generating,
		private readonly asked: { readonly model: string; readonly stream: boolean },
	) {}

	form(): ChatForm {
		this.#others ??= this.#made("others");
		return this.#others;
	}

	sizes(): PromptSizes {
		const { request, text, fields } = this.sent;
		return text !== undefined && fields ? contentsSizes(request, text, fields) : this.form().facts.promptSizes();
	}

	history(): readonly string[] | undefined {
		const { text, fields } = this.sent;
		const contents = text === undefined || !fields ? undefined : fieldNamed(fields, "contents");
		if (!contents) return undefined;
		const before = fields!.filter(({ key }) => BEFORE_CONTENTS.has(key));
		return [...before, contents].map(({ start, end }) => text!.slice(start, end));
	}

	beyond({ leftOut }: ChatForm): string {
		const { request } = this.sent;
		return saysMore(request, leftOut) ? JSON.stringify(request) : "";
	}

	body(): ParsedBody {
		return this.#native().body;
	}

	leftOut(): readonly string[] {
		return this.#native().leftOut;
	}

	own(target: string): string | undefined {
		const { request, text } = this.sent;
		if (text === undefined) return undefined;
		if (target !== this.#target) {
			this.#target = target;
			this.#goes = goesAsSent(request, target);
		}
		return this.#goes ? text : undefined;
	}

	#native(): ChatForm {
		this.#googles ??= this.#made("gemini");
		return this.#googles;
	}

	#made(form: RequestForm): ChatForm {
		const { request, text } = this.sent;
		this.#exact ??= text !== undefined && hasLongNumbers(text) ? exactly(request, text) : request;
		return chatForm("chat", chatRequest(this.#exact, this.asked, form));
	}
}

/** A request for vectors. */
function embedding(model: string, method: GeminiMethod, requests: readonly EmbedRequest[]): ParsedRequest {
	const isBatch = method === "batchEmbedContents";
	const others = formOnce("embeddings", () => embeddingRequest(model, requests, { isGemini: false, isBatch }));
	const googles = formOnce("embeddings", () => embeddingRequest(model, requests, { isGemini: true, isBatch }));
	// What is wrong with them is said here.
	const { facts, leftOut } = others();
	const sources = {
		form: others,
		sizes: () => facts.promptSizes(),
		history: () => undefined,
		beyond: () => (leftOut.length > 0 ? JSON.stringify(requests[0]) : ""),
	};
	return {
		facts: new GeminiFacts({ ...settingsOf({ contents: [] }, model), choices: facts.choices }, sources, {
			...NO_SHAPE,
			method,
		}),
		stream: false,
		body: () => others().body,
		leftOut: () => leftOut,
		native: {
			vendor: "gemini",
			body: () => googles().body,
			leftOut: () => googles().leftOut,
			own: () => undefined,
		},
	};
}

/** A form of the request, made when it is first asked for. */
const formOnce = (operation: Operation, translate: () => TranslatedRequest): (() => ChatForm) =>
	madeOnce(() => chatForm(operation, translate()));

function chatForm(operation: Operation, { text, leftOut }: TranslatedRequest): ChatForm {
	const { facts, body } = parseRequest(operation, text);
	return { facts, body: body(), leftOut };
}

/** The same with numbers in its contents as they were sent. */
const exactly = (request: GenerateRequest, text: string): GenerateRequest => ({
	...request,
	contents: (normalized(parsedExactly(text)) as GenerateRequest).contents,
});

function requestsIn(text: string, method: GeminiMethod): readonly EmbedRequest[] {
	if (method === "embedContent") return [readRequest<EmbedRequest>(text, "embed").request];
	return readRequest<{ requests: readonly EmbedRequest[] }>(text, "batch").request.requests;
}
