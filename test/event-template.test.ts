/** Events that are found by their bytes: all of the learnt shape in a row, where their texts stand, and none of another shape. */
import { expect, test } from "bun:test";
import { type EventShape, EventTemplate } from "../src/openai/event-template.ts";
import { random } from "./kit/random.ts";

/** A number, a text that is noted, blanks, another text and another number. */
const SHAPE: EventShape = {
	fixed: ['data: {"n":', ',"text":"', '"', ',"more":"', '","m":', "}\n\n"],
	variables: ["number", "text", "blanks", "text", "number"],
	noted: 1,
	escapes: "short",
};
/** The same as a pattern. */
const EVENT =
	/data: \{"n":(?:0|[1-9]\d{0,8}),"text":"((?:[^"\\\n]|\\["\\/bfnrt])+)" *,"more":"(?:[^"\\\n]|\\["\\/bfnrt])*","m":(?:0|[1-9]\d{0,8})\}\n\n/y;

/** Past the events from there on, and their noted texts, by the pattern. */
function expected(text: string, from: number) {
	const texts: string[] = [];
	let end = from;
	EVENT.lastIndex = from;
	for (let found = EVENT.exec(text); found; found = EVENT.exec(text)) {
		texts.push(found[1]!);
		end = EVENT.lastIndex;
	}
	return { end: Buffer.byteLength(text.slice(0, end)), texts };
}

const TEXTS = ["a", "", "é", "模型 🙂", '\\"', "\\\\", "\\n", "\\/", "\\u00e9", "x\ny", "\\x"];
const NUMBERS = ["0", "7", "12", "12345", "123456789", "1234567890", "012", "-1", "1.5", ""];

test("whatever is in a chunk, it is found as a pattern finds it, wherever the chunk is cut", () => {
	const at = random(11);
	const template = new EventTemplate(SHAPE);
	let events = 0;
	for (let round = 0; round < 4000; round++) {
		const usual = at.below(3) > 0;
		const pick = (from: readonly string[]) => (usual || at.below(4) > 0 ? from[at.below(3)]! : at.pick(from));
		const event = () =>
			`data: {"n":${pick(NUMBERS)},"text":"${pick(TEXTS)}${pick(TEXTS)}"${" ".repeat(at.below(3))},"more":"${pick(TEXTS)}","m":${pick(NUMBERS)}}\n\n`;
		const all = Array.from({ length: at.below(8) }, event).join("") + (at.below(4) === 0 ? ": comment\n\n" : "");
		const text = at.below(2) === 0 ? all : all.slice(0, at.below(all.length + 1)).toWellFormed();
		const from = at.below(3) === 0 ? text.indexOf("data:", 1) : 0;
		if (from === -1) continue;
		const chunk = Buffer.from(text);
		const end = template.read(chunk, Buffer.byteLength(text.slice(0, from)));
		const { spans, size, escapes } = template;
		const texts: string[] = [];
		for (let nth = 0; nth < spans.length; nth += 2) texts.push(chunk.toString("utf8", spans[nth], spans[nth + 1]));
		const wanted = expected(text, from);
		expect([text, end, texts]).toEqual([text, wanted.end, wanted.texts]);
		expect([template.events, size]).toEqual([texts.length, Buffer.byteLength(texts.join(""))]);
		expect(template.textsIn(chunk).toString()).toBe(texts.join(""));
		expect(escapes).toBe(texts.join("").match(/\\./g)?.length ?? 0);
		const counted = () => [template.size, template.escapes, template.events, template.bits, template.lastEnd];
		const noted = counted();
		// Where nobody asks where they are, they are found and counted as well, and looked for once somebody does.
		expect(template.read(chunk, Buffer.byteLength(text.slice(0, from)), false)).toBe(end);
		expect(counted()).toEqual(noted);
		expect(() => template.spans).toThrow(TypeError);
		expect(template.spansLater(chunk, Buffer.byteLength(text.slice(0, from)))()).toEqual(spans);
		events += template.events;
	}
	expect(events).toBeGreaterThan(4000);
});

test.each([0, undefined])(
	"of events that differ in one text those that come alone are found, too (noted: %p)",
	(noted) => {
		const at = random(12);
		const shape: EventShape = {
			fixed: ['data: {"text":"', '"}\n\n'],
			variables: ["text"],
			escapes: "short",
			...(noted === undefined ? {} : { noted }),
		};
		const template = new EventTemplate(shape);
		const pattern = /data: \{"text":"((?:[^"\\\n]|\\["\\/bfnrt])*)"\}\n\n/y;
		let alone = 0;
		for (let round = 0; round < 4000; round++) {
			const event = () => `data: {"text":"${at.pick(TEXTS)}${at.pick(TEXTS)}"}\n\n`;
			const whole = event() + (at.below(4) === 0 ? event() : "");
			const oddities = ["", "", "", ": comment\n\n", "\n", "data: "];
			const text = `${whole.slice(0, at.below(3) === 0 ? at.below(whole.length) : undefined).toWellFormed()}${at.pick(oddities)}`;
			const chunk = Buffer.from(text);
			let end = 0;
			const texts: string[] = [];
			pattern.lastIndex = 0;
			for (let found = pattern.exec(text); found; found = pattern.exec(text)) {
				if (noted !== undefined && found[1] === "") break;
				texts.push(found[1]!);
				end = pattern.lastIndex;
			}
			expect([text, template.read(chunk, 0)]).toEqual([text, Buffer.byteLength(text.slice(0, end))]);
			expect([text, template.events]).toEqual([text, texts.length]);
			if (noted !== undefined) expect(template.textsIn(chunk).toString()).toBe(texts.join(""));
			if (texts.length === 1 && end === text.length) alone++;
		}
		expect(alone).toBeGreaterThan(400);
		const broken = Buffer.from('data: {"text":"é"}\n\n');
		expect(template.read(broken, 0)).toBe(broken.length);
		broken[broken.indexOf(0xc3) + 1] = 0x20;
		expect(template.read(broken, 0)).toBe(0);
	},
);

test("bytes that are no UTF-8 are for a decoder to see, and no event of their chunk is taken", () => {
	const template = new EventTemplate(SHAPE);
	const chunk = Buffer.from('data: {"n":1,"text":"é","more":"","m":2}\n\n'.repeat(3));
	expect(template.read(chunk, 0)).toBe(chunk.length);
	chunk[chunk.indexOf(0xc3) + 1] = 0x20;
	expect([template.read(chunk, 0), template.read(chunk, chunk.length / 3)]).toEqual([0, chunk.length / 3]);
	const next = Buffer.from('data: {"n":1,"text":"a","more":"","m":2}\n\n');
	expect(template.read(next, 0)).toBe(next.length);
});

test("where texts stand is found as well later, whatever was read of the chunk since", () => {
	const template = new EventTemplate(SHAPE);
	const event = 'data: {"n":1,"text":"é","more":"","m":2}\n\n';
	const chunk = Buffer.from(`${event.repeat(2)}: comment\n\n${event}`);
	const behind = chunk.indexOf(": comment") + ": comment\n\n".length;
	chunk[chunk.lastIndexOf(0xc3) + 1] = 0x20;
	expect(template.read(chunk, 0)).toBe(2 * Buffer.byteLength(event));
	const later = template.spansLater(chunk, 0);
	const { spans } = template;
	expect([template.read(chunk, behind), template.spans.length]).toEqual([behind, 2]);
	expect([later(), template.read(chunk, behind)]).toEqual([spans, behind]);
	new EventTemplate(SHAPE).read(chunk, 0);
	expect(() => template.spans).toThrow(TypeError);
});

test("an event in a text is found as it is in bytes", () => {
	const template = new EventTemplate({ ...SHAPE, escapes: "any" });
	const event = 'data: {"n":1,"text":"\\u00e9 模"  ,"more":"","m":23}\n\n';
	expect(template.endIn(`: x\n\n${event}`, 5)).toBe(5 + event.length);
	expect(`: x\n\n${event}`.slice(template.starts[1], template.ends[1])).toBe("\\u00e9 模");
	expect(template.eventEnd(Buffer.from(event), 0)).toBe(Buffer.byteLength(event));
	for (const other of [event.slice(0, -1), event.replace("00e9", "00g9"), event.replace('"n":1', '"n":01')]) {
		expect([template.endIn(other, 0), template.eventEnd(Buffer.from(other), 0)]).toEqual([-1, -1]);
	}
});
