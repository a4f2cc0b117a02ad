/**
 * A small wire, for tests of what a dialect takes: `{"model", "ask", "stream"}` gets the answer's words as plain text. A stream that is
 * complete ends with a line `end`, one that broke with a line `error CODE`.
 */
import type { Dialect, StreamWriter } from "../../src/dialects/dialect.ts";
import { parseRequest } from "../../src/dialects/openai-chat.ts";
import { RouterError } from "../../src/errors.ts";
import { parseBounded } from "../../src/openai/json.ts";
import { SseSplitter, type StreamPiece, textOf } from "../../src/openai/sse.ts";

/** The wire. */
export const plainDialect: Dialect = {
	contentType: "text/plain; charset=utf-8",
	streamContentType: "text/plain; charset=utf-8",
	parse(operation, text) {
		const { ask, ...settings } = requestIn(text);
		if (typeof ask !== "string") {
			throw new RouterError("invalid_value", 'The field "ask" must be a string.', { param: "ask" });
		}
		return parseRequest(operation, JSON.stringify({ ...settings, messages: [{ role: "user", content: ask }] }));
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

	push<Piece extends StreamPiece>(piece: Piece): string {
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
