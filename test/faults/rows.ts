/**
 * The ways an upstream fails, one row each: what the router makes of it where another target is left, and where none is. `make faults`
 * plays them in real time and prints the table; test/faults.test.ts plays them thirty times as fast.
 */
import { choiceEvent, DONE, goodStream, textEvent } from "../kit/events.ts";
import type { Connection, Script } from "../kit/fault-upstream.ts";
import {
	answers,
	begins,
	cutsInHeaders,
	endlessLine,
	neverAnswers,
	resetsBeforeHeaders,
	shortBody,
	streams,
	trickles,
} from "../kit/faults.ts";
import { framed, head } from "../kit/http-request.ts";

/** How many pieces a whole answer has, and its text. */
export const WORDS = 60;
export const TEXT = Array.from({ length: WORDS }, (_, index) => `word${index} `).join("");

/** What the client was given. */
export type Outcome =
	| "complete"
	/** A status and an error's code, before anything else. */
	| `${number} ${string}`
	/** So many pieces, then an error event. */
	| `${number} of ${typeof WORDS}, then ${string}`;

/** What is to come of it. */
export interface Expected {
	readonly client: Outcome;
	/** Requests that the faulty upstream saw, and the other one. */
	readonly attempts: readonly number[];
}

/** One fault. */
export interface Row {
	readonly name: string;
	/** `second` is how long a second lasts, ms. */
	readonly script: (second: number) => Script;
	/** What the other target does; the good answer where absent. */
	readonly other?: Script;
	/** A whole answer is asked for, not a stream. */
	readonly isWhole?: boolean;
	readonly withOther: Expected;
	readonly alone: Expected;
}

const JSON_TYPE = { "content-type": "application/json" };
const message = { role: "assistant", content: TEXT };
const WHOLE = JSON.stringify({
	id: "chatcmpl-kit",
	object: "chat.completion",
	created: 1_760_000_000,
	model: "kit-model",
	choices: [{ index: 0, message, finish_reason: "stop" }],
	usage: { prompt_tokens: 5, completion_tokens: WORDS, total_tokens: 5 + WORDS },
});

/** The answer of an upstream in good order, streamed or whole, as it is asked, or the rest of it. */
export const good: Script = (connection) => {
	const body = JSON.parse(connection.request.body) as { stream?: boolean; messages: { content: string }[] };
	if (!body.stream) return answers("200 OK", WHOLE)(connection);
	const begun = "continue_final_message" in body ? body.messages.at(-1)!.content : "";
	const rest = TEXT.slice(begun.length).match(/ *[^ ]+ ?/g) ?? [];
	return streams(begun === "" ? goodStream(WORDS) : [...rest.map(textEvent), ...goodStream(0).slice(1)])(connection);
};

const refuses = (status: string, headers: Record<string, string> = {}, code = "c", text = "no"): Script =>
	answers(status, JSON.stringify({ error: { message: text, type: "t", param: null, code } }), {
		...JSON_TYPE,
		...headers,
	});
const once =
	(script: Script): Script =>
	(connection) =>
		(connection.nth === 0 ? script : good)(connection);
/** So many pieces, then whatever. */
const after =
	(pieces: number, then: (connection: Connection) => unknown): Script =>
	async (connection) => {
		await begins(goodStream(WORDS).slice(0, pieces + 1))(connection);
		await Bun.sleep(20); // else a reset overtakes the bytes
		await then(connection);
	};
const withoutDone = goodStream(WORDS).filter((event) => event !== DONE);
const prefillRefused: Script = (connection) => {
	const { messages } = JSON.parse(connection.request.body) as { messages: { role: string }[] };
	return (
		messages.at(-1)?.role === "assistant" ? refuses("400 Bad Request", {}, "c", "prefill is not supported") : good
	)(connection);
};
const wholeThenReset: Script = async (connection) => {
	await connection.write(head("200 OK", { ...JSON_TYPE, "transfer-encoding": "chunked" }));
	await connection.write(framed(WHOLE));
	await Bun.sleep(20); // else the reset overtakes the bytes
	connection.destroy();
};
const answered = (...attempts: number[]): Expected => ({ client: "complete", attempts });
const is = (client: Outcome, ...attempts: number[]): Expected => ({ client, attempts });

/** All of them. */
export const ROWS: readonly Row[] = [
	{
		name: "429 with `Retry-After: 1`, once",
		script: () => once(refuses("429 Too Many Requests", { "retry-after": "1" })),
		withOther: answered(2, 0),
		alone: answered(2),
	},
	{
		name: "429 with `Retry-After: 60`, for ever",
		script: () => refuses("429 Too Many Requests", { "retry-after": "60" }),
		withOther: answered(1, 1),
		alone: is("429 rate_limit_exceeded", 1),
	},
	{
		name: "429 without `Retry-After`, once",
		script: () => once(refuses("429 Too Many Requests")),
		withOther: answered(1, 1),
		alone: answered(2),
	},
	{
		name: "429 without `Retry-After`, for ever",
		script: () => refuses("429 Too Many Requests"),
		withOther: answered(1, 1),
		alone: is("429 rate_limit_exceeded", 3),
	},
	{
		name: "500, once",
		script: () => once(refuses("500 Internal Server Error")),
		withOther: answered(2, 0),
		alone: answered(2),
	},
	{
		name: "503, for ever",
		script: () => refuses("503 Service Unavailable"),
		withOther: answered(1, 1),
		alone: is("503 upstream_overloaded", 3),
	},
	{
		name: "TCP reset before the headers",
		script: () => resetsBeforeHeaders,
		withOther: answered(2, 1),
		alone: is("502 upstream_unreachable", 2),
	},
	{
		name: "half a header, then the end",
		script: () => cutsInHeaders,
		withOther: answered(2, 1),
		alone: is("502 upstream_unreachable", 2),
	},
	{
		name: "no response",
		script: () => neverAnswers,
		withOther: answered(1, 1),
		// By then it has been kept waiting with comments: its status is 200.
		alone: is("0 of 60, then upstream_timeout", 2),
	},
	{
		name: "no response to a call for a whole answer",
		script: () => neverAnswers,
		isWhole: true,
		withOther: answered(1, 1),
		alone: is("504 upstream_timeout", 1),
	},
	{
		name: "headers, then a first token after 20 s",
		script: (second) => async (connection) => {
			await begins([])(connection);
			await Bun.sleep(20 * second);
			await connection.write(goodStream(WORDS).join(""));
			connection.end();
		},
		withOther: answered(1, 1),
		alone: answered(1),
	},
	{
		name: "stream cut after 40 of 60 tokens",
		script: () => after(40, (connection) => connection.destroy()),
		withOther: answered(1, 1),
		alone: is("40 of 60, then upstream_truncated", 1),
	},
	{
		name: "the same, and the other target refuses prefill",
		script: () => after(40, (connection) => connection.destroy()),
		other: prefillRefused,
		// It is asked again, and gives the same answer.
		withOther: answered(1, 2),
		alone: is("40 of 60, then upstream_truncated", 1),
	},
	{
		name: "stall after 20 tokens, the socket open",
		script: () => after(20, (connection) => connection.closed),
		withOther: answered(1, 1),
		alone: is("20 of 60, then upstream_timeout", 1),
	},
	{
		name: "a garbage event in the middle",
		script: () => {
			const events = goodStream(WORDS);
			return streams([...events.slice(0, 30), 'data: {"choices":[{"ind\n\n', ...events.slice(30)]);
		},
		withOther: answered(1, 0),
		alone: answered(1),
	},
	{
		name: "no `[DONE]`, but a finish reason",
		script: () => streams(withoutDone),
		withOther: answered(1, 0),
		alone: answered(1),
	},
	{
		name: "reset behind the finish reason",
		script: () => after(WORDS + 1, (connection) => connection.destroy()),
		withOther: answered(1, 0),
		alone: answered(1),
	},
	{
		name: "silence behind the finish reason, the socket open",
		script: () => after(WORDS + 1, (connection) => connection.closed),
		withOther: answered(1, 0),
		alone: answered(1),
	},
	{
		name: "an error event behind the finish reason",
		script: () =>
			streams([...goodStream(WORDS).slice(0, WORDS + 2), 'data: {"error":{"message":"busy","code":503}}\n\n']),
		withOther: answered(1, 0),
		alone: answered(1),
	},
	{
		name: "neither `[DONE]` nor a finish reason",
		script: () => streams(goodStream(WORDS).slice(0, WORDS + 1), "until-close"),
		withOther: answered(1, 1),
		alone: is("60 of 60, then upstream_truncated", 1),
	},
	{
		name: "context length exceeded",
		script: () => refuses("400 Bad Request", {}, "context_length_exceeded", "maximum context length is 8192 tokens"),
		withOther: answered(1, 1),
		alone: is("400 context_length_exceeded", 1),
	},
	{
		name: "content filter",
		script: () => refuses("400 Bad Request", {}, "content_filter", "filtered"),
		withOther: is("400 content_filter", 1, 0),
		alone: is("400 content_filter", 1),
	},
	{
		name: "an error in a 200, before the first token",
		script: () =>
			streams([choiceEvent({ role: "assistant", content: "" }), 'data: {"error":{"message":"busy","code":503}}\n\n']),
		withOther: answered(1, 1),
		alone: is("503 upstream_overloaded", 3),
	},
	{
		name: "a slow trickle: a token every 0.5 s",
		script: (second) => trickles(goodStream(WORDS), second / 2),
		withOther: answered(1, 0),
		alone: answered(1),
	},
	{
		name: "a whole answer shorter than its Content-Length",
		script: () => shortBody,
		isWhole: true,
		withOther: answered(1, 1),
		alone: is("502 upstream_truncated", 1),
	},
	{
		name: "a whole answer, reset behind its JSON",
		script: () => wholeThenReset,
		isWhole: true,
		withOther: answered(1, 0),
		alone: answered(1),
	},
	{
		name: "a line of a gigabyte, as first event",
		script: () => endlessLine(1 << 30),
		withOther: answered(1, 1),
		alone: is("502 upstream_truncated", 1),
	},
	{
		name: "a line of a gigabyte after 20 tokens",
		script: () =>
			after(20, async (connection) => {
				const piece = "x".repeat(1 << 20);
				await connection.write(textEvent("").slice(0, 20));
				for (let sent = 0; sent < 1 << 30; sent += piece.length) if (!(await connection.write(piece))) return;
			}),
		withOther: answered(1, 1),
		alone: is("20 of 60, then upstream_truncated", 1),
	},
];
