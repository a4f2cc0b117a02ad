/** Streams of each vendor's wire at random: texts as their writers may put them, and between them all else that streams hold. */
import type { Random } from "./random.ts";

/** Texts as they stand in JSON. */
const TEXTS = [
	"word",
	" and",
	"",
	"é",
	"模型",
	"🙂🙂",
	"\\n\\n",
	'\\"x\\"',
	"a\\\\b",
	"\\/",
	"\\u00e9",
	"\\ud83d",
	"\u2028",
	"\x7f",
];
const BROKEN = ["a\nb", "\\x", "\uFFFD"];
const saying = (rng: Random, from = TEXTS) => Array.from({ length: 1 + rng.below(3) }, () => rng.pick(from)).join("");
const many = <T>(rng: Random, make: () => T): T[] => Array.from({ length: rng.below(12) }, make);

/** Claude's. */
export function claudeStream(rng: Random): string {
	const event = (type: string, rest: string) => `event: ${type}\ndata: {"type":"${type}"${rest}}\n\n`;
	const piece = () => {
		const text = saying(rng, rng.below(20) === 0 ? BROKEN : TEXTS);
		const rest = `,"index":${rng.pick([0, 1, 10])},"delta":{"type":"text_delta","text":"${text}"}`;
		return event("content_block_delta", rest + " ".repeat(rng.below(3)));
	};
	const cited = { type: "char_location", cited_text: "c", document_index: 0, start_char_index: 0, end_char_index: 1 };
	const other = () =>
		rng.pick([
			": comment\n\n",
			event("ping", ""),
			event("content_block_delta", ',"index":0,"delta":{"type":"thinking_delta","thinking":"hm"}'),
			event("content_block_delta", `,"index":0,"delta":{"type":"citations_delta","citation":${JSON.stringify(cited)}}`),
		]);
	const thinking = () => {
		const json = `"thinking":"${saying(rng, rng.below(20) === 0 ? BROKEN : TEXTS)}"`;
		return event("content_block_delta", `,"index":0,"delta":{"type":"thinking_delta",${json}}`);
	};
	const thought = () => [
		event("content_block_start", ',"index":0,"content_block":{"type":"thinking","thinking":""}'),
		...many(rng, () => (rng.below(9) === 0 ? event("ping", "") : thinking())),
		event("content_block_delta", ',"index":0,"delta":{"type":"signature_delta","signature":"s"}'),
		event("content_block_stop", ',"index":0'),
	];
	/** Of a kind that OpenAI's words have no form for. */
	const own = () => [
		event("content_block_start", ',"index":0,"content_block":{"type":"compaction","content":""}'),
		...many(rng, piece),
		event("content_block_stop", ',"index":0'),
	];
	let calls = 0;
	const args = () => {
		const json = `"partial_json":"${saying(rng, rng.below(20) === 0 ? BROKEN : TEXTS)}"`;
		return event("content_block_delta", `,"index":${rng.pick([1, 1, 10])},"delta":{"type":"input_json_delta",${json}}`);
	};
	const toolUse = () => [
		event(
			"content_block_start",
			`,"index":1,"content_block":{"type":"tool_use","id":"t${++calls}","name":"f","input":{}}`,
		),
		...many(rng, () => (rng.below(9) === 0 ? rng.pick([": comment\n\n", event("ping", "")]) : args())),
		event("content_block_stop", ',"index":1'),
	];
	const blocks = many(rng, () => [
		...(rng.below(4) === 0 ? thought() : []),
		...(rng.below(4) === 0 ? own() : []),
		...(rng.below(3) === 0 ? toolUse() : []),
		event("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}'),
		...many(rng, () => (rng.below(6) === 0 ? other() : piece())),
		event("content_block_stop", ',"index":0'),
	]);
	return [
		event("message_start", ',"message":{"id":"msg_1","model":"c","usage":{"input_tokens":5,"output_tokens":1}}'),
		...blocks.flat(),
		event("message_delta", ',"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}'),
		event("message_stop", ""),
	].join("");
}

/** OpenAI's. */
export function openaiStream(rng: Random): string {
	const chunk = (delta: string, finish = "null", rest = "") =>
		`data: {"id":"a","choices":[{"index":0,"delta":{${delta}},"finish_reason":${finish}}]${rest}}\n\n`;
	const piece = () => chunk(`"content":"${saying(rng, rng.below(20) === 0 ? BROKEN : TEXTS)}"`);
	const other = () => rng.pick([": comment\n\n", chunk('"reasoning":"hm"'), "event: x\ndata: {}\n\n", "data: {]\n\n"]);
	return [
		chunk('"role":"assistant","content":""'),
		...many(rng, () => (rng.below(6) === 0 ? other() : piece())),
		...many(rng, piece),
		chunk("", '"stop"'),
		'data: {"id":"a","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}\n\n',
		"data: [DONE]\n\n",
	].join("");
}

/** Gemini's: counts grow with each event, as Google's do. */
export function geminiStream(rng: Random): string {
	const end = rng.pick(["\r\n\r\n", "\r\n\r\n", "\n\n"]);
	const space = rng.pick(["", " "]);
	let output = rng.below(2000);
	const event = (candidate: string, more = "") => {
		output += rng.below(40);
		const counts = `{"promptTokenCount":${space}7,"candidatesTokenCount":${space}${output},"totalTokenCount":${space}${output + 7}${more}}`;
		const known = `"modelVersion":${space}"gemini-2.5-flash","responseId":${space}"r1x"`;
		const usage = rng.below(30) === 0 ? "" : `"usageMetadata":${space}${counts},`;
		return `data: {"candidates":${space}[${candidate}],${usage}${known}}${end}`;
	};
	const candidate = (part: string, rest = "", index = 0) =>
		`{"content":${space}{"parts":${space}[${part}],"role":${space}"model"}${rest},"index":${space}${index}}`;
	const piece = () =>
		event(
			candidate(`{"text":${space}"${saying(rng, rng.below(20) === 0 ? BROKEN : TEXTS)}"}`),
			rng.pick(["", "", ',"x":1']),
		);
	const other = () =>
		rng.pick([
			": comment\n\n",
			event(candidate(`{"text":"hm","thought":true}`)),
			event(candidate(`{"text":"a","thoughtSignature":"c2ln"}`)),
			event(candidate(`{"functionCall":{"name":"f","args":{"text":"x"}}}`)),
			event(candidate(`{"text":"a"},{"text":"b"}`)),
			event(candidate(`{"text":"a"}`, ',"safetyRatings":[]')),
		]);
	const rows = many(rng, () => many(rng, piece).concat(rng.below(2) === 0 ? other() : []));
	const last = event(candidate('{"text":""}', rng.below(12) === 0 ? "" : ',"finishReason":"STOP"'));
	return [piece(), ...rows.flat(), last].join("");
}

/** OpenAI's of Responses, whose events are numbered. */
export function responsesStream(rng: Random): string {
	let number = rng.pick([0, 5, 95, 990]);
	const obfuscation = rng.below(2) === 0 ? ',"obfuscation":"x8Q"' : "";
	const event = (type: string, rest: string, name = type) =>
		`event: response.${name}\ndata: {"type":"response.${type}","sequence_number":${number++},${rest}}\n\n`;
	const response = '"response":{"id":"resp_1","object":"response","created_at":7,"model":"m","output":[]';
	const place = '"item_id":"msg_1","output_index":0,"content_index":0';
	const piece = () => {
		const text = saying(rng, rng.below(20) === 0 ? BROKEN : TEXTS);
		return event("output_text.delta", `${place},"delta":"${text}","logprobs":[]${obfuscation}`);
	};
	const other = () =>
		rng.pick([
			() => ": comment\n\n",
			() => event("reasoning_summary_text.delta", `${place},"summary_index":0,"delta":"hm"`),
			() => event("output_text.delta", `${place},"delta":"a","logprobs":[{"token":"a"}]`),
			() => event("output_text.annotation.added", `${place},"annotation":{"type":"url_citation"}`, "other"),
			() => piece().replaceAll("\n", "\r\n"),
			() => piece().replace(/^event: .*\n/, ""),
			() => piece().replace('"sequence_number":', '"sequence_number":0'),
			() => "event: response.x\ndata: {]\n\n",
		])();
	return [
		event("created", `${response},"status":"in_progress"}`),
		event("in_progress", `${response},"status":"in_progress"}`),
		event("output_item.added", '"output_index":0,"item":{"type":"message","id":"msg_1","content":[]}'),
		...many(rng, () => (rng.below(6) === 0 ? other() : piece())),
		...many(rng, piece),
		event("output_text.done", `${place},"text":"all"`),
		event(
			"completed",
			`${response},"status":"completed","usage":{"input_tokens":5,"output_tokens":7,"total_tokens":12}}`,
		),
	].join("");
}
