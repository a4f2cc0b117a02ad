/** `/agents/{name}/…` where the agent does not answer as it should: what its administrator is told, and what the registry learns. */
import { describe, expect, test } from "bun:test";
import type { RouterError } from "../src/errors.ts";
import type { UpstreamAnswer } from "../src/providers/provider.ts";
import { type AgentApiOptions, agentApiHandler } from "../src/server/agents/agent-api-route.ts";
import { until } from "./kit/until.ts";

const answerWith = (status: number, ...chunks: string[]) => answerOf("text/event-stream", status, ...chunks);
const answerOf = (type: string, status: number, ...chunks: string[]): UpstreamAnswer => ({
	status,
	headers: new Headers({ "content-type": type, "www-authenticate": "Bearer" }),
	body: { read: async () => (chunks.length > 0 ? Buffer.from(chunks.shift()!) : undefined) } as UpstreamAnswer["body"],
});

/** Asks the agent `gpu-1`, whose transport sends so. */
function asked(send: AgentApiOptions["agentTransport"]["send"], headMs?: number) {
	const failed: string[][] = [];
	const agent = { endpoint: "http://10.0.0.1:8001", provider: { secret: "secret-of-the-agent" } };
	const handle = agentApiHandler({
		agents: { agents: new Map([["gpu-1", agent]]), callFailed: (...failure: string[]) => failed.push(failure) },
		agentTransport: { send },
		authenticate: () => ({ name: "admin", role: "admin" }),
		log: {},
		headMs,
	} as unknown as AgentApiOptions);
	const client = new AbortController();
	const request = new Request("http://router:8000/agents/gpu-1/models/qwen/logs?follow=1", { signal: client.signal });
	return { failed, client, answer: handle(request, null) };
}

const rejection = (answer: Promise<Response>): Promise<RouterError> =>
	answer.then(
		({ status }) => Promise.reject(new Error(`it was answered with ${status}`)),
		(error: RouterError) => error,
	);

describe("an administrator's question to an agent", () => {
	test.each([
		["text/html", "text/plain; charset=utf-8"],
		["image/svg+xml", "text/plain; charset=utf-8"],
		["application/json+xml", "text/plain; charset=utf-8"],
		["", "text/plain; charset=utf-8"],
		["application/json", "application/json"],
		["text/plain; version=0.0.4", "text/plain; version=0.0.4"],
		["text/event-stream", "text/event-stream"],
	])("that is answered with the type %p gets it as %p, and no browser runs any of it", async (given, shown) => {
		const { headers } = await asked(async () => answerOf(given, 200, "<script>alert(1)</script>")).answer;
		expect(headers.get("content-type")).toBe(shown);
		expect(headers.get("x-content-type-options")).toBe("nosniff");
		expect(headers.get("content-security-policy")).toBe("sandbox; default-src 'none'");
	});

	test("that does not know the router's secret is no 401 of the administrator's: it is told so, and is to register again", async () => {
		const { answer, failed } = asked(async () => answerWith(401, "Unauthorized"));
		const error = await rejection(answer);
		expect(error).toMatchObject({ errorCode: "upstream_unreachable", status: 502 });
		expect(error.message).toStartWith('The agent "gpu-1" does not know this router\'s secret');
		expect(error.message).not.toContain("secret-of-the-agent");
		expect(failed).toEqual([["gpu-1", "auth"]]);
	});

	test("that can't be reached has the registry know", async () => {
		const { answer, failed } = asked(() => Promise.reject(Object.assign(new Error(), { code: "ECONNREFUSED" })));
		expect((await rejection(answer)).message).toContain("nothing listens there");
		expect(failed).toEqual([["gpu-1", "transport"]]);
	});

	test("that takes the connection and never answers ends", async () => {
		const never: Parameters<typeof asked>[0] = (_, signal) =>
			new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
		const { answer, failed } = asked(never, 10);
		const error = await rejection(answer);
		expect(error).toMatchObject({ errorCode: "upstream_unreachable" });
		expect(error.message).toBe('The agent "gpu-1" has not begun its answer within 0.01 s.');
		expect(failed).toEqual([]);
	});

	test("that is given up by the administrator says nothing about the agent", async () => {
		const { answer, client, failed } = asked(
			(_, signal) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
		);
		client.abort();
		expect(await rejection(answer)).toMatchObject({ errorCode: "cancelled" });
		expect(failed).toEqual([]);
	});

	test("has its log followed beyond the time that its head may take, until the administrator leaves", async () => {
		let isAborted = false;
		const { answer, client } = asked(async (_, signal) => {
			signal.addEventListener("abort", () => {
				isAborted = true;
			});
			return answerWith(200, "data: one\n\n", "data: two\n\n");
		}, 1);
		const followed = await answer;
		// Its timer would have fired before this one.
		await Bun.sleep(20);
		expect([isAborted, await followed.text()]).toEqual([false, "data: one\n\ndata: two\n\n"]);
		client.abort();
		await until(() => isAborted, "the end of the call");
	});
});
