/** Requests of Google's that are only looked through: taken and refused as when they are parsed, and sent on as they would be then. */
import { describe, expect, test } from "bun:test";
import { askedMethod } from "../src/dialects/gemini/asked-method.ts";
import { geminiFor } from "../src/dialects/gemini/gemini-dialect.ts";
import { scannedGenerate } from "../src/dialects/gemini/generate-scan.ts";
import { RouterError } from "../src/errors.ts";
import { carriedDetails } from "../src/openai/thought-details.ts";
import { clientRequests } from "./kit/client-recordings.ts";
import type { Json } from "./kit/exchange.ts";
import { mutated } from "./kit/mutations.ts";
import { type Random, random } from "./kit/random.ts";

const dialect = geminiFor(askedMethod("http://localhost/v1beta/models/m:generateContent"));
const MODELS = ["gemini-2.5-flash", "gemini-3-pro"];

/** The same request, with a field in it that no scan takes. */
const unscanned = (json: string) =>
	json.replace(/"contents":\[\{(\}?)/, (_, end) => `"contents":[{"\\u0078":1${end || ","}`);
const withoutIt = (json: string) => JSON.parse(json, (name, value) => (name === "x" ? undefined : value));

/** What becomes of a request: its facts, its chat, and what Google gets; or why it is refused. */
function outcome(json: string) {
	try {
		const { facts, stream, body, leftOut, prefills, isThoughtless, native } = dialect.parse("chat", Buffer.from(json));
		const { parts, media } = facts.promptSizes();
		const own = MODELS.map((model) => native!.own(model));
		// How a text is escaped is its client's choice where it goes on unread.
		const chat = attempt(() => JSON.parse(body().raw));
		return {
			stream,
			settings: [facts.model, facts.temperature, facts.maxTokens, facts.choices, facts.modalities],
			looks: [facts.usesLiveData(), facts.namedCache!(), facts.isReasoning("gpt-5"), prefills, isThoughtless],
			counts: parts.map(({ kind, count }) => [kind, count]),
			media,
			chat,
			googles: attempt(() => native!.body().raw),
			leftOut: chat === undefined ? undefined : [leftOut!(), native!.leftOut!()],
			history: facts.history!().map(withoutIt),
			own: own.map((sent) => sent && withoutIt(Buffer.concat(sent as Buffer[]).toString())),
			canonical:
				chat === undefined
					? undefined
					: facts
							.canonical(new Set())
							.toString()
							.replace(/"x":1,?/, ""),
		};
	} catch (thrown) {
		return refusal(thrown);
	}
}

function attempt<Made>(make: () => Made): Made | undefined {
	try {
		return make();
	} catch (thrown) {
		refusal(thrown);
		return undefined;
	}
}

function refusal(thrown: unknown) {
	if (!(thrown instanceof RouterError)) throw thrown;
	const { message, param } = thrown.body.error;
	return { message, param };
}

const isScanned = (json: string) => scannedGenerate(Buffer.from(json)) !== undefined;

const user = (...parts: readonly Json[]) => ({ role: "user", parts });
const model = (...parts: readonly Json[]) => ({ role: "model", parts });
const hi = { text: "hi" };
const call = (more: Json = {}) => ({ functionCall: { name: "f", args: { a_b: 1 }, ...more } });
const result = (more: Json = {}) => ({ functionResponse: { name: "f", response: { output: "x" }, ...more } });
const PICTURE = { inlineData: { mimeType: "image/png", data: "AAAA" } };

const REQUESTS: readonly Json[] = [
	{ contents: [user(hi)] },
	{ contents: [{ parts: [{ text: 'say "é" 🙂' }] }, { role: "", parts: [] }, {}] },
	{ contents: [user(hi), model({ text: "So." })] },
	{ contents: [user(hi), model({ text: "Hm.", thought: true }, { text: "So.", thoughtSignature: "c2ln" }), user(hi)] },
	{ contents: [user(hi), model(call()), user(result())] },
	{
		contents: [
			user(hi),
			model({ ...call({ id: "1" }), thoughtSignature: "c2ln" }),
			{ role: "function", parts: [result({ id: "1" })] },
		],
	},
	{
		contents: [
			user(hi),
			model({ ...call(), thoughtSignature: "c2ln" }, call({ id: "call_0" })),
			user(result(), result({ id: "call_0" })),
		],
	},
	{
		contents: [user(hi), model(call({ args: null })), user(result({ response: null }))].map((content) =>
			JSON.parse(JSON.stringify(content).replaceAll(/,"(?:args|response)":null/g, "")),
		),
	},
	{ contents: [user(call()), model(result())] },
	{ contents: [user(hi), model({ ...call(), thoughtSignature: carriedDetails([{ type: "x" }]) }), user(result())] },
	{
		contents: [
			user(
				PICTURE,
				{ fileData: { fileUri: "https://x.example/a.wav", mimeType: "audio/wav" } },
				{ fileData: { fileUri: "gs://x" } },
			),
		],
	},
	{
		contents: [user(hi)],
		systemInstruction: { role: "system", parts: [{ text: "Be brief." }] },
		tools: [{ functionDeclarations: [{ name: "f", parameters: { type: "OBJECT", a_b: 1 } }] }],
	},
	{
		contents: [user(hi)],
		systemInstruction: { parts: [PICTURE] },
		toolConfig: { functionCallingConfig: { mode: "ANY" } },
	},
	{
		contents: [user(hi)],
		tools: [{ googleSearch: {} }],
		cachedContent: "cachedContents/x",
		safetySettings: [{ category: "X" }],
	},
	{
		contents: [user(hi)],
		generationConfig: {
			temperature: 0.5,
			candidateCount: 2,
			maxOutputTokens: 9,
			responseMimeType: "application/json",
			responseSchema: { type: "OBJECT" },
			thinkingConfig: { thinkingBudget: 0, includeThoughts: true },
		},
	},
	{ contents: [user(hi)], generationConfig: { routingConfig: {} }, model: "models/other", labels: { a_b: "c" } },
	// Nothing but words.
	{ contents: [user(hi, { text: "" }, { text: 'two\n"lines"' }), user({ text: "é 🙂 \u2028" }), user()] },
	{
		contents: [
			user(hi),
			model({ text: "S" }, { text: "o." }),
			model({ text: "" }),
			model({ text: "Or so." }),
			user(hi),
		],
	},
	{ contents: [user({ text: "a" }), model({ text: "" }), user({ text: "b" })] },
	{ contents: [model({ text: "a" }), user({ text: "" }), model({ text: "b" })] },
	{ contents: [user({ text: "" })] },
	{ contents: [{}], systemInstruction: { parts: [{ text: "Be" }, { text: "" }, { text: "brief." }] } },
	{ contents: [model(hi), { role: "function", parts: [hi] }], systemInstruction: { role: "model", parts: [hi] } },
	{ contents: [user(hi)], systemInstruction: null, generationConfig: { temperature: 0, stopSequences: ["x"] } },
	{
		contents: [user(hi)],
		systemInstruction: {},
		tools: [{ functionDeclarations: [{ name: "f" }] }],
		serviceTier: "flex",
	},
	{ contents: [user(hi, {})], systemInstruction: { parts: [] } },
];

test.each(REQUESTS.map((request) => [JSON.stringify(request)] as const))("%s is taken unparsed", (json) => {
	expect([isScanned(json), isScanned(unscanned(json))]).toEqual([true, false]);
	expect(outcome(json)).toEqual(outcome(unscanned(json)));
});

test("words go on as their client has written them, and no tree is made of them", () => {
	const words = 'say \\"\\u00e9\\" \\/ é';
	const sent = Buffer.from(
		`{"systemInstruction":{"parts":[{"text":"${words}"}]},"contents":[{"parts":[{"text":"${words}"}]}, {"role":"model","parts":[{"text":"${words}"},{"text":"${words}"}]}]}`,
	);
	const { body } = dialect.parse("chat", sent);
	// Other requests are read in between.
	dialect.parse("chat", Buffer.from(JSON.stringify({ contents: [user(hi)] })));
	const said = (role: string, text: string) => `{"role":"${role}","content":"${text}"}`;
	const messages = [said("system", words), said("user", words), said("assistant", words + words)];
	expect(body().raw).toBe(`{"model":"m","messages":[${messages.join()}]}`);
});

describe("is parsed, since only that shows what it is", () => {
	test.each([
		["names as Python writes them", { contents: [user({ inline_data: { mime_type: "image/png", data: "AAAA" } })] }],
		["the same of other fields", { contents: [user(hi)], generation_config: { top_k: 3 } }],
		["the same inside them", { contents: [user(hi)], tools: [{ function_declarations: [{ name: "f" }] }] }],
		["one item without its list", { contents: user(hi) }],
		["one part without its list", { contents: [{ parts: hi }] }],
		["one tool without its list", { contents: [user(hi)], tools: { googleSearch: {} } }],
		["a field of a part that few send", { contents: [user({ ...hi, videoMetadata: { fps: 1 } })] }],
		["null in the place of a text", { contents: [user({ text: null })] }],
		["a file in the result of a call", { contents: [model(call()), user(result({ parts: [PICTURE] }))] }],
		["base64 that is none", { contents: [user({ inlineData: { mimeType: "image/png", data: "é" } })] }],
		["a field twice", '{"contents":[{"parts":[{"text":"a","text":"b"}]}]}'],
		["a name with an escape", '{"contents":[{"p\\u0061rts":[{"text":"a"}]}]}'],
		[
			"a name that objects have",
			'{"contents":[{"parts":[{"text":"a"}]}],"__proto__":{"generationConfig":{"temperature":1}}}',
		],
	])("%s", (_, request) => {
		const json = typeof request === "string" ? request : JSON.stringify(request);
		expect(isScanned(json)).toBe(false);
		expect(outcome(json)).not.toHaveProperty("message");
	});
});

test.each([
	["nothing that is said", { contents: [] }, "contents"],
	["a role that there is none of", { contents: [{ role: "assistant", parts: [hi] }] }, "contents[0].role"],
	["a number where a text belongs", { contents: [user({ text: 7 })] }, "contents[0].parts[0].text"],
	["a word where a flag belongs", { contents: [user({ ...hi, thought: "yes" })] }, "contents[0].parts[0].thought"],
	[
		"a call of nothing",
		{ contents: [model({ functionCall: { name: "" } })] },
		"contents[0].parts[0].functionCall.name",
	],
	[
		"arguments that are no object",
		{ contents: [model(call({ args: [1] }))] },
		"contents[0].parts[0].functionCall.args",
	],
	["the result of no call", { contents: [user(result())] }, "contents[0].parts[0].functionResponse"],
	["a setting of the wrong kind", { contents: [user(hi)], generationConfig: { topK: "x" } }, "generationConfig.topK"],
	["an instruction that is a text", { contents: [user(hi)], systemInstruction: "x" }, "systemInstruction"],
] as const)("%s is refused", (_, request, param) => {
	const json = JSON.stringify(request);
	expect(outcome(json)).toMatchObject({ param });
	expect(outcome(json)).toEqual(outcome(unscanned(json)));
});

test("how long a request is, is said in characters and in bytes", () => {
	const contents = [user({ text: "é 🙂" }), model({ text: "So." })];
	const systemInstruction = { parts: [{ text: "Sé breve." }] };
	const tools = [{ functionDeclarations: [{ name: "f", description: "é" }] }];
	const { facts } = dialect.parse("chat", Buffer.from(JSON.stringify({ contents, systemInstruction, tools })));
	const sizes = (value: unknown) => [JSON.stringify(value).length, Buffer.byteLength(JSON.stringify(value))];
	const [messages, text, functions] = facts.promptSizes().parts;
	expect([messages!.kind, messages!.count, messages!.characters, messages!.bytes]).toEqual([
		"messages",
		2,
		...sizes(contents),
	] as never);
	expect([text!.kind, text!.characters, text!.bytes]).toEqual(["text", ...sizes(systemInstruction)] as never);
	expect([functions!.kind, functions!.characters]).toEqual(["tools", sizes(tools)[0]] as never);
});

test("what gemini-cli was recorded to send is taken unparsed", () => {
	const sent = clientRequests("gemini-cli-turns").filter(({ path }) => path.includes("enerateContent"));
	expect(sent.length).toBeGreaterThan(0);
	for (const { body } of sent) {
		const json = JSON.stringify(body);
		expect(isScanned(json)).toBe(true);
		expect(outcome(json)).toEqual(outcome(unscanned(json)));
	}
});

test("an address is read once, and a stream as events is another than one as a list, which nobody reads along", () => {
	const url = "http://localhost/v1beta/models/a%2Fb:streamGenerateContent";
	const asked = askedMethod(`${url}?alt=sse`);
	expect([asked, askedMethod(url).isEvents]).toEqual([
		{ model: "a/b", method: "streamGenerateContent", isEvents: true },
		false,
	]);
	expect(askedMethod(`${url}?key=k&alt=sse`)).toBe(asked);
	expect(geminiFor(askedMethod(`${url}?alt=sse`))).toBe(geminiFor(asked));
	expect(geminiFor(askedMethod(url)).id).not.toBe(geminiFor(asked).id);
});

/** Values that stand in requests, or nearly. */
const ODD: readonly unknown[] = [
	...[null, "", "x", "model", "é", 7, -1.5, true, [], {}, [hi], { parts: [hi] }, "c2ln", carriedDetails([1])],
	...[
		call().functionCall,
		result().functionResponse,
		PICTURE.inlineData,
		{ "": 1 },
		{ a_b: 1 },
		{ id: null, name: "f" },
	],
];
const NAMES =
	"role parts text thought thoughtSignature functionCall functionResponse inlineData id name args a_b".split(" ");

/** The same with a value in it, or a name, that is another, or one more. */
function changed(any: Random, value: unknown): unknown {
	if (typeof value !== "object" || value === null || any.below(8) === 0) return any.pick(ODD);
	if (Array.isArray(value)) {
		const at = any.below(value.length + 1);
		return at === value.length ? [...value, any.pick(ODD)] : value.with(at, changed(any, value[at]));
	}
	const names = Object.keys(value);
	const name = any.below(6) === 0 || names.length === 0 ? any.pick(NAMES) : any.pick(names);
	return { ...value, [name]: changed(any, (value as Json)[name]) };
}

test("nearly right requests are what their parse says they are", () => {
	const any = random(16);
	let [scanned, refused] = [0, 0];
	for (let nth = 0; nth < 12_000; nth++) {
		let request: unknown = any.pick(REQUESTS);
		for (let times = any.below(3); times >= 0; times--) request = changed(any, request);
		const json = any.below(8) === 0 ? mutated(any, JSON.stringify(request)) : JSON.stringify(request);
		if (!isScanned(json) || isScanned(unscanned(json))) continue;
		scanned++;
		const told = outcome(json);
		if ("message" in told) refused++;
		expect([json, told]).toEqual([json, outcome(unscanned(json))]);
	}
	expect(scanned).toBeGreaterThan(1000);
	expect(refused).toBeGreaterThan(10);
});
