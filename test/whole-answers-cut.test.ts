/** Whole answers whose connection breaks behind a JSON that is complete: nothing of them is missing. */
import { afterAll, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { framed, head } from "./kit/http-request.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());
const message = { role: "assistant", content: "all of it" };
const JSON_TEXT = JSON.stringify({ id: "x", choices: [{ index: 0, message, finish_reason: "stop" }] });
const { send, settledCalls, settled, attempts } = pipeline({
	config: { providers: { box: { type: "vllm", base_url: upstream.origin } } },
});
const chunked =
	(pieces: readonly string[], end: (connection: Connection) => unknown) => async (connection: Connection) => {
		const headers = { "content-type": "application/json", "transfer-encoding": "chunked" };
		await connection.write(head("200 OK", headers));
		for (const piece of pieces) {
			await connection.write(framed(piece));
			await Bun.sleep(20);
		}
		await end(connection);
	};
const ask = (signal?: AbortSignal) =>
	send({ model: "box/m", messages: [{ role: "user", content: "hi" }] }, signal ? { signal } : {});
const ENDS: [string, (connection: Connection) => unknown][] = [
	["a reset", (connection) => connection.destroy()],
	["a close without the last chunk", (connection) => connection.end()],
	["no HTTP", (connection) => connection.write("zz\r\n").then(() => connection.end())],
	["silence", (connection) => connection.closed],
];

describe.each(ENDS)("%s", (name, end) => {
	test.each([
		["at once", [JSON_TEXT]],
		["with a line end", [`${JSON_TEXT}\n`]],
		["with a line end of its own", [JSON_TEXT, "\n"]],
		["in two pieces, the first of which ends as an answer would", [`${JSON_TEXT.slice(0, -2)}`, JSON_TEXT.slice(-2)]],
	])("behind a complete answer (%s) is no loss", async (_, pieces) => {
		settled.length = attempts.length = 0;
		upstream.run(chunked(pieces, end));
		const arrived = upstream.next();
		const answer = await ask();
		expect([answer.status, JSON.parse(await answer.text()).choices[0].message]).toEqual([200, message]);
		expect((await settledCalls(1))[0]).toMatchObject({ status: 200, attempts: 1 });
		expect(attempts.map(({ failure }) => failure)).toEqual([undefined]);
		await (await arrived).closed;
	});

	test("inside one is a loss", async () => {
		if (name === "silence") return;
		upstream.run(chunked([JSON_TEXT.slice(0, -1)], end));
		const answer = await ask();
		expect([answer.status, clientError(await answer.text()).code]).toEqual([502, "upstream_truncated"]);
	});
});

test("an answer that pauses behind what might be its end is read on", async () => {
	const [one, two] = [JSON_TEXT.slice(0, -2), JSON_TEXT.slice(-2)];
	upstream.run(
		chunked([one], async (connection) => {
			await Bun.sleep(5_500);
			await connection.write(framed(two));
			await connection.write(framed(""));
		}),
	);
	expect((await ask()).status).toBe(200);
});

test("a client that leaves meanwhile has left", async () => {
	const client = new AbortController();
	upstream.run(chunked([JSON_TEXT], () => client.abort()));
	expect((await ask(client.signal)).status).toBe(499);
});
