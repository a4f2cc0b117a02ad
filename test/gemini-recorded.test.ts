/** What Google was recorded to be asked and to answer means the same behind Google's API of the router, before Gemini. */
import { expect } from "bun:test";
import { generatedText } from "../src/dialects/gemini/answer.ts";
import { askedMethod } from "../src/dialects/gemini/asked-method.ts";
import { geminiFor } from "../src/dialects/gemini/gemini-dialect.ts";
import type { ParsedRequest } from "../src/openai/call.ts";
import { generateRequest } from "../src/providers/gemini/request.ts";
import { NO_INPUTS } from "../src/providers/provider.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type Recording, recordings } from "./kit/recordings.ts";
import { meaningOfGemini } from "./kit/vendor-meaning.ts";
import { startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

const { afterAll, beforeAll, test } = needing("recordings");

let rig: VendorRig;
beforeAll(async () => {
	rig = await startVendorRig();
});
afterAll(() => rig.stop());

const all = recordings("gemini").filter(({ request, response }) => request?.body && (response.sse || response.body));
const row = (recording: Recording) => [recording.id, recording] as const;
const textOf = ({ request }: Recording) => JSON.stringify(request!.body);
/** The path, with events for those that were recorded as one list, whose form the router never asks for. */
const pathOf = ({ request, response }: Recording) =>
	response.sse && !request!.path.includes("alt=sse") ? `${request!.path}?alt=sse` : request!.path;
const modelOf = ({ request }: Recording) => /models\/([^:]+):/.exec(request!.path)![1]!;
const parsed = (recording: Recording): ParsedRequest =>
	geminiFor(askedMethod(`http://router${pathOf(recording)}`)).parse("chat", Buffer.from(textOf(recording)));
const own = (recording: Recording) => parsed(recording).native!.own(modelOf(recording));
const post = (recording: Recording) => rig.post(pathOf(recording), textOf(recording), { "x-goog-api-key": "rk-any" });

const asked = all.filter(({ response }) => response.sse || !Array.isArray(response.body));

test.each(asked.map(row))(
	"%s is asked of Gemini in its client's own bytes, or in words of the same meaning",
	async (_, recording) => {
		rig.replay.play(recording.response);
		await post(recording);
		const { body } = rig.replay.received[0]!;
		if (own(recording) !== undefined) expect(body).toBe(textOf(recording));
		else expect(JSON.parse(body)["contents"].length).toBe((recording.request!.body as Loose)["contents"].length);
	},
);

/** Two turns of the model's in a row, which are one where they are translated; and `VALIDATED`, which nobody else has. */
const ONE_TURN = "gemini/cross-provider-capability-replay-google-gemini-3-flash-preview-openai--1";
/** The same with files in the alphabet that most write. */
const inOneAlphabet = (value: unknown): unknown =>
	JSON.parse(
		JSON.stringify(value, (key, inner: unknown) =>
			key === "data" && typeof inner === "string" ? inner.replaceAll("-", "+").replaceAll("_", "/") : inner,
		),
	);

test.each(all.filter(({ id }) => id !== ONE_TURN).map(row))(
	"%s means the same where it has to be translated",
	(_, recording) => {
		const body = parsed(recording).native!.body().value;
		const made = generateRequest(
			body,
			modelOf(recording),
			"https://generativelanguage.googleapis.com/v1beta",
			NO_INPUTS,
		);
		expect(inOneAlphabet(meaningOfGemini(JSON.parse(made)))).toEqual(
			inOneAlphabet(meaningOfGemini(recording.request!.body as Loose)),
		);
	},
);

const whole = asked.filter(({ response }) => response.status === 200 && response.body);
const streamed = asked.filter(({ response }) => response.status === 200 && response.sse);
const natives = (list: readonly Recording[]) => list.filter((each) => own(each) !== undefined);

test.each(natives(whole).map(row))("%s is answered as it was", async (_, recording) => {
	rig.replay.play(recording.response);
	const { status, text } = await post(recording);
	expect([status, text]).toEqual([200, JSON.stringify(recording.response.body)]);
});

/** The pieces of a stream; an error that Google has put into it bare is one, too. */
const piecesOf = (sse: string) =>
	sse
		.split(/(?:\r?\n){2}/)
		.filter((event) => event.trim() !== "")
		.map((event) => JSON.parse(event.replace(/^data: /, "")) as Loose);

const said = natives(streamed).filter(({ response }) => !response.sse!.includes('"blockReason"'));

test.each(said.map(row))("%s is streamed as it was", async (_, recording) => {
	for (const cut of ["event", "whole"] as const) {
		rig.replay.play(recording.response, cut);
		const { status, text } = await post(recording);
		expect(status).toBe(200);
		expect(piecesOf(text)).toEqual(piecesOf(recording.response.sse!));
	}
});

/** What an answer says. */
function meaningOf({ candidates, usageMetadata, modelVersion }: Loose): Json {
	const [{ content, finishReason }] = candidates;
	const parts = (content?.parts ?? []) as Loose[];
	const joined = (isThought: boolean) =>
		parts.map(({ text, thought }) => (Boolean(thought) === isThought ? (text ?? "") : "")).join("");
	const { promptTokenCount = 0, candidatesTokenCount = 0, thoughtsTokenCount = 0 } = usageMetadata ?? {};
	return {
		text: joined(false),
		thoughts: joined(true),
		calls: parts.flatMap(({ functionCall, thoughtSignature }) =>
			functionCall ? [[functionCall.name, functionCall.args, thoughtSignature]] : [],
		),
		finishReason,
		modelVersion,
		usage: { promptTokenCount, candidatesTokenCount, thoughtsTokenCount },
	};
}

test.each(whole.map(row))("%s means the same where it has to be translated back", async (_, recording) => {
	rig.replay.play(recording.response);
	const chat = { model: modelOf(recording), messages: [{ role: "user", content: recording.id }] };
	const { status, text } = await rig.post("/v1/chat/completions", chat);
	expect(status).toBe(200);
	const back = generatedText(JSON.parse(text), { id: "req_1", showsThoughts: true, names: undefined }, undefined);
	expect(meaningOf(JSON.parse(back))).toEqual(meaningOf(recording.response.body as Loose));
});

test.each(asked.filter(({ response }) => response.status >= 400).map(row))(
	"%s is refused as it was, but for the router's own key",
	async (_, recording) => {
		rig.replay.play(recording.response);
		const { status, text } = await post(recording);
		const { error } = JSON.parse(text) as Loose;
		const said = (recording.response.body as Loose)["error"];
		if (status === 502) expect(error.message).toContain("GEMINI_API_KEY");
		else {
			expect([status, error.code, error.status]).toEqual([said.code, said.code, said.status]);
			expect(error.message).toContain(said.message.slice(0, 40));
		}
	},
);
