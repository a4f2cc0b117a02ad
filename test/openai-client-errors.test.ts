/** What goes wrong reaches the official `openai` client as its own error classes. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import { DIALECTS, dialect, upstreamsAt } from "./kit/dialects.ts";
import { BROKEN_STREAMS, ENGINE_DEAD, REFUSALS, type Refusal } from "./kit/error-fixtures.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { cutsAfter, resetsBeforeHeaders } from "./kit/faults.ts";
import { fixture } from "./kit/fixtures.ts";
import { openAiClient, params, streamParams } from "./kit/openai-client.ts";
import { type Rig, startRig } from "./kit/rig.ts";
import { startRouter } from "./kit/router.ts";

let rig: Rig;
let client: OpenAI;
beforeAll(async () => {
	rig = await startRig();
	client = openAiClient(rig.router.url);
});
afterAll(() => rig.stop());

type ErrorClass = abstract new (...args: never[]) => Error;

/** The client's class for a status. */
function classFor(status: number): ErrorClass {
	if (status >= 500) return OpenAI.InternalServerError;
	const classes: Record<number, ErrorClass> = {
		400: OpenAI.BadRequestError,
		401: OpenAI.AuthenticationError,
		404: OpenAI.NotFoundError,
		422: OpenAI.UnprocessableEntityError,
		429: OpenAI.RateLimitError,
	};
	return classes[status] ?? OpenAI.APIError;
}

/** What the promise rejects with; fails when it is no error of the API. */
async function rejection(promise: PromiseLike<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
	try {
		await promise;
	} catch (error) {
		if (error instanceof OpenAI.APIError) return error;
		throw error;
	}
	throw new Error("the call succeeded");
}

describe.each(DIALECTS.map(({ name }) => [name] as const))("%s", (name) => {
	const refusals = REFUSALS.filter(({ provider }) => provider === name);
	const check = (error: InstanceType<typeof OpenAI.APIError>, refusal: Refusal) => {
		expect(error).toBeInstanceOf(classFor(refusal.status));
		expect(error.status).toBe(refusal.status);
		expect(error.code).toBe(refusal.code);
		expect(error.requestID).toMatch(/^req_/);
	};

	test.each(refusals.map((row) => [row.name, row] as const))("%s", async (_, refusal) => {
		rig.replay.play(refusal.response);
		check(await rejection(client.chat.completions.create(params(fixture(dialect(name), "text")))), refusal);
	});

	test.each(refusals.map((row) => [row.name, row] as const))("%s, streamed", async (_, refusal) => {
		rig.replay.play(refusal.response);
		const exchange = fixture(dialect(name), "text", { stream: true });
		check(await rejection(client.chat.completions.create(streamParams(exchange))), refusal);
	});
});

test.each(BROKEN_STREAMS.map((row) => [row.name, row] as const))(
	"a stream that breaks throws: %s",
	async (_, broken) => {
		const seen = Promise.withResolvers<void>();
		const response = { status: 200, headers: { "content-type": "text/event-stream" }, sse: broken.sse };
		rig.replay.play(response, { before: '"error"', until: seen.promise });
		const exchange = fixture(dialect(broken.provider), "text", { stream: true });
		const stream = await client.chat.completions.create(streamParams(exchange));
		const error = await rejection(Array.fromAsync(stream, () => seen.resolve()));
		expect(error.message).toContain(broken.message);
	},
);

test("a dead engine that is not back in the call's time is an InternalServerError", async () => {
	const own = await startRig();
	try {
		own.replay.play(ENGINE_DEAD.response);
		const exchange = fixture(dialect(ENGINE_DEAD.provider), "text");
		const headers = { "x-router-timeout-ms": "1000" };
		const error = await rejection(openAiClient(own.router.url).chat.completions.create(params(exchange), { headers }));
		expect(error).toBeInstanceOf(OpenAI.InternalServerError);
		expect(error.status).toBe(ENGINE_DEAD.status);
		expect(error.code).toBe(ENGINE_DEAD.code);
	} finally {
		await own.stop();
	}
});

test("an unknown model is a NotFoundError", async () => {
	const error = await rejection(
		client.chat.completions.create({ ...params(fixture(dialect("openai"), "text")), model: "no-such" }),
	);
	expect(error).toBeInstanceOf(OpenAI.NotFoundError);
	expect(error.code).toBe("model_not_found");
});

test("a wrong type is a BadRequestError that names the path", async () => {
	const messages = [{ role: "user", content: 7 }] as never;
	const error = await rejection(client.chat.completions.create({ model: "dummy", messages }));
	expect(error).toBeInstanceOf(OpenAI.BadRequestError);
	expect(error.param).toBe("messages[0].content");
});

describe("an upstream that breaks off", () => {
	const faults = startFaultUpstream();
	let broken: OpenAI;
	let stop: () => Promise<void>;
	beforeAll(async () => {
		const router = await startRouter(upstreamsAt(faults.origin));
		broken = openAiClient(router.url);
		stop = router.stop;
	});
	afterAll(async () => {
		await stop();
		faults.stop();
	});

	test("before the first byte: an InternalServerError", async () => {
		faults.run(resetsBeforeHeaders);
		const error = await rejection(broken.chat.completions.create(params(fixture(dialect("local"), "text"))));
		expect(error).toBeInstanceOf(OpenAI.InternalServerError);
		expect(error.status).toBe(502);
	});

	test("inside the stream: the iteration throws", async () => {
		faults.run(cutsAfter(2));
		const exchange = fixture(dialect("local"), "text", { stream: true });
		const error = await rejection(Array.fromAsync(await broken.chat.completions.create(streamParams(exchange))));
		expect(error.code).toBe("upstream_truncated");
	});
});

test("a wrong key for the router is an AuthenticationError", async () => {
	const guarded = await startRouter({ env: { ROUTER_API_KEYS: "rk-the-only-right-key" } });
	try {
		const error = await rejection(openAiClient(guarded.url).models.list());
		expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
		expect(error.code).toBe("invalid_api_key");
	} finally {
		await guarded.stop();
	}
});
