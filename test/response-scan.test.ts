/** Events of Responses that are looked through in their bytes: what they are to a scan they are to a parse. */
import { describe, expect, test } from "bun:test";
import { SseSplitter } from "../src/openai/sse.ts";
import { PassedResponse } from "../src/providers/openai/response-events.ts";
import { endedResponse, pastClosing } from "../src/providers/openai/response-scan.ts";
import { mutated } from "./kit/mutations.ts";
import { random } from "./kit/random.ts";

const USAGE = { input_tokens: 2, output_tokens: 1, total_tokens: 3 };
const PART = { item_id: "msg_1", output_index: 0, content_index: 0 };
const MESSAGE = { id: "msg_1", type: "message", content: [{ type: "output_text", text: 'é "x" 🙂' }] };
const named = (type: string, more: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
const delta = (text: string, n = 5) =>
	named("response.output_text.delta", { sequence_number: n, ...PART, delta: text });
const CLOSING = [
	named("response.output_text.done", { sequence_number: 6, ...PART, text: 'é "x" 🙂' }),
	named("response.content_part.done", { sequence_number: 7, ...PART, part: MESSAGE.content[0] }),
	named("response.output_item.done", { sequence_number: 8, output_index: 0, item: MESSAGE }),
	named("response.output_item.added", { sequence_number: 9, output_index: 1, item: { ...MESSAGE, content: [] } }),
];
const RESPONSE = {
	id: "resp_1",
	object: "response",
	status: "completed",
	error: null,
	output: [MESSAGE],
	usage: USAGE,
};
const ended = (response: object) => ({ type: "response.completed", sequence_number: 10, response });

test.each(CLOSING.map((event) => [event.slice(7, event.indexOf("\n")), event] as const))(
	"%s goes on unread",
	(_, event) => {
		const chunk = Buffer.from(`: x\n\n${event}${event}`);
		const end = 5 + Buffer.byteLength(event);
		expect([pastClosing(chunk, 5), pastClosing(chunk, end), pastClosing(chunk, 0)]).toEqual([end, chunk.length, 0]);
		for (let cut = 6; cut < end; cut++) expect(pastClosing(chunk.subarray(0, cut), 5)).toBe(5);
	},
);

describe("is read", () => {
	const event = CLOSING[0]!;
	test.each([
		["another name than its data has", event.replace("output_text.done", "output_text.dons")],
		["a type behind other fields", 'event: response.a.done\ndata: {"n":1,"type":"response.a.done"}\n\n'],
		["a type that stands twice", 'event: response.a.done\ndata: {"type":"response.a.done","type":"error"}\n\n'],
		["a type that goes on", 'event: response.a.done\ndata: {"type":"response.a.done2"}\n\n'],
		["a piece of the answer", delta("x")],
		["the end of the answer", named("response.completed", { response: RESPONSE })],
		["an error", named("error", { message: "x" })],
		["what is no JSON", event.replace('"sequence_number":6', '"sequence_number":06')],
		["what is not whole", event.replace('"content_index":0', '"content_index":[0')],
		["a line more", event.replace("\n\n", "\nid: 1\n\n")],
		["line ends of another form", event.replaceAll("\n", "\r\n")],
		["a CR between two values", event.replace(",", ",\r")],
		["data on a line of its own", event.replace(',"', ',\ndata: "')],
	])("%s", (_, text) => expect(pastClosing(Buffer.from(text), 0)).toBe(0));

	test("bytes that are no UTF-8", () => {
		const chunk = Buffer.from(event);
		chunk[chunk.indexOf(0xc3) + 1] = 0x20;
		expect(pastClosing(chunk, 0)).toBe(0);
	});
});

test("nearly right events go on unread where a parse finds nothing else in them", () => {
	const any = random(7);
	let passed = 0;
	for (let nth = 0; nth < 20_000; nth++) {
		const event = mutated(any, any.pick(CLOSING));
		const chunk = Buffer.from(`${event}\n\n`);
		const end = pastClosing(chunk, 0);
		if (end === 0) continue;
		passed++;
		const [first] = new SseSplitter().push(chunk.subarray(0, end));
		const { name, data, isNamed } = first!;
		expect([isNamed, JSON.parse(data!).type]).toEqual([true, name]);
		expect(name).toMatch(/^response\..*\.(?:done|added)$/);
		expect(chunk.toString("utf8", 0, end)).toBe(`event: ${name}\ndata: ${data}\n\n`);
	}
	expect(passed).toBeGreaterThan(200);
});

test("of the last event its counts, its status and its error are what a parse says they are", () => {
	const any = random(8);
	const responses = [
		RESPONSE,
		{ ...RESPONSE, status: "failed", error: { code: "server_error", message: 'no "x"' } },
		{ usage: null, status: "incomplete" },
		{ output: [{ usage: 1 }], metadata: { status: "x" }, status: "completed" },
		{},
		...[7, null, "x", []].map((usage) => ({
			...RESPONSE,
			usage,
			a: 1,
			b: 2,
			c: 3,
			d: 4,
			e: 5,
			f: 6,
			g: 7,
			h: 8,
			i: 9,
		})),
	];
	let read = 0;
	for (let nth = 0; nth < 10_000; nth++) {
		const json = JSON.stringify(ended(any.pick(responses)), null, any.below(3));
		const text = any.below(4) === 0 ? json : mutated(any, json);
		const found = endedResponse(text);
		if (!found) continue;
		read++;
		const { response } = JSON.parse(text);
		const names = ["status", "error", "usage"].filter((name) => Object.hasOwn(response, name));
		expect([text, found]).toEqual([text, Object.fromEntries(names.map((name) => [name, response[name]]))]);
	}
	expect(read).toBeGreaterThan(2000);
});

test("what stands twice in a response, or is none, a parse of all of it tells", () => {
	for (const json of [
		'{"response":{"usage":1,"usage":2}}',
		'{"response":[]}',
		'{"a":1}',
		'{"response":{"us\\u0061ge":1}}',
	])
		expect(endedResponse(json)).toBeUndefined();
});

test("a stream is the same events, wherever its chunks are cut", () => {
	const begin = named("response.created", {
		sequence_number: 0,
		response: { ...RESPONSE, status: "in_progress", output: [] },
	});
	const all = Buffer.from(
		begin +
			delta("é") +
			delta("b", 6) +
			CLOSING.join("") +
			delta("c", 7) +
			named("response.completed", ended(RESPONSE)),
	);
	const upstream = {} as ConstructorParameters<typeof PassedResponse>[0];
	for (let cut = 1; cut < all.length; cut++) {
		const decoder = new PassedResponse(upstream);
		const splitter = new SseSplitter();
		let [text, deltas, done] = ["", 0, 0];
		for (const chunk of [all.subarray(0, cut), all.subarray(cut)]) {
			splitter.add(chunk);
			for (;;) {
				const passed = decoder.passThrough(splitter.bytes, splitter.at);
				if (passed) {
					text += splitter.bytes.toString("utf8", splitter.at, splitter.at + passed.length);
					splitter.at += passed.length;
					deltas += passed.events;
				}
				const event = splitter.next();
				if (!event) break;
				const out = decoder.push(event);
				text += out.done ? `event: ${event.name}\ndata: ${event.data}\n\n` : out.bytes;
				if (out.delta) deltas++;
				if (out.done) done++;
				if (out.done) expect(out.tokens).toMatchObject({ input: 2, output: 1 });
			}
		}
		expect([cut, text, deltas, done]).toEqual([cut, all.toString(), 3, 1]);
	}
});
