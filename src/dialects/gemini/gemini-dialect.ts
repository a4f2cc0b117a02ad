/** Google's Gemini API, `/v1beta/models/{model}:{method}`, in front of every model. */
import type { NativeRequest, ParsedRequest } from "../../openai/call.ts";
import { hasLongNumbers, parsedExactly } from "../../openai/exact-numbers.ts";
import type { Field } from "../../openai/json.ts";
import type { Operation } from "../../openai/operations.ts";
import { ParsedBody } from "../../openai/parsed-body.ts";
import type { PromptSizes } from "../../openai/prompt-sizes.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import { textOf } from "../../openai/sse.ts";
import { utf8Text } from "../../openai/validation.ts";
import { type Dialect, type DialectCall, madeOnce } from "../dialect.ts";
import { parseRequest } from "../openai-chat.ts";
import { plainToolName, wholeToolNames } from "../tool-names.ts";
import { type GeneratedForm, generatedText } from "./answer.ts";
import { type AskedMethod, askedMethod, type GeminiMethod } from "./asked-method.ts";
import { contentsFacts } from "./contents-facts.ts";
import { contentsSizes } from "./contents-sizes.ts";
import { embeddingAnswer, embeddingRequest } from "./embeddings.ts";
import { errorResponse } from "./error.ts";
import { type AnswerShape, type ChatForm, type FactSources, GeminiFacts } from "./facts.ts";
import { foldGenerated } from "./folded-answer.ts";
import { type ScannedGenerate, scannedGenerate } from "./generate-scan.ts";
import type { RequestForm } from "./media.ts";
import { checkResults, goesAsSent } from "./open-calls.ts";
import { plainMessages } from "./plain-messages.ts";
import { normalized, readRequest, refusal } from "./read-request.ts";
import {
	type AskedChat,
	chatRequest,
	isThoughtless,
	refuseCached,
	saysMore,
	settingsOf,
	type TranslatedRequest,
} from "./request.ts";
import type { EmbedRequest, GenerateRequest } from "./request-schema.ts";
import { EVENTS, GeminiStream, LIST } from "./stream.ts";

/** The wire of what is asked of one model: that stands in the URL, and not in the body that `parse` reads. */
function geminiDialect(asked: AskedMethod): Dialect {
	const { method } = asked;
	const isEvents = asked.isEvents || method !== "streamGenerateContent";
	return {
		// Streams of both forms are told apart by it.
		id: isEvents ? "gemini" : "gemini-lists",
		contentType: "application/json; charset=UTF-8",
		streamContentType: isEvents ? "text/event-stream" : "application/json; charset=UTF-8",
		parse: (operation, sent) => parseGemini(operation, sent, asked),
		answer(answer, call, costUsd, _, parsed) {
			if (call.operation === "embeddings") return embeddingAnswer(textOf(answer), method === "batchEmbedContents");
			return generatedText(parsed ?? JSON.parse(textOf(answer)), formOf(call), costUsd);
		},
		stream: (call) => new GeminiStream(formOf(call), call.facts.model, isEvents ? EVENTS : LIST),
		fold: (_, stream) => foldGenerated(stream, isEvents),
		error: (error, headers) => errorResponse(error, headers, !isEvents),
	};
}

const dialects = new WeakMap<AskedMethod, Dialect>();

/** Google's API as it is asked by one URL. The same object for the same `asked`. */
export function geminiFor(asked: AskedMethod): Dialect {
	let dialect = dialects.get(asked);
	if (!dialect) {
		dialect = geminiDialect(asked);
		dialects.set(asked, dialect);
	}
	return dialect;
}

/** The same where no model is asked: of refusals, and of counts. */
export const gemini: Dialect = geminiDialect({ model: "", method: "generateContent", isEvents: true });

const NO_SHAPE: AnswerShape = { showsThoughts: false, names: undefined };

const shapeOf = ({ facts }: Pick<DialectCall, "facts">): AnswerShape =>
	facts instanceof GeminiFacts ? facts.shape : NO_SHAPE;

function formOf(call: DialectCall): GeneratedForm {
	const { showsThoughts, names } = shapeOf(call);
	return { id: call.id, showsThoughts, names };
}

function parseGemini(operation: Operation, sent: Buffer, { model, method }: AskedMethod): ParsedRequest {
	if (model.length > 512) throw refusal("model", "must be a string of 1 to 512 characters");
	if (operation === "embeddings") return embedding(model, method, requestsIn(utf8Text(sent), method));
	const stream = method === "streamGenerateContent";
	return generating({ model, stream }, scannedGenerate(sent) ?? parsedRequest(utf8Text(sent)));
}

/** A request whose tokens are to be counted. Throws as `parse` does. */
export function countedContents(text: string, url: string): ParsedRequest {
	const { model } = askedMethod(url);
	const { request: asked, fields } = readRequest<CountedRequest>(text, "count");
	const { generateContentRequest: whole, contents } = asked;
	if (whole) return generating({ model, stream: false }, requestOf(whole));
	if (!contents) throw refusal("contents", "is missing");
	const request = { ...asked, contents };
	return generating({ model, stream: false }, requestOf(request, { text, fields }));
}

type CountedRequest = Partial<GenerateRequest> & { readonly generateContentRequest?: GenerateRequest | null };

/** The same of a request that no scan has found good: what is wrong with it is said here. */
function parsedRequest(text: string): SentRequest {
	const { request, fields } = readRequest<GenerateRequest>(text, "generate");
	return requestOf(request, { text, fields });
}

/** @param sent the client's own text, where that is all of it */
function requestOf(request: GenerateRequest, sent?: { text: string; fields: readonly Field[] }): SentRequest {
	const value = request as Readonly<Record<string, unknown>> as RequestBody;
	const body = sent && ParsedBody.of(sent.text, sent.fields, value);
	return { sent: body, request, settings: request, contents: contentsFacts(request.contents) };
}

/** What is to be answered. */
interface SentRequest extends Omit<ScannedGenerate, "sent"> {
	/** The client's own bytes, where those are all of it. */
	readonly sent: ParsedBody | undefined;
	/** All of it, parsed; absent where a scan has found it good. */
	readonly request?: GenerateRequest;
}

/** A request for an answer. */
function generating(chat: AskedChat, sent: SentRequest): ParsedRequest {
	const { settings, contents } = sent;
	checkResults(contents);
	const forms = new RequestForms(sent, chat);
	const showsThoughts = settings.generationConfig?.thinkingConfig?.includeThoughts === true;
	const shape = { showsThoughts, names: functionNames(settings) };
	return {
		facts: new GeminiFacts(settingsOf(settings, chat.model), forms, shape),
		stream: chat.stream,
		body() {
			refuseCached(settings);
			return forms.form().body;
		},
		leftOut: () => forms.form().leftOut,
		prefills: contents.endsWithModel,
		isThoughtless: isThoughtless(settings),
		native: forms,
	};
}

/** Whole names of functions, by those that are sent. */
function functionNames({ tools }: Partial<GenerateRequest>): AnswerShape["names"] {
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
	#request: GenerateRequest | undefined;
	#others: ChatForm | undefined;
	#googles: ChatForm | undefined;
	/** The model that was asked about last, and what it gets of the client's own bytes: each call asks several times. */
	#target: string | undefined;
	#own: readonly Buffer[] | undefined;

	constructor(
		private readonly sent: SentRequest,
		private readonly chat: AskedChat,
	) {
		this.#request = sent.request;
	}

	form(): ChatForm {
		this.#others ??= this.#made("others");
		return this.#others;
	}

	sizes(): PromptSizes {
		const { sent, contents } = this.sent;
		return sent ? contentsSizes(contents, sent) : this.form().facts.promptSizes();
	}

	history(): readonly string[] | undefined {
		const { sent } = this.sent;
		const contents = sent?.field("contents");
		if (!sent || !contents) return undefined;
		const before = sent.fields.filter(({ key }) => BEFORE_CONTENTS.has(key));
		return [...before, contents].map((field) => sent.textOf(field));
	}

	contents(): Buffer | undefined {
		const { sent } = this.sent;
		const field = sent?.field("contents");
		return field && sent!.bytes.subarray(field.start, field.end);
	}

	beyond({ leftOut }: ChatForm): string {
		const request = this.#parsed();
		return saysMore(request, leftOut) ? JSON.stringify(request) : "";
	}

	body(): ParsedBody {
		return this.#native().body;
	}

	leftOut(): readonly string[] {
		return this.#native().leftOut;
	}

	own(target: string): readonly Buffer[] | undefined {
		const { sent, settings, contents } = this.sent;
		if (target !== this.#target) {
			this.#target = target;
			this.#own = sent && goesAsSent(settings, contents, target) ? [sent.bytes] : undefined;
		}
		return this.#own;
	}

	/** Its messages, where those are nothing but words that were looked through; else its parse says them. */
	#words(): ReturnType<typeof plainMessages> {
		const { sent, request, settings, contents } = this.sent;
		if (!sent || request || settings.systemInstruction !== undefined) return undefined;
		return contents.calls.length + contents.media.length === 0 ? plainMessages(sent) : undefined;
	}

	#native(): ChatForm {
		this.#googles ??= this.#made("gemini");
		return this.#googles;
	}

	#parsed(): GenerateRequest {
		this.#request ??= readRequest<GenerateRequest>(this.sent.sent!.raw, "generate").request;
		return this.#request;
	}

	#made(form: RequestForm): ChatForm {
		const words = form === "others" ? this.#words() : undefined;
		if (words) return chatForm("chat", chatRequest(this.sent.settings as GenerateRequest, this.chat, form, words));
		const request = this.#parsed();
		const text = this.sent.sent?.raw;
		const exact = text !== undefined && hasLongNumbers(text) ? exactly(request, text) : request;
		return chatForm("chat", chatRequest(exact, this.chat, form));
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
		contents: () => undefined,
		beyond: () => (leftOut.length > 0 ? JSON.stringify(requests[0]) : ""),
	};
	return {
		facts: new GeminiFacts({ ...settingsOf({}, model), choices: facts.choices }, sources, NO_SHAPE),
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
