/** Claude Code's and Codex's own calls, as they were recorded, in a circle: stopped in the words of their APIs, on which they don't try again. */
import { expect } from "bun:test";
import { type ClientRequest, clientRequests } from "./kit/client-recordings.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { type LoopingModel, startLoopingModel } from "./kit/looping-model.ts";
import { needing } from "./kit/needing.ts";
import { connectSocket } from "./kit/responses-socket.ts";
import { CLIENT_KEY, post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const { afterAll, beforeAll, test } = needing("recordings");

let model: LoopingModel;
let router: RunningRouter;
beforeAll(async () => {
	model = startLoopingModel();
	const keys = [{ name: "agents", key: CLIENT_KEY, runaway: "stop" }];
	router = await startRouter({ config: { providers: model.providers, keys, runaway: { pause: "10m" } } });
}, 60_000);
afterAll(async () => {
	await router.stop();
	await model.stop();
});

/** The call of a turn, and the same with its last round once more: the ids of its calls are new. */
function withAnotherRound({ body }: ClientRequest, field: string): Json {
	const list = body[field] as Loose[];
	const length = field === "messages" ? 2 : 3;
	const round = JSON.parse(
		JSON.stringify(list.slice(-length)).replaceAll(/\b(toolu|call|fc|fco|rs)_(?=[0-9a-f]{8})/g, "$1_other"),
	);
	return { ...body, [field]: [...list, ...round] };
}
const headersOf = ({ headers }: ClientRequest) =>
	Object.fromEntries(
		Object.entries(headers).filter(([name]) => /^(?:anthropic|x-claude|session|thread|originator)/.test(name)),
	);

test("Claude Code's", async () => {
	const recorded = clientRequests("claude-code-turns").filter(({ path }) => path.startsWith("/v1/messages"));
	const last = recorded.at(-1)!;
	const send = (body: Json) => post(router.url + last.path, { ...body, model: "box/m" }, headersOf(last));
	for (const { body } of recorded) expect((await send(body)).status).toBe(200);
	const stopped = await send(withAnotherRound(last, "messages"));
	expect([stopped.status, stopped.headers.get("x-should-retry")]).toEqual([400, "false"]);
	const { type, error } = JSON.parse(stopped.text);
	expect([type, error.type]).toEqual(["error", "invalid_request_error"]);
	expect(error.message).toContain("This agent repeats itself");
});

test("Codex's, over HTTP", async () => {
	const recorded = clientRequests("codex-http-turns");
	const last = recorded.at(-1)!;
	const send = (body: Json) => post(router.url + last.path, { ...body, model: "box/m" }, headersOf(last));
	for (const { body } of recorded) expect((await send(body)).status).toBe(200);
	const stopped = await send(withAnotherRound(last, "input"));
	expect([stopped.status, stopped.headers.get("x-should-retry")]).toEqual([400, "false"]);
	expect(JSON.parse(stopped.text).error).toMatchObject({ type: "invalid_request_error", code: "runaway_stopped" });
});

test("Codex's, over its WebSocket, of which each turn sends only what is new", async () => {
	const { body } = clientRequests("codex-http-turns")[0]!;
	const { prompt_cache_key: _, ...first } = body;
	const client = await connectSocket(router.url, { authorization: `Bearer ${CLIENT_KEY}` });
	const create = (more: Json) => client.create({ ...first, type: "response.create", model: "box/m", ...more });
	let events = await create({});
	const ends: unknown[] = [];
	for (let round = 0; round < 3; round++) {
		const { response } = events.at(-1) as Loose;
		const call = response.output.find((item: Loose) => item["type"] === "function_call") as Loose;
		const output = {
			type: "function_call_output",
			call_id: call["call_id"],
			output: `Chunk ID: a${round}\nno such file`,
		};
		events = await create({ previous_response_id: response.id, input: [output] });
		ends.push((events.at(-1) as Loose)["type"]);
	}
	expect(ends).toEqual(["response.completed", "response.completed", "error"]);
	expect(JSON.stringify(events.at(-1))).toContain("This agent repeats itself");
	expect((events.at(-1) as Loose)["status"]).toBe(400);
	client.socket.close();
});
