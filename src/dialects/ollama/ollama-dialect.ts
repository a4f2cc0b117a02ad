/** Ollama's API, `/api/chat`, `/api/generate`, `/api/embed` and `/api/embeddings`, in front of every model. */
import type { ParsedRequest } from "../../openai/call.ts";
import type { Operation } from "../../openai/operations.ts";
import { textOf } from "../../openai/sse.ts";
import { utf8Text } from "../../openai/validation.ts";
import type { Dialect, DialectCall, KnownModels } from "../dialect.ts";
import { parseRequest } from "../openai-chat.ts";
import { embeddedText, fieldsText, generatedText, headText, type OllamaForm, saidText } from "./ollama-answer.ts";
import { ollamaErrorResponse } from "./ollama-error.ts";
import { askedModel, OllamaFacts } from "./ollama-facts.ts";
import { foldOllama } from "./ollama-fold.ts";
import { knownName } from "./ollama-names.ts";
import {
	type OllamaTranslation,
	translatedChat,
	translatedEmbed,
	translatedEmbeddings,
	translatedGenerate,
} from "./ollama-request.ts";
import { OllamaStream } from "./ollama-stream.ts";
import { readOllama } from "./ollama-validation.ts";

/** What a request is, and the answer to one that asks nothing. */
interface Reading {
	readonly asked: string;
	readonly translation: OllamaTranslation;
	readonly stream: boolean;
	readonly unasked: (call: DialectCall) => string;
}

function parsedRequest(operation: Operation, { asked, translation, stream, unasked }: Reading): ParsedRequest {
	const { body: made, leftOut, isThoughtless = false, prefills, asks } = translation;
	const { facts, body } = parseRequest(translation.operation, JSON.stringify(made));
	const named = leftOut.length > 0 ? () => leftOut : undefined;
	return {
		facts: new OllamaFacts(asked, translation, facts),
		stream: stream && asks === undefined,
		body,
		leftOut: named,
		prefills,
		isThoughtless,
		...(translation.operation === operation ? {} : { operation: translation.operation }),
		...(asks === undefined ? {} : { unasked }),
	};
}

const common = {
	contentType: "application/json; charset=utf-8",
	streamContentType: "application/x-ndjson",
	takesAnyMediaType: true,
	error: ollamaErrorResponse,
} as const;

/** What chats and completions are answered in. */
function generating(form: OllamaForm, read: (text: string, known?: KnownModels) => Omit<Reading, "unasked">): Dialect {
	return {
		...common,
		id: `ollama-${form}`,
		showsRequest: true,
		parse(operation, sent, known) {
			const reading = read(utf8Text(sent), known);
			const { asks } = reading.translation;
			const end = fieldsText({ done: true, done_reason: asks });
			return parsedRequest(operation, {
				...reading,
				unasked: (call) => `{${headText(call)},${saidText(form)}${end}}`,
			});
		},
		answer: (answer, call, _, times, parsed) => generatedText(form, call, times, parsed ?? JSON.parse(textOf(answer))),
		stream: (call) => new OllamaStream(call, form),
		fold: (call, stream) => foldOllama(form, call, stream),
	};
}

/** `POST /api/chat`. */
export const ollamaChat: Dialect = generating("chat", (text, known) => {
	const request = readOllama(text, "chat");
	const translation = translatedChat(request, knownName(request.model, known));
	return { asked: request.model, translation, stream: request.stream !== false };
});

/** `POST /api/generate`. */
export const ollamaGenerate: Dialect = generating("generate", (text, known) => {
	const request = readOllama(text, "generate");
	const translation = translatedGenerate(request, knownName(request.model, known));
	return { asked: request.model, translation, stream: request.stream !== false };
});

/** What vectors are answered in. */
function embedding(isOlder: boolean): Dialect {
	return {
		...common,
		id: isOlder ? "ollama-embeddings" : "ollama-embed",
		parse(operation, sent, known) {
			const text = utf8Text(sent);
			const { asked, translation } = isOlder ? readOlder(text, known) : readEmbed(text, known);
			const unasked = (call: DialectCall) =>
				JSON.stringify(isOlder ? { embedding: [] } : { model: askedModel(call), embeddings: [] });
			return parsedRequest(operation, { asked, translation, stream: false, unasked });
		},
		answer: (answer, call, _, times) => embeddedText(isOlder, textOf(answer), call, times),
		stream() {
			throw new TypeError("vectors are not streamed");
		},
		fold: () => undefined,
	};
}

function readEmbed(text: string, known: KnownModels | undefined) {
	const request = readOllama(text, "embed");
	return { asked: request.model, translation: translatedEmbed(request, knownName(request.model, known)) };
}

function readOlder(text: string, known: KnownModels | undefined) {
	const request = readOllama(text, "embeddings");
	return { asked: request.model, translation: translatedEmbeddings(request, knownName(request.model, known)) };
}

/** `POST /api/embed`. */
export const ollamaEmbed: Dialect = embedding(false);
/** `POST /api/embeddings`. */
export const ollamaEmbeddings: Dialect = embedding(true);
