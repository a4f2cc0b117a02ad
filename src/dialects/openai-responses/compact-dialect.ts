/** `POST /v1/responses/compact`: a conversation in short, as an answer of its own. */
import { fieldNamed, type ParsedText, parseWithFields } from "../../openai/json.ts";
import { textOf } from "../../openai/sse.ts";
import { objectIn } from "../../openai/usage.ts";
import { utf8Text } from "../../openai/validation.ts";
import type { Dialect } from "../dialect.ts";
import { openAiResponses } from "./index.ts";
import { refuseRepeatedNames } from "./item-names.ts";
import { requestIn } from "./request-facts.ts";
import { inputItems } from "./stored-response.ts";

/** The wire. Its answers are whole, and never stored. */
export const responsesCompaction: Dialect = {
	...openAiResponses,
	parse(operation, sent, known, earlier) {
		// The summary is to be one that every model can go on from.
		return { ...openAiResponses.parse(operation, asCompaction(sent), known, earlier), responses: undefined };
	},
	answer(answer, call, costUsd) {
		const whole = textOf(openAiResponses.answer(answer, { ...call, storage: undefined }, costUsd));
		const { id, created_at, output, usage } = JSON.parse(whole) as Readonly<Record<string, unknown>>;
		const made = output as readonly object[];
		// Without a summary nothing may be lost.
		const request = requestIn(call);
		const before = (request.earlier?.conversation ?? []) as readonly object[];
		const items = made.length > 0 ? made : [...before, ...inputItems(request, call.id)];
		return JSON.stringify({ id, object: "response.compaction", created_at, output: items, usage });
	},
};

/** The same as a call whose answer is the summary. What is wrong with it is said by its parse. */
function asCompaction(sent: Buffer): Buffer {
	let parsed: ParsedText;
	const text = utf8Text(sent);
	try {
		parsed = parseWithFields(text);
	} catch {
		return sent;
	}
	const body = objectIn(parsed.value);
	if (!body || parsed.repeated !== undefined) return sent;
	const sentItems = fieldNamed(parsed.fields, "input");
	if (sentItems) refuseRepeatedNames(text, sentItems.start);
	const { input, stream: _, store: __, ...rest } = body;
	const items = typeof input === "string" ? [{ role: "user", content: input }] : (input ?? []);
	const isEmpty = Array.isArray(items) && items.length === 0 && !rest["previous_response_id"];
	if (!Array.isArray(items) || isEmpty) return sent;
	return Buffer.from(
		JSON.stringify({ ...rest, store: false, input: [...(items as object[]), { type: "compaction_trigger" }] }),
	);
}
