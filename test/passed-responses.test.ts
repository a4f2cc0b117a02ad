/** Responses that go on as their upstream has sent them: byte for byte, held until they have begun, and under the router's id where it stores them. */
import { describe, expect, test } from "bun:test";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { RouterError } from "../src/errors.ts";
import { textOf } from "../src/openai/sse.ts";
import { PassedResponse } from "../src/providers/openai/response-events.ts";
import { configureUpstreams } from "../src/providers/registry.ts";
import type { Deadline } from "../src/proxy/deadline.ts";
import { EventReader } from "../src/proxy/event-reader.ts";
import type { Loose } from "./kit/exchange.ts";
import { configOf } from "./kit/pipeline.ts";
import { random } from "./kit/random.ts";
import { callOf } from "./kit/responses.ts";

const upstream = configureUpstreams(configOf(), {}).find(({ name }) => name === "openai")!;
const event = (type: string, nth: number, rest: object) =>
	`event: response.${type}\ndata: ${JSON.stringify({ type: `response.${type}`, sequence_number: nth, ...rest })}\n\n`;
const RESPONSE = { id: "resp_up", object: "response", created_at: 7, model: "m", status: "in_progress", output: [] };
const PLACE = { item_id: "msg_1", output_index: 0, content_index: 0 };
const HEAD = [event("created", 0, { response: RESPONSE }), event("in_progress", 1, { response: RESPONSE })];
const ADDED = event("output_item.added", 2, { output_index: 0, item: { id: "msg_1", type: "message", content: [] } });
const said = (nth: number, delta: string) => event("output_text.delta", nth, { ...PLACE, delta, logprobs: [] });
const WORDS = Array.from({ length: 120 }, (_, at) => said(3 + at, at % 7 === 0 ? ' é "x"\n' : " word"));
const LAST = event("completed", 200, { response: { ...RESPONSE, status: "completed", usage: { input_tokens: 1 } } });
const LAST_DATA = /data: (.*)/.exec(LAST)![1]!;

function readerOf() {
	const deadline = { touch() {}, abort() {}, clear() {}, within() {}, failure: undefined } as unknown as Deadline;
	const told: string[] = [];
	const events = {
		...{ firstDelta() {}, finished() {}, comment() {}, keeps() {}, end() {} },
		begun: () => void told.push("begun"),
		held: () => void told.push("held"),
	};
	const body = { read: () => Promise.resolve(undefined) };
	return { reader: new EventReader(body, new PassedResponse(upstream), deadline, events), told };
}

describe("a response goes on byte for byte, but for its last event", () => {
	const before = [...HEAD, ADDED, ...WORDS].join("");
	const bytes = Buffer.from(before + LAST);

	test("all at once, in the very memory that it came in", () => {
		const { reader } = readerOf();
		const piece = reader.take(bytes);
		expect(piece).toBeInstanceOf(Uint8Array);
		expect((piece as Uint8Array).buffer).toBe(bytes.buffer);
		expect(textOf(piece as Uint8Array)).toBe(before);
		expect([reader.isOver, reader.failure, reader.last?.ending]).toEqual([true, undefined, LAST_DATA]);
	});

	test("however it is cut", () => {
		for (let seed = 0; seed < 200; seed++) {
			const rng = random(seed);
			const { reader } = readerOf();
			let text = "";
			for (let at = 0; at < bytes.length; ) {
				const length = 1 + rng.below(rng.pick([40, 400, 4000]));
				if (!reader.isOver) text += textOf(reader.take(Buffer.from(bytes.subarray(at, at + length))) as Uint8Array);
				at += length;
			}
			expect([seed, text, reader.failure]).toEqual([seed, before, undefined]);
		}
	});

	test.each([
		["lines that end otherwise", (text: string) => text.replaceAll("\n", "\r\n")],
		["no names", (text: string) => text.replaceAll(/^event: .*\n/gm, "")],
		["other names", (text: string) => text.replaceAll("event: response.", "event: x.")],
		["more space", (text: string) => text.replaceAll(/^event: /gm, "event:  ")],
	])("in one form where it came in another: with %s", (_, odd) => {
		const { reader } = readerOf();
		expect(textOf(reader.take(Buffer.from(odd(before + LAST))) as Uint8Array)).toBe(before);
	});

	test("and a line's end inside an event's JSON does not cut the event in two, also of one like others", () => {
		const spaced = (space: string) => said(3, "Hi").replace(',"delta"', `,${space}"delta"`);
		const { reader } = readerOf();
		const sent = [...HEAD, spaced(" "), spaced(" "), spaced("\r"), LAST].map((each) => reader.take(Buffer.from(each)));
		expect(sent.map((each) => textOf(each as Uint8Array)).join("")).toBe(HEAD.join("") + spaced(" ").repeat(3));
	});

	test("and what is no UTF-8 is mended", () => {
		const broken = Buffer.from(before + LAST);
		broken[broken.indexOf("word")] = 0xff;
		const { reader } = readerOf();
		expect(textOf(reader.take(broken) as Uint8Array)).toBe(before.replace("word", "\uFFFDord"));
	});
});

test("until more than its beginning has come an answer has not begun, though that is an event and no comment", () => {
	const { reader, told } = readerOf();
	const sent = HEAD.map((each) => textOf(reader.take(Buffer.from(each)) as Uint8Array));
	expect([sent, reader.hasBegun, reader.hasEvent, told]).toEqual([HEAD, false, true, ["held"]]);
	reader.take(Buffer.from(ADDED));
	expect(reader.hasBegun).toBe(false);
	reader.take(Buffer.from(WORDS[0]!));
	expect([reader.hasBegun, told]).toEqual([true, ["held", "begun"]]);
});

test("tokens that nobody has counted are guessed from words alone, however their events came", () => {
	const guesses = [1, 2, 60].map((each) => {
		const { reader } = readerOf();
		reader.take(Buffer.from([...HEAD, ADDED].join("")));
		const words = Array.from({ length: 120 }, (_, at) => said(100 + at, " word"));
		for (let at = 0; at < 120; at += each) reader.take(Buffer.from(words.slice(at, at + each).join("")));
		return reader.guess;
	});
	expect(guesses).toEqual([120, 120, 120]);
});

test("a long one that breaks off fails with all that was said, and with the next number", () => {
	const writer = openAiResponses.stream(callOf({ store: false }));
	const words = Array.from({ length: 3000 }, (_, at) => said(4 + at, ` ${at} é`));
	const part = event("content_part.added", 3, { ...PLACE, part: { type: "output_text", text: "", annotations: [] } });
	writer.push(
		Buffer.from([...HEAD, ADDED.replace('"type":"message"', '"type":"message","role":"assistant"'), part].join("")),
	);
	for (let at = 0; at < words.length; at += 10) writer.push(Buffer.from(words.slice(at, at + 10).join("")));
	const [, failed] = /^event: response.failed\ndata: (.*)$/m.exec(
		writer.error(new RouterError("upstream_truncated", "It broke off.")),
	)!;
	const { sequence_number, response } = JSON.parse(failed!) as Loose;
	expect(sequence_number).toBeGreaterThan(3003);
	expect(response.output[0].content[0].text).toBe(Array.from({ length: 3000 }, (_, at) => ` ${at} é`).join(""));
});

describe("where the router stores it, a response has the router's id", () => {
	const saved: string[] = [];
	const storage = { isLasting: true, save: (answer: string) => void saved.push(answer) };
	const idIn = (text: string) => [...text.matchAll(/"id":"(resp_\w+)"/g)].map(([, id]) => id);

	test.each([
		["one piece", [[...HEAD, ADDED, ...WORDS].join("")]],
		["a piece an event", [...HEAD, ADDED, ...WORDS]],
		["comments between them", [": hm\n\n", HEAD[0]!, `: hm\n\n${HEAD[1]}`, ADDED, ...WORDS]],
	])("in all events that hold it: as %s", (_, pieces) => {
		saved.length = 0;
		const writer = openAiResponses.stream({ ...callOf(), storage });
		const sent = pieces.map((piece) => textOf(writer.push(Buffer.from(piece)))).join("");
		expect(idIn(sent)).toEqual(["resp_1a2b", "resp_1a2b"]);
		expect(sent.endsWith(ADDED + WORDS.join(""))).toBe(true);
		const end = writer.end({ provider: "p", model: "m", attempts: 1, ending: LAST_DATA });
		expect([idIn(end), (JSON.parse(saved[0]!) as Loose)["id"]]).toEqual([["resp_1a2b"], "resp_1a2b"]);
	});

	test("and where it does not, it stays as it came", () => {
		const writer = openAiResponses.stream(callOf({ store: false }));
		const bytes = Buffer.from([...HEAD, ADDED, ...WORDS].join(""));
		expect(writer.push(bytes)).toBe(bytes);
		const end = writer.end({ provider: "p", model: "m", attempts: 1, ending: LAST_DATA });
		expect(end.endsWith(`${LAST}data: [DONE]\n\n`)).toBe(true);
	});
});
