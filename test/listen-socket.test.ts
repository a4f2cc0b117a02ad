/** A server that listens at a Unix socket besides its port, as an agent does for calls that come through its tunnel. */
import { expect, test } from "bun:test";
import { Elysia } from "elysia";
import { StartError } from "../src/errors.ts";
import { listen } from "../src/http/listen.ts";
import { until } from "./kit/until.ts";

const log = { logger: { info() {}, warn() {}, error() {} } } as never;
const at = (socket: string) => ({ host: "127.0.0.1", port: 0, bodyLimit: 1_000_000, log, socket });
const named = () => `\0router-test-${crypto.randomUUID()}`;
const ask = (socket: string, path: string) =>
	fetch(`http://localhost${path}`, { unix: socket, keepalive: false }).then((answer) => answer.text());

test("a socket that another program has is no start, and the port is not taken either", async () => {
	const socket = named();
	const other = Bun.listen({ unix: socket, socket: { data() {} } });
	expect(() => listen(new Elysia(), at(socket))).toThrow(StartError);
	other.stop(true);
	await listen(new Elysia(), at(socket)).stop(true);
});

test("answers there what it answers at its port, and has ended once the calls of both are over", async () => {
	const socket = named();
	const held = Promise.withResolvers<string>();
	const app = new Elysia().get("/", ({ request }) => request.method).get("/held", () => held.promise);
	const server = listen(app, at(socket));
	expect([await ask(socket, "/"), await (await fetch(server.url)).text()]).toEqual(["GET", "GET"]);
	const call = ask(socket, "/held");
	await until(() => server.pendingRequests === 1, "the call");
	let isStopped = false;
	const stopped = server.stop().then(() => {
		isStopped = true;
	});
	await expect(ask(socket, "/")).rejects.toThrow();
	expect(isStopped).toBe(false);
	held.resolve("held");
	expect(await call).toBe("held");
	await stopped;
});
