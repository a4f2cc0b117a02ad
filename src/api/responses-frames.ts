/** What a client sends over a WebSocket, and what is told there besides the events of responses. */
import { RouterError } from "../errors.ts";
import { tooLarge } from "../openai/call.ts";
import { fieldNamed, fieldsOf, JsonTooLarge, parseBounded, splice } from "../openai/json.ts";
import { objectIn } from "../openai/usage.ts";

/** A call for a response. */
export interface CreateFrame {
	/** The body of the same call by POST, as a stream. */
	readonly body: string;
	/** No answer is wanted yet. */
	readonly isWarmUp: boolean;
	/** Calls of one stream are answered one after the other, and their events name it; those of others at the same time. */
	readonly streamId: string | undefined;
	/** The response that it goes on from. */
	readonly previous: string | undefined;
}

/** Longest name of a stream, characters. */
const LONGEST_STREAM_ID = 256;

type Fields = Readonly<Record<string, unknown>>;

/** Reads a frame. What has no answer of its own but an event is that event. Throws `invalid_json` or `invalid_value`. */
export function readFrame(text: string): CreateFrame | string {
	const fields = fieldsIn(text);
	if (fields["type"] === "response.steer") return steerFailure(fields);
	if (fields["type"] !== "response.create") {
		throw new RouterError("invalid_value", 'The field "type" must be "response.create".', { param: "type" });
	}
	const isWarmUp = fields["generate"] === false;
	const streamId = fields["stream_id"] ?? undefined;
	if (streamId !== undefined && (typeof streamId !== "string" || streamId.length > LONGEST_STREAM_ID)) {
		const message = `The field "stream_id" must be text of at most ${LONGEST_STREAM_ID} characters.`;
		throw new RouterError("invalid_value", message, { param: "stream_id" });
	}
	const previous = fields["previous_response_id"];
	return {
		body: bodyOf(text, fields),
		isWarmUp,
		streamId,
		previous: typeof previous === "string" ? previous : undefined,
	};
}

/** As it came, where that can be: a parse would round long numbers. */
function bodyOf(text: string, fields: Fields): string {
	if (fields["stream"] === true) return text;
	if (!("stream" in fields)) return `{"stream":true,${text.slice(text.indexOf("{") + 1)}`;
	const { start, end } = fieldNamed(fieldsOf(text), "stream")!;
	return splice(text, [{ start, end, insert: "true" }]);
}

function fieldsIn(text: string): Fields {
	let value: unknown;
	try {
		value = parseBounded(text);
	} catch (cause) {
		if (cause instanceof JsonTooLarge) throw tooLarge(cause);
		throw new RouterError("invalid_json", "The frame is no valid JSON.");
	}
	const fields = objectIn(value);
	if (!fields) {
		throw new RouterError("invalid_value", 'A frame must be a JSON object, such as {"type": "response.create", …}.');
	}
	return fields;
}

/** No model takes further input in the middle of an answer: the client gets it back, to send it with its next call. */
function steerFailure({ previous_response_id, input }: Fields): string {
	return JSON.stringify({
		type: "response.steer.failed",
		sequence_number: 0,
		steer: { previous_response_id, input },
		error: {
			type: "invalid_request_error",
			code: "steering_not_supported",
			message: "The router can't steer a response: send this input with the next response.create.",
		},
	});
}

/** An event as it names its stream. @param event JSON */
export function eventOf(event: string, streamId: string | undefined): string {
	return streamId === undefined ? event : `{"stream_id":${JSON.stringify(streamId)},${event.slice(1)}`;
}

/** Headers that say nothing where there is no answer by HTTP. */
const NO_NEWS = new Set(["content-type", "content-length", "connection"]);

/** The event of a refusal: the answer to the same call by POST, with its status and headers. */
export async function errorEvent(answer: Response): Promise<string> {
	const text = await answer.text();
	let error: unknown;
	try {
		error = objectIn(JSON.parse(text))?.["error"];
	} catch {
		error = undefined;
	}
	const headers = Object.fromEntries([...answer.headers].filter(([name]) => !NO_NEWS.has(name)));
	return JSON.stringify({ type: "error", status: answer.status, error: error ?? { message: text }, headers });
}
