/** What an upstream puts into its answer beside it reaches no client: lines of no field, fields of no use, bytes of no character. */
import { afterAll, expect, test } from "bun:test";
import { choiceEvent, DONE, finishEvent, textEvent } from "./kit/events.ts";
import { eventData } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { streams } from "./kit/faults.ts";
import { head } from "./kit/http-request.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
const router = pipeline({ config: { providers: { box: { type: "openai-compatible", base_url: upstream.origin } } } });
afterAll(() => upstream.stop());

const call = { model: "box/m", messages: [{ role: "user", content: "hi" }] };
const ROLE = choiceEvent({ role: "assistant", content: "" });
/** What the client got, as bytes. */
async function bytesFor(pieces: readonly (string | Uint8Array)[]): Promise<Uint8Array> {
	upstream.run(streams(pieces));
	return new Uint8Array(await (await router.send({ ...call, stream: true })).arrayBuffer());
}
const textIn = (bytes: Uint8Array) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
/** Text with one byte in the place of `X`. */
function withByte(text: string, byte: number): Uint8Array {
	const bytes = Buffer.from(text);
	bytes[bytes.indexOf(0x58)] = byte;
	return bytes;
}
/** Each line is a comment, data, or the end of an event. */
const LINES = /^(?:(?:data: .*|:.*)?\n)*$/;

test.each([
	["event names", (text: string) => `event: message\n${text}`],
	["ids and times to wait", (text: string) => `id: 3\nretry: 10\n${text}`],
	["lines of no field", (text: string) => `HTTP/1.1 200 OK\n${text}`],
	["lines that end with CR", (text: string) => text.replaceAll("\n", "\r")],
	["byte order marks", (text: string) => `\uFEFF${text}`],
	["data over two lines", (text: string) => text.replace(',"object"', ',\ndata: "object"')],
	["comments with a NUL", (text: string) => `: \0\n\n${text}`],
])("of %s a client sees none, and the whole answer", async (_, form) => {
	const pieces = [ROLE, ...["one ", "two ", "three"].map(textEvent), finishEvent()];
	for (const sent of [pieces.map(form), [pieces.map(form).join("")]]) {
		const text = textIn(await bytesFor([...sent, DONE]));
		expect(text).toMatch(LINES);
		expect(text).not.toMatch(/[\0\r\uFEFF]/);
		const chunks = eventData(text)
			.slice(0, -1)
			.map((data) => JSON.parse(data));
		expect(chunks).toEqual(eventData(pieces.join("")).map((data) => JSON.parse(data)));
	}
});

test("a lone byte inside a text is the character for what is none, also in chunks that are sent on unread", async () => {
	const plain = ["a ", "b ", "c "].map(textEvent);
	for (const byte of [0xff, 0xc3, 0x80, 0xed]) {
		const text = textIn(await bytesFor([ROLE, ...plain, withByte(textEvent("dXe"), byte), finishEvent(), DONE]));
		expect(text).toContain("d\uFFFDe");
	}
});

test("a character cut in two by the network is that character", async () => {
	const event = Buffer.from(textEvent("ü🙂"));
	const at = event.indexOf(0xc3) + 1;
	const pieces = [event.subarray(0, at), event.subarray(at, at + 3), event.subarray(at + 3)];
	expect(textIn(await bytesFor([ROLE, textEvent("a"), ...pieces, finishEvent(), DONE]))).toContain("ü🙂");
});

test("an error that comes bare inside a stream is one", async () => {
	const text = textIn(await bytesFor([ROLE, textEvent("a"), '{"error":{"message":"it broke","code":500}}\n\n']));
	expect(text).toContain("it broke");
	expect(text).not.toContain("[DONE]");
});

test.each([
	["a length", true],
	["no length", false],
])("a whole answer with %s whose bytes are no UTF-8, behind a byte order mark, is text", async (_, hasLength) => {
	const body = Buffer.concat([
		Buffer.from("\uFEFF"),
		withByte(
			'{"id":"a","choices":[{"index":0,"message":{"role":"assistant","content":"aXb"},"finish_reason":"stop"}]}',
			0xff,
		),
	]);
	upstream.run(async (connection) => {
		const length = hasLength ? { "content-length": String(body.length) } : { connection: "close" };
		await connection.write(head("200 OK", { "content-type": "application/json", ...length } as Record<string, string>));
		await connection.write(body);
		if (!hasLength) connection.end();
	});
	const answer = await router.send(call);
	const text = textIn(new Uint8Array(await answer.arrayBuffer()));
	expect(JSON.parse(text)).toMatchObject({ choices: [{ message: { content: "a\uFFFDb" } }] });
});
