/** One connection of `/v1/responses`, taken apart: a client that does not keep up, that leaves, that asks for too much at once, and how it ends. */
import { beforeEach, describe, expect, test } from "bun:test";
import type { CallHandler } from "../src/api/handler.ts";
import { OpenConnections } from "../src/api/open-connections.ts";
import { ResponsesConnection } from "../src/api/responses-connection.ts";
import { StoredResponses } from "../src/api/stored-responses.ts";
import { RouterError } from "../src/errors.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { pipeline } from "./kit/pipeline.ts";
import { until } from "./kit/until.ts";

/** A socket whose client takes what it is sent while `taken` says so. */
class FakeSocket {
	readonly events: Loose[] = [];
	taken = 1;
	closed: readonly [code: number | undefined, reason: string | undefined] | undefined;
	send(text: string): number {
		this.events.push(JSON.parse(text));
		return this.taken;
	}
	close(code?: number, reason?: string): void {
		this.closed = [code, reason];
	}
	types(): string[] {
		return this.events.map(({ type }) => type);
	}
}

let socket: FakeSocket;
let connections: OpenConnections;
/** Requests that the handler got. */
let requests: Request[];
beforeEach(() => {
	socket = new FakeSocket();
	connections = new OpenConnections();
	requests = [];
});

function connect(handle: CallHandler, longestMs?: number): ResponsesConnection {
	const { context } = pipeline();
	const responses = new StoredResponses(() => 1e6);
	const connection = new ResponsesConnection({
		context: { ...context, responses, connections },
		responses,
		handle(request, server) {
			requests.push(request);
			return handle(request, server);
		},
		url: "http://localhost/v1/responses",
		headers: new Headers({ "content-type": "application/json" }),
		server: null,
		...(longestMs === undefined ? {} : { longestMs }),
	});
	connection.open(socket);
	return connection;
}
const event = (type: string) => `event: ${type}\ndata: {"type":"${type}"}\n\n`;
const streamed = (body: string | ReadableStream<Uint8Array>) =>
	new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
const frame = (more: Json = {}) => JSON.stringify({ type: "response.create", model: "dummy", input: "hi", ...more });
const never = () => new Promise<Response>(() => {});

test("a client that does not keep up gets no further event before it has room, and what is read ahead has an end", async () => {
	let made = 0;
	const body = new ReadableStream<Uint8Array>(
		{
			pull(controller) {
				controller.enqueue(Buffer.from(event(`response.${made++}`)));
				if (made === 100) controller.close();
			},
		},
		{ highWaterMark: 1 },
	);
	const connection = connect(async () => streamed(body));
	socket.taken = -1;
	connection.message(socket, frame());
	await until(() => socket.events.length === 1, "the first event");
	await Bun.sleep(20);
	expect([socket.events.length, made <= 3]).toEqual([1, true]);
	connection.drain();
	await until(() => socket.events.length === 2, "the second event");
	socket.taken = 1;
	connection.drain();
	await until(() => socket.events.length === 100, "all events");
	expect(new Set(socket.types()).size).toBe(100);
});

test("an event that could not be sent ends the connection", async () => {
	const connection = connect(async () => streamed(event("response.created")));
	socket.taken = 0;
	connection.message(socket, frame());
	await until(() => socket.closed !== undefined, "the end");
	expect(socket.closed![0]).toBe(1011);
});

test("comments and the end of a stream are no events", async () => {
	const connection = connect(async () =>
		streamed(
			`: keep-alive\n\n${event("response.created")}: router {"x":1}\n\n${event("response.completed")}data: [DONE]\n\n`,
		),
	);
	connection.message(socket, frame());
	await until(() => socket.events.length === 2, "both events");
	expect(socket.types()).toEqual(["response.created", "response.completed"]);
});

test("what fails is told with its status and its headers, and the next call is answered", async () => {
	const error = new RouterError("rate_limit_exceeded", "Later.", { headers: { "retry-after": "7" } });
	const connection = connect(async () =>
		requests.length === 1 ? error.response() : streamed(event("response.completed")),
	);
	connection.message(socket, frame());
	connection.message(socket, frame());
	await until(() => socket.events.length === 2, "both answers");
	expect(socket.events).toEqual([
		{ type: "error", status: 429, ...error.body, headers: { "retry-after": "7" } },
		{ type: "response.completed" },
	]);
});

test("a call that its handler fails at is a fault of the router's, and tells the client nothing of it", async () => {
	const connection = connect(() => Promise.reject(new Error("a secret")));
	connection.message(socket, frame());
	await until(() => socket.events.length === 1, "the error");
	expect(socket.events[0]).toMatchObject({ type: "error", status: 500, error: { code: "internal_error" } });
	expect(JSON.stringify(socket.events)).not.toContain("secret");
});

describe("too much at once", () => {
	test("is refused from the seventeenth call that waits on, and nothing of the others is lost", async () => {
		const first = Promise.withResolvers<Response>();
		const connection = connect(() =>
			requests.length === 1 ? first.promise : Promise.resolve(streamed(event("response.completed"))),
		);
		for (let at = 0; at < 18; at++) connection.message(socket, frame());
		await until(() => socket.events.length === 1, "the refusal");
		expect(socket.events[0]).toMatchObject({ type: "error", status: 429, error: { code: "rate_limit_exceeded" } });
		first.resolve(streamed(event("response.completed")));
		await until(() => socket.events.length === 18, "the others");
		expect(requests.length).toBe(17);
	});

	test("is refused where what waits would be larger than a body may be", async () => {
		const connection = connect(never);
		const large = frame({ input: "x".repeat(20_000_000) });
		connection.message(socket, frame());
		connection.message(socket, large);
		connection.message(socket, large);
		await until(() => socket.events.length === 1, "the refusal");
		expect(socket.events[0]).toMatchObject({ status: 429, error: { code: "rate_limit_exceeded" } });
	});
});

describe("a client that leaves", () => {
	test("takes the call along that runs, and those that wait are never made", async () => {
		const connection = connect(never);
		connection.message(socket, frame());
		connection.message(socket, frame());
		await until(() => requests.length === 1, "the call");
		expect(requests[0]!.signal.aborted).toBe(false);
		connection.close();
		expect(requests[0]!.signal.aborted).toBe(true);
		await Bun.sleep(10);
		expect(requests.length).toBe(1);
	});

	test("in the middle of a stream ends that, though it waits for room", async () => {
		const cancelled = Promise.withResolvers<void>();
		const body = new ReadableStream<Uint8Array>({
			pull: (controller) => controller.enqueue(Buffer.from(event("response.output_text.delta"))),
			cancel: () => cancelled.resolve(),
		});
		const connection = connect(async () => streamed(body));
		socket.taken = -1;
		connection.message(socket, frame());
		await until(() => socket.events.length === 1, "the first event");
		connection.close();
		await cancelled.promise;
	});
});

describe("a connection ends", () => {
	test.each([
		[false, 1001],
		[true, 1012],
	])("at once where it answers nothing while its server stops, or is replaced (%s)", (isReplaced, code) => {
		connect(never);
		connections.drain(isReplaced);
		expect(socket.closed![0]).toBe(code);
	});

	test("behind the response that it answers, and answers no other", async () => {
		const first = Promise.withResolvers<Response>();
		const connection = connect(() => first.promise);
		connection.message(socket, frame());
		connection.message(socket, frame());
		connections.drain(false);
		expect(socket.closed).toBeUndefined();
		first.resolve(streamed(event("response.completed")));
		await until(() => socket.closed !== undefined, "the end");
		expect([socket.types(), socket.closed![0], requests.length]).toEqual([["response.completed"], 1001, 1]);
	});

	test("when its time is over, with what OpenAI says then", async () => {
		connect(never, 1);
		await until(() => socket.closed !== undefined, "the end");
		expect(socket.events).toEqual([
			{
				type: "error",
				status: 400,
				error: expect.objectContaining({
					type: "invalid_request_error",
					code: "websocket_connection_limit_reached",
				}),
			},
		]);
		expect(socket.closed![0]).toBe(1000);
	});
});

test("each call has the headers of the connection, and the body as it came, long numbers too", async () => {
	const connection = connect(async () => streamed(event("response.completed")));
	const sent = '{"type":"response.create","model":"dummy","input":"hi","seed":12345678901234567890}';
	connection.message(socket, sent);
	await until(() => requests.length === 1, "the call");
	expect(requests[0]!.method).toBe("POST");
	expect(requests[0]!.headers.get("content-type")).toBe("application/json");
	expect(await requests[0]!.text()).toBe(`{"stream":true,${sent.slice(1)}`);
	const whole = sent.replace('"seed"', '"stream": false, "seed"');
	connection.message(socket, whole);
	await until(() => requests.length === 2, "the next call");
	expect(await requests[1]!.text()).toBe(whole.replace("false", "true"));
});

describe("streams of one connection", () => {
	const named = (stream_id: string) => frame({ stream_id });

	test("are answered at the same time, each one call after the other, and their events name them", async () => {
		const answers = [0, 1, 2].map(() => Promise.withResolvers<Response>());
		const connection = connect(() => answers[requests.length - 1]!.promise);
		connection.message(socket, named("a"));
		connection.message(socket, named("a"));
		connection.message(socket, named("b"));
		expect(requests.length).toBe(2);
		answers[1]!.resolve(streamed(event("response.completed")));
		await until(() => socket.events.length === 1, "the answer of b");
		expect(socket.events[0]).toEqual({ type: "response.completed", stream_id: "b" });
		answers[0]!.resolve(streamed(event("response.completed")));
		await until(() => requests.length === 3, "the second call of a");
		answers[2]!.resolve(new RouterError("model_busy", "Later.").response());
		await until(() => socket.events.length === 3, "its answer");
		expect(socket.events.slice(1)).toMatchObject([
			{ type: "response.completed", stream_id: "a" },
			{ type: "error", stream_id: "a", status: 429 },
		]);
	});

	test("are refused where they are more than a connection has, or have no name", async () => {
		const connection = connect(never);
		for (let at = 0; at < 17; at++) connection.message(socket, named(`s${at}`));
		await until(() => socket.events.length === 1, "the refusal");
		expect(socket.events[0]).toMatchObject({ status: 429, stream_id: "s16", error: { code: "rate_limit_exceeded" } });
		expect(requests.length).toBe(16);
		connection.close();
		expect(requests.every(({ signal }) => signal.aborted)).toBe(true);
	});

	test("that have no name as they should are told which field is wrong", async () => {
		const connection = connect(never);
		connection.message(socket, frame({ stream_id: 5 }));
		await until(() => socket.events.length === 1, "the refusal");
		expect(socket.events[0]).toMatchObject({ status: 400, error: { param: "stream_id" } });
	});
});

test("input in the middle of an answer is given back", () => {
	const connection = connect(never);
	const steer = { previous_response_id: "resp_1", input: "Stop." };
	connection.message(socket, frame());
	connection.message(socket, JSON.stringify({ type: "response.steer", ...steer }));
	expect(socket.events).toMatchObject([
		{ type: "response.steer.failed", steer, error: { code: "steering_not_supported" } },
	]);
});
