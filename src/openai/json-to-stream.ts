/** A JSON answer → the stream that the same call would have got with `stream: true`: the inverse of `stream-to-json.ts`. */
import { OPERATIONS, type Operation } from "./operations.ts";
import { sseData } from "./sse.ts";

type Json = Record<string, unknown>;

/**
 * The events of the stream but for `[DONE]`. Each choice comes in one piece, then its end. Throws where the text is no JSON object.
 * @param showsUsage whether the client asked for `stream_options.include_usage`
 */
export function replayEvents(operation: Operation, answer: string, showsUsage: boolean): string {
	const { choices, usage, ...head } = JSON.parse(answer) as Json;
	const { answerField, chunkObjectName } = OPERATIONS[operation];
	const isChat = answerField === "message";
	const chunk = (list: readonly Json[], more: Json = {}) => {
		const body = { ...head, object: chunkObjectName, choices: list, ...more };
		return sseData(JSON.stringify(body));
	};
	let text = "";
	for (const choice of Array.isArray(choices) ? (choices as Json[]) : []) {
		const { index, message, text: words, logprobs, finish_reason, ...rest } = choice;
		const piece = isChat ? { delta: deltaOf((message ?? {}) as Json) } : { text: words ?? "" };
		const log = logprobs === undefined ? {} : { logprobs };
		text += chunk([{ index, ...piece, ...log, finish_reason: null }]);
		text += chunk([{ index, ...(isChat ? { delta: {} } : { text: "" }), ...rest, finish_reason }]);
	}
	return showsUsage && usage != null ? text + chunk([], { usage }) : text;
}

/** A stream's tool calls say their place. */
function deltaOf({ tool_calls: calls, ...message }: Json): Json {
	if (!Array.isArray(calls)) return calls === undefined ? message : { ...message, tool_calls: calls };
	return { ...message, tool_calls: calls.map((call, index) => ({ index, ...(call as Json) })) };
}
