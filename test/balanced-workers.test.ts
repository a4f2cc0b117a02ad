/** Several workers where the system does not spread connections: the main thread accepts them, and passes them on. */
import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import type { Json } from "./kit/exchange.ts";
import { until } from "./kit/until.ts";
import { callOnce, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});
async function balanced(more: Json = {}, server: Json = {}) {
	const recorded = recordWorkers();
	stops.push(() => recorded[Symbol.dispose]());
	const router = await startHere(twoWorkers(more, server), 0, false);
	stops.push(() => router.stop());
	return { router, workers: recorded.workers };
}

const CALL = JSON.stringify({ model: "dummy", messages: [{ role: "user", content: "hello" }] });

/** What a server answers to a request over a connection from that address of this machine. */
function answerTo(port: number, head: string, localAddress = "127.0.0.1", body = ""): Promise<string> {
	const { promise, resolve, reject } = Promise.withResolvers<string>();
	const socket = connect({ host: "127.0.0.1", port, localAddress });
	let text = "";
	socket.on("data", (data) => {
		text += String(data);
	});
	socket.on("error", reject);
	socket.on("close", () => resolve(text));
	const fields = `content-type: application/json\r\ncontent-length: ${body.length}`;
	socket.write(`${head}\r\nhost: localhost\r\nconnection: close\r\n${fields}\r\n\r\n${body}`);
	return promise;
}

describe("whoever connects to a worker past the main thread", () => {
	test("is refused, whatever is asked for, and its connection is closed", async () => {
		const { router, workers } = await balanced();
		const ports = workers.map((worker) => worker.port());
		expect(new Set([...ports, Number(new URL(router.url).port)]).size).toBe(3);
		for (const port of ports) {
			for (const asked of [
				"GET /health",
				"GET /metrics",
				"GET /nothing",
				"OPTIONS /v1/models",
				"POST /v1/chat/completions",
				"GET /v1/models",
				"GET /v1/responses",
				"GET /agents/tunnel",
				"POST /register",
				"GET /admin/keys",
			]) {
				const answer = await answerTo(port, `${asked} HTTP/1.1`);
				expect([asked, answer.split("\r\n")[0]]).toEqual([asked, "HTTP/1.1 403 Forbidden"]);
				expect(answer).toContain("Connections to this port are the router's own.");
			}
		}
	});

	test("is refused by a worker that has taken the place of another, too", async () => {
		const { workers } = await balanced();
		const before = workers.map((worker) => worker.port());
		workers[0]!.worker.terminate();
		await until(() => workers.length === 3 && workers[2]!.port() !== 0, "another worker");
		expect(before).not.toContain(workers[2]!.port());
		expect(await answerTo(workers[2]!.port(), "GET /health HTTP/1.1")).toStartWith("HTTP/1.1 403 ");
	});
});

describe("a client's address", () => {
	/** Statuses of calls from each of these addresses, one after the other. */
	async function statusesFrom(url: string, addresses: readonly string[], header = "") {
		const port = Number(new URL(url).port);
		const statuses: number[] = [];
		for (const address of addresses) {
			const answer = await answerTo(port, `GET /metrics HTTP/1.1${header}`, address);
			statuses.push(Number(answer.slice(9, 12)));
		}
		return statuses;
	}
	const admin = { keys: [{ name: "root", key: "admin-key-of-the-test" }] };

	test("is its own at workers, and at the main thread: this machine's own sees what others don't", async () => {
		const { router } = await balanced({ admin }, { metrics: "admin" });
		expect(await statusesFrom(router.url, ["127.0.0.1", "127.0.0.1"])).toEqual([200, 200]);
		const forwarded = "\r\nx-forwarded-for: 203.0.113.9";
		expect(await statusesFrom(router.url, ["127.0.0.1"], forwarded)).toEqual([401]);
	});

	test.skipIf(process.platform !== "linux")("is what calls are counted by", async () => {
		const { router } = await balanced({ limits: { address: { rpm: 2 } } });
		const port = Number(new URL(router.url).port);
		const statusOf = async (address: string) =>
			Number((await answerTo(port, "POST /v1/chat/completions HTTP/1.1", address, CALL)).slice(9, 12));
		const statuses = [];
		for (const address of ["127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3"]) statuses.push(await statusOf(address));
		expect(statuses).toEqual([200, 200, 429, 200]);
	});

	test.skipIf(process.platform !== "linux")("is what a trusted proxy says, and nobody else", async () => {
		const { router } = await balanced({ admin }, { metrics: "admin", trusted_proxies: ["127.0.0.2"] });
		const local = "\r\nx-forwarded-for: 127.0.0.1";
		expect(await statusesFrom(router.url, ["127.0.0.2", "127.0.0.1"], local)).toEqual([200, 401]);
	});
});

test("connections are shared out evenly, and a worker that ends takes its own alone", async () => {
	const { router, workers } = await balanced();
	const answers = await Promise.all(Array.from({ length: 24 }, () => callOnce(router.url)));
	expect(answers.map(({ status }) => status)).toEqual(Array(24).fill(200));
	await Promise.all(answers.map((answer) => answer.text()));
	await (await fetch(`${router.url}/metrics`)).text();
	const calls = workers.map((worker) => worker.calls());
	expect(calls[0]! + calls[1]!).toBe(24);
	expect(Math.min(...calls)).toBeGreaterThan(5);
});

/**
 * The tests of workers, with the main thread passing connections on. Not those of what threads do apart from connections, and not that of a
 * worker that hangs: here no connection is lost with it that it has not begun with.
 */
const FILES = ["threads", "sockets", "load", "certificate", "forwarding", "limits", "cache"];
test.each(FILES)(
	"what holds of workers over a port that the system shares out holds here: %s",
	async (name) => {
		const file = `./test/worker-${name}.test.ts`;
		const run = Bun.spawn([process.execPath, "--no-env-file", "test", "--isolate", "--timeout", "60000", file], {
			cwd: `${import.meta.dir}/..`,
			env: { ...process.env, ROUTER_TEST_PORT: "balanced" },
			stdout: "pipe",
			stderr: "pipe",
		});
		const [out, err] = await Promise.all([new Response(run.stdout).text(), new Response(run.stderr).text()]);
		expect([await run.exited, /^ *0 fail$/m.test(err), err.includes("(fail)")], `${out}\n${err}`).toEqual([
			0,
			true,
			false,
		]);
	},
	300_000,
);
