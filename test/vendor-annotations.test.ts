/** Citations of Claude and Gemini come out as `annotations`, whole and streamed, over the words that they are made for. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { chunksOf } from "./kit/exchange.ts";
import { startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

let rig: VendorRig;
beforeAll(async () => {
	rig = await startVendorRig();
});
afterAll(() => rig.stop());

const ask = (model: string, more: Json = {}) => ({ model, messages: [{ role: "user", content: "hi" }], ...more });
const CLAUDE = "claude-sonnet-5";
const GEMINI = "gemini-3-flash";
const PATH = "/v1/chat/completions";

/** What the client was sent of one choice: its text and what was cited. */
interface CitedText {
	readonly text: string;
	readonly annotations: Loose[];
}

async function whole(model: string, body: Json, more: Json = {}): Promise<CitedText> {
	rig.replay.play({ status: 200, headers: { "content-type": "application/json" }, body });
	const answer = await rig.post(PATH, ask(model, more));
	expect(answer.status).toBe(200);
	const { message } = JSON.parse(answer.text).choices[0];
	return { text: message.content, annotations: message.annotations ?? [] };
}

async function streamed(model: string, events: readonly Json[], more: Json = {}): Promise<CitedText> {
	const sse = events.map((event) => `event: ${event["type"]}\ndata: ${JSON.stringify(event)}\n\n`).join("");
	rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse }, "event");
	const answer = await rig.post(PATH, ask(model, { ...more, stream: true }));
	expect(answer.text).toContain("data: [DONE]");
	const choices = chunksOf(answer.text).flatMap(({ choices }) => choices as Loose[]);
	// Behind the finish reason nothing may come.
	expect(choices.at(-1)?.["finish_reason"]).toBe("stop");
	return {
		text: choices.map(({ delta }) => delta.content ?? "").join(""),
		annotations: choices.flatMap(({ delta }) => delta.annotations ?? []),
	};
}

/** The cited words, by the indices: code points. */
const words = ({ text, annotations }: CitedText) =>
	annotations.map((annotation) => {
		const { start_index, end_index } = annotation[annotation["type"]];
		return [...text].slice(start_index, end_index).join("");
	});

describe("Claude", () => {
	const web = {
		type: "web_search_result_location",
		cited_text: "Pi is 3.14",
		url: "https://pi.example/a",
		title: "Pi",
		encrypted_index: "Eo8B",
	};
	const untitled = { ...web, url: "http://pi.example/b", title: null };
	const document = { cited_text: "It is green.", document_index: 1, document_title: "grass.pdf", file_id: null };
	const page = { type: "page_location", ...document, start_page_number: 5, end_page_number: 6 };
	const chars = { type: "char_location", ...document, document_title: null, start_char_index: 0, end_char_index: 12 };
	const found = {
		type: "search_result_location",
		cited_text: "Sky",
		source: "kb/sky",
		title: "Sky",
		search_result_index: 0,
		start_block_index: 2,
		end_block_index: 3,
	};
	const newer = { type: "moon_location", cited_text: "?" };
	const blocks: Loose[] = [
		{ type: "thinking", thinking: "🙂 hm", signature: "c2ln" },
		{ type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: {} },
		{ type: "text", text: "Grüße 🙂! " },
		{ type: "text", text: "Pi ist 𝜋.", citations: [web, untitled] },
		{ type: "text", text: " Und ", citations: null },
		{ type: "text", text: "Gras ist grün 🌿", citations: [page, newer, chars, found] },
		{ type: "text", text: "." },
	];
	const message = {
		id: "msg_1",
		type: "message",
		role: "assistant",
		model: CLAUDE,
		usage: { input_tokens: 3, output_tokens: 5 },
	};
	const pi = { start_index: 9, end_index: 18 };
	const grass = { start_index: 23, end_index: 38 };
	const expected = [
		{
			type: "url_citation",
			url_citation: { ...pi, url: "https://pi.example/a", title: "Pi", content: "Pi is 3.14" },
		},
		{ type: "url_citation", url_citation: { ...pi, url: "http://pi.example/b", title: "", content: "Pi is 3.14" } },
		{
			type: "file_citation",
			file_citation: {
				...grass,
				index: 1,
				filename: "grass.pdf",
				content: "It is green.",
				start_page_number: 5,
				end_page_number: 6,
			},
		},
		{
			type: "file_citation",
			file_citation: { ...grass, index: 1, content: "It is green.", start_char_index: 0, end_char_index: 12 },
		},
		{
			type: "file_citation",
			file_citation: {
				...grass,
				index: 0,
				file_id: "kb/sky",
				filename: "Sky",
				content: "Sky",
				start_block_index: 2,
				end_block_index: 3,
			},
		},
	];

	test("cites over the words of each block", async () => {
		const plain = await whole(CLAUDE, { ...message, content: blocks, stop_reason: "end_turn" });
		expect(plain.annotations).toEqual(expected);
		expect(words(plain)).toEqual([
			"Pi ist 𝜋.",
			"Pi ist 𝜋.",
			"Gras ist grün 🌿",
			"Gras ist grün 🌿",
			"Gras ist grün 🌿",
		]);
	});

	/** As it is streamed: a block's citations before its words, or between them. */
	const events = (order: (deltas: Json[], citations: Json[]) => Json[]): Json[] => [
		{ type: "message_start", message: { ...message, content: [], stop_reason: null } },
		...blocks.flatMap(({ type, text, citations, ...rest }, index) => {
			const halves = type === "text" ? [text.slice(0, 3), text.slice(3)].filter(Boolean) : [];
			const deltas = order(
				halves.map((half: string) => ({ type: "text_delta", text: half })),
				(citations ?? []).map((citation: Json) => ({ type: "citations_delta", citation })),
			);
			const empty = type === "text" ? { type, text: "", ...(citations ? { citations: [] } : {}) } : { type, ...rest };
			return [
				{ type: "content_block_start", index, content_block: empty },
				...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
				{ type: "content_block_stop", index },
			];
		}),
		{ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 5 } },
		{ type: "message_stop" },
	];

	test.each<[string, (deltas: Json[], citations: Json[]) => Json[]]>([
		["before its words", (deltas, citations) => [...citations, ...deltas]],
		["between its words", ([first, ...deltas], citations) => [...(first ? [first] : []), ...citations, ...deltas]],
		["behind its words", (deltas, citations) => [...deltas, ...citations]],
	])("streams a citation that comes %s", async (_, order) => {
		expect((await streamed(CLAUDE, events(order))).annotations).toEqual(expected);
	});

	test("cites the words that are left where a participant's name is taken off the answer", async () => {
		const messages = [
			{ role: "user", content: "hi" },
			{ role: "assistant", name: "Bo", content: "Hi." },
			{ role: "user", content: "Pi?" },
		];
		const named = [
			{ type: "text", text: "Bo: 3.", citations: [web] },
			{ type: "text", text: " Bo: 14.", citations: [web] },
		];
		const said = await whole(CLAUDE, { ...message, content: named, stop_reason: "end_turn" }, { messages });
		expect([said.text, words(said)]).toEqual(["3. Bo: 14.", ["3.", " Bo: 14."]]);
		const sent = named.flatMap(({ type, text, citations: [citation] }, index) => {
			const deltas = [...text].map((letter) => ({ type: "text_delta", text: letter }));
			return [
				{ type: "content_block_start", index, content_block: { type, text: "", citations: [] } },
				...[{ type: "citations_delta", citation }, ...deltas].map((delta) => ({
					type: "content_block_delta",
					index,
					delta,
				})),
				{ type: "content_block_stop", index },
			];
		});
		const all = [
			{ type: "message_start", message: { ...message, content: [], stop_reason: null } },
			...sent,
			{ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 5 } },
			{ type: "message_stop" },
		];
		const live = await streamed(CLAUDE, all, { messages });
		expect([live.text, words(live)]).toEqual(["3. Bo: 14.", ["3.", " Bo: 14."]]);
	});

	test.each<[unknown]>([
		["no list"],
		[{}],
		[[null, 7, "x", {}, { type: "char_location" }, { ...web, url: 7, title: 7 }]],
	])("answers in spite of citations of no known form: %j", async (citations) => {
		const content = [{ type: "text", text: "Hi", citations }];
		const plain = await whole(CLAUDE, { ...message, content, stop_reason: "end_turn" });
		expect(plain.text).toBe("Hi");
		expect(plain.annotations.filter(({ type }) => type === "file_citation")).toEqual([]);
		const delta = { type: "citations_delta", citation: citations };
		const more = await streamed(CLAUDE, [
			{ type: "message_start", message: { ...message, content: [], stop_reason: null } },
			{ type: "content_block_start", index: 0, content_block: { type: "text", text: "", citations } },
			{ type: "content_block_delta", index: 0, delta },
			{ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hi" } },
			{ type: "content_block_stop", index: 0 },
			{ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 5 } },
			{ type: "message_stop" },
		]);
		expect(more.text).toBe("Hi");
	});
});

describe("Gemini", () => {
	const texts = ["Grüße 🙂! ", "Es regnet in Köln. ", "Es regnet in Köln. Morgen nicht."];
	const all = texts.join("");
	const bytes = (text: string) => Buffer.byteLength(text);
	const segment = (text: string, from = 0) => {
		const start = bytes(all.slice(0, all.indexOf(text, from)));
		return { startIndex: start, endIndex: start + bytes(text), text };
	};
	const groundingMetadata = {
		webSearchQueries: ["köln"],
		groundingChunks: [
			{ web: { uri: "https://rain.example/", title: "rain.example" } },
			{
				retrievedContext: { title: "weather.txt", fileSearchStore: "fileSearchStores/1", text: "Rain.", pageNumber: 2 },
			},
			{ maps: { uri: "https://maps.example/koeln", title: "Köln", placeId: "places/1" } },
			{ moon: {} },
		],
		groundingSupports: [
			{ segment: segment("Grüße 🙂!"), groundingChunkIndices: [0, 1, 3, 99, "x"] },
			// The second of two same sentences.
			{ segment: segment("Es regnet in Köln.", all.indexOf("Es regnet") + 5), groundingChunkIndices: [0] },
			// A place in its part: the words are looked for behind it.
			{ segment: { partIndex: 1, startIndex: 20, endIndex: 33, text: "Morgen nicht." }, groundingChunkIndices: [1] },
			{ segment: { startIndex: 1, endIndex: 9, text: "never said" }, groundingChunkIndices: [1] },
		],
	};
	const citationMetadata = {
		citationSources: [
			{ startIndex: 0, endIndex: bytes("Grüße 🙂!"), uri: "https://book.example/", license: "mit" },
			{ startIndex: 5 },
		],
	};
	const file = { index: 1, file_id: "fileSearchStores/1", filename: "weather.txt", content: "Rain.", page_number: 2 };
	const rain = { url: "https://rain.example/", title: "rain.example" };
	const expected = [
		{
			type: "url_citation",
			url_citation: { start_index: 0, end_index: 8, url: "https://book.example/", title: "", license: "mit" },
		},
		{ type: "url_citation", url_citation: { start_index: 0, end_index: 8, ...rain } },
		{ type: "file_citation", file_citation: { start_index: 0, end_index: 8, ...file } },
		{ type: "url_citation", url_citation: { start_index: 28, end_index: 46, ...rain } },
		{ type: "file_citation", file_citation: { start_index: 47, end_index: 60, ...file } },
		{ type: "file_citation", file_citation: { start_index: 0, end_index: 0, ...file } },
		{
			type: "url_citation",
			url_citation: { start_index: 0, end_index: 0, url: "https://maps.example/koeln", title: "Köln" },
		},
	];
	const head = { responseId: "r1", modelVersion: GEMINI, usageMetadata: { promptTokenCount: 3, totalTokenCount: 9 } };
	const parts = [{ text: "🙂 hm", thought: true }, ...texts.map((text) => ({ text }))];

	test("cites over its segments, which count bytes", async () => {
		const candidate = { content: { parts }, finishReason: "STOP", citationMetadata, groundingMetadata };
		const plain = await whole(GEMINI, { ...head, candidates: [candidate] });
		expect(plain.text).toBe(all);
		expect(plain.annotations).toEqual(expected);
		expect(words(plain)).toEqual([
			"Grüße 🙂!",
			"Grüße 🙂!",
			"Grüße 🙂!",
			"Es regnet in Köln.",
			"Morgen nicht.",
			"",
			"",
		]);
	});

	test("streams them at the end, once each, though they come in several pieces", async () => {
		const last = { groundingMetadata, citationMetadata, finishReason: "STOP" };
		const pieces = parts.map((part, at) => ({
			...head,
			candidates: [
				{
					content: { parts: [part] },
					...(at === 1 ? { groundingMetadata: { webSearchQueries: ["köln"] }, citationMetadata } : {}),
					...(at === parts.length - 1 ? last : {}),
				},
			],
		}));
		const more = { ...head, candidates: [{ groundingMetadata: { groundingChunks: [] } }] };
		expect((await streamed(GEMINI, [...pieces, more])).annotations).toEqual(expected);
	});

	test("cites the words that are left where a participant's name is taken off the answer", async () => {
		const groundingChunks = [{ web: { uri: "https://rain.example/", title: "" } }];
		const said = "Bo: Es regnet.";
		const groundingSupports = [
			{ segment: { startIndex: 0, endIndex: 14, text: said }, groundingChunkIndices: [0] },
			{ segment: { startIndex: 7, endIndex: 13, text: "regnet" }, groundingChunkIndices: [0] },
		];
		const candidate = {
			content: { parts: [{ text: said }] },
			finishReason: "STOP",
			groundingMetadata: { groundingChunks, groundingSupports },
		};
		const messages = [
			{ role: "user", content: "hi" },
			{ role: "assistant", name: "Bo", content: "Hi." },
			{ role: "user", content: "Wetter?" },
		];
		const plain = await whole(GEMINI, { ...head, candidates: [candidate] }, { messages });
		expect([plain.text, words(plain)]).toEqual(["Es regnet.", ["Es regnet.", "regnet"]]);
		const live = await streamed(GEMINI, [{ ...head, candidates: [candidate] }], { messages });
		expect([live.text, words(live)]).toEqual(["Es regnet.", ["Es regnet.", "regnet"]]);
	});

	test.each<[unknown]>([
		["x"],
		[[]],
		[{ groundingChunks: "x", citationSources: {}, citations: [7, null] }],
		[{ groundingChunks: [null, { web: 7 }], groundingSupports: [null, { segment: [], groundingChunkIndices: 7 }] }],
	])("answers in spite of sources of no known form: %j", async (odd) => {
		const candidate = { content: { parts }, finishReason: "STOP", citationMetadata: odd, groundingMetadata: odd };
		expect(await whole(GEMINI, { ...head, candidates: [candidate] })).toEqual({ text: all, annotations: [] });
		expect(await streamed(GEMINI, [{ ...head, candidates: [candidate] }])).toEqual({ text: all, annotations: [] });
	});
});
