/** Images that callers name by their address, on their way to Gemini, which fetches none. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { MediaAccess } from "../src/proxy/net/media-fetch.ts";
import { isPublic } from "../src/proxy/net/public-address.ts";
import { requestInputsFor } from "../src/proxy/net/request-inputs.ts";
import { clientError } from "./kit/contract.ts";
import type { Json } from "./kit/exchange.ts";
import { pipeline } from "./kit/pipeline.ts";
import { type Replay, startReplay } from "./kit/replay.ts";
import { VENDORS } from "./kit/vendor-fixtures.ts";
import { vendorsAt } from "./kit/vendor-rig.ts";

let replay: Replay;
beforeAll(() => {
	replay = startReplay();
});
afterAll(() => replay.stop());

const [claude, gemini] = VENDORS;
/** The beginning of one. */
const PNG = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");
const image = (url: string) => ({ type: "image_url", image_url: { url } });
const ask = (model: string, ...content: Json[]) => ({ model, messages: [{ role: "user", content }] });

/** A router for which `cat.example` is a public host with a PNG, and `inside.example` a private one. */
function router() {
	const fetched: string[] = [];
	const world: MediaAccess = {
		isAllowed: isPublic,
		resolve: async (name) => [name === "cat.example" ? "93.184.215.14" : "10.0.0.7"],
		get: async (url, address) => {
			fetched.push(`${url.href} at ${address}`);
			const bytes = [PNG];
			return { status: 200, headers: new Headers(), body: { read: async () => bytes.pop() } };
		},
	};
	const inputStoreOf = requestInputsFor(world);
	const made = pipeline({
		env: vendorsAt(replay.origin),
		change: (provider) => (provider.inputStore ? { ...provider, inputStore: inputStoreOf(provider.name) } : provider),
	});
	return { ...made, fetched };
}

test("an image is fetched and sent inline, once for all attempts of a call", async () => {
	const { send, fetched, attempts } = router();
	replay.play({ status: 500, headers: {}, text: "no" });
	await send(ask(gemini!.model, image("https://cat.example/a.png"), image("https://cat.example/a.png")));
	expect(attempts.length).toBe(2);
	expect(fetched).toEqual(["https://cat.example/a.png at 93.184.215.14"]);
	const inlineData = { mimeType: "image/png", data: PNG.toString("base64") };
	for (const { body } of replay.received) {
		expect(JSON.parse(body).contents[0].parts).toEqual([{ inlineData }, { inlineData }]);
	}
});

test("one that is not public is refused by its place, and nobody is asked", async () => {
	const { send, fetched, attempts } = router();
	replay.play(gemini!.answer("image", false));
	const answer = await send(
		ask(gemini!.model, image("https://cat.example/a.png"), image("https://inside.example/admin")),
	);
	expect(answer.status).toBe(400);
	const error = clientError(await answer.text());
	expect([error.code, error.param]).toEqual(["invalid_value", "messages[0].content[1].image_url.url"]);
	expect(error.message).not.toContain("inside.example");
	expect(fetched.filter((each) => each.includes("inside"))).toEqual([]);
	expect([attempts.length, replay.received.length]).toEqual([0, 0]);
});

test("Anthropic fetches for itself", async () => {
	const { send, fetched } = router();
	replay.play(claude!.answer("image", false));
	await send(ask(claude!.model, image("https://inside.example/admin")));
	expect(fetched).toEqual([]);
	expect(replay.only().body).toContain("https://inside.example/admin");
});

test.each([
	[{ type: "image_url" }, "messages[0].content[0].image_url"],
	[{ type: "image_url", image_url: "https://cat.example/a.png" }, "messages[0].content[0].image_url"],
	[{ type: "file" }, "messages[0].content[0].file"],
	[image("data:,x"), "messages[0].content[0].image_url.url"],
])("a part of a wrong shape is the caller's fault: %j", async (part, param) => {
	for (const { model } of VENDORS) {
		const { send, faults } = router();
		const answer = await send(ask(model, part));
		expect([answer.status, clientError(await answer.text()).param]).toEqual([400, param]);
		expect(faults).toEqual([]);
	}
});

test("an upstream that can't take a call is passed over for the next of `models:`", async () => {
	replay.play(gemini!.answer("text", false));
	const models = [{ name: "smart", targets: [claude!.model, gemini!.model] }];
	const { send } = pipeline({ env: vendorsAt(replay.origin), config: { models } });
	const answer = await send({ ...ask("smart", { type: "text", text: "Hi" }), seed: 7 });
	expect(answer.status).toBe(200);
	expect(answer.headers.get("x-router-provider")).toBe("gemini");
	expect(JSON.parse(replay.only().body).generationConfig.seed).toBe(7);
});
