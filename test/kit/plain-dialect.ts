/**
 * A small wire, for tests of what a dialect takes: `{"model", "ask", "stream", "temperature"}` gets the answer's words as plain text. A
 * stream that is complete ends with a line `end`, one that broke with a line `error CODE`.
 */
import { type Dialect, madeOnce, type StreamWriter } from "../../src/dialects/dialect.ts";
import { parseRequest } from "../../src/dialects/openai-chat.ts";
import { RouterError } from "../../src/errors.ts";
import type { CallFacts } from "../../src/openai/call-facts.ts";
import { canonical, parseBounded } from "../../src/openai/json.ts";
import { isReasoning } from "../../src/openai/reasoning.ts";
import { type AnswerPiece, chunksOf, SseSplitter, textOf } from "../../src/openai/sse.ts";

/** The wire. */
export const plainDialect: Dialect = {
	id: "plain",
	contentType: "text/plain; charset=utf-8",
	streamContentType: "text/plain; charset=utf-8",
	parse(operation, sent) {
		const { ask, model, stream, temperature } = requestIn(sent.toString());
		if (typeof ask !== "string") throw wrong("ask", "must be a string");
		if (typeof model !== "string") throw wrong("model", "is missing");
		if (stream !== undefined && typeof stream !== "boolean") throw wrong("stream", "must be true or false");
		if (temperature !== undefined && typeof temperature !== "number") throw wrong("temperature", "must be a number");
		const messages = [{ role: "user", content: ask }];
		const request = {
			model,
			messages,
			...(stream ? { stream } : {}),
			...(temperature === undefined ? {} : { temperature }),
		};
		return {
			facts: factsOf(request, ask),
			stream: stream === true,
			body: madeOnce(() => parseRequest(operation, JSON.stringify(request)).body()),
		};
	},
	answer: (answer) => `${wordsIn(textOf(answer), "message")}\n`,
	stream: () => new PlainWriter(),
	// The words alone are no answer that another wire could be given.
	fold: () => undefined,
	error(error, headers) {
		const answer = error.response(headers);
		answer.headers.set("content-type", "text/plain; charset=utf-8");
		return new Response(`error ${error.errorCode}: ${error.message}\n`, {
			status: answer.status,
			headers: answer.headers,
		});
	},
};

/** What this wire's requests say: the compiler asks for each. */
function factsOf({ model, ...settings }: PlainRequest, ask: string): CallFacts {
	return {
		model,
		user: undefined,
		showsUsage: false,
		temperature: settings.temperature,
		maxTokens: undefined,
		choices: 1,
		modalities: { image: false, audio: false },
		hasEffects: false,
		fallbackModels: [],
		usesLiveData: () => false,
		isReasoning: (name) => isReasoning({ model }, name),
		cachesForHour: () => false,
		promptCache: () => ({ isMarked: false, isForHour: false, retention: undefined }),
		promptSizes: () => {
			const part = { kind: "text", characters: ask.length, bytes: Buffer.byteLength(ask), count: 0 } as const;
			return { parts: [part], media: [] };
		},
		promptContent: () => ({
			texts: [JSON.stringify(settings.messages)],
			images: 0,
			imageCharacters: 0,
			hasTools: false,
			hasSchema: false,
		}),
		routingField: () => undefined,
		engineField: () => undefined,
		canonical(without) {
			const kept = Object.entries({ model, ...settings }).filter(([name]) => !without.has(name));
			const texts = kept.map(([name, value]) => `"${name}":${canonical(JSON.stringify(value))},`);
			return Buffer.from(texts.sort().join(""));
		},
		memory: (sent) => 8 * sent.length + 1024,
	};
}

/** What a text comes to in OpenAI's words. */
interface PlainRequest {
	readonly model: string;
	readonly messages: readonly { readonly role: string; readonly content: string }[];
	readonly stream?: boolean;
	readonly temperature?: number;
}

const wrong = (param: string, what: string) =>
	new RouterError("invalid_value", `The field "${param}" ${what}.`, { param });

function requestIn(text: string): Record<string, unknown> {
	try {
		const request = parseBounded(text);
		if (typeof request === "object" && request !== null) return request as Record<string, unknown>;
	} catch {
		// Said below.
	}
	throw new RouterError("invalid_json", 'Send {"model": …, "ask": …}.');
}

class PlainWriter implements StreamWriter {
	readonly keepAlive = "\n";
	readonly #events = new SseSplitter();

	push(sent: AnswerPiece): string {
		const piece = chunksOf(sent);
		const events = this.#events.push(typeof piece === "string" ? Buffer.from(piece) : piece);
		return events.map(({ data }) => (data === undefined || data === "[DONE]" ? "" : wordsIn(data, "delta"))).join("");
	}

	end(): string {
		return "\nend\n";
	}

	error(error: RouterError): string {
		return `\nerror ${error.errorCode}\n`;
	}
}

function wordsIn(json: string, part: "message" | "delta"): string {
	const { choices } = JSON.parse(json) as { choices: readonly { message?: Said; delta?: Said }[] };
	return choices.map((choice) => choice[part]?.content ?? "").join("");
}

interface Said {
	readonly content?: string | null;
}
