/** A router on a socket that another program has opened for it, as systemd does for a `.socket` unit: it answers there, restarts and is replaced. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Elysia } from "elysia";
import { listen } from "../src/http/listen.ts";
import { certificate, shownName } from "./kit/certificate.ts";
import { cli } from "./kit/cli.ts";
import { listeningSocket } from "./kit/listening-socket.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { callProblem, isRouter, slowUpstream, startLoad, upgradedRouter } from "./kit/upgrades.ts";

const WORKERS = [1, 2];

describe.if(process.platform === "linux")("a socket that was opened for the router", () => {
	test("and is not where the configuration says is refused with words", async () => {
		using socket = listeningSocket();
		const other = String(socket.port === 8_000 ? 8_001 : 8_000);
		const start = startRouter({ socket: socket.descriptor, env: { PORT: other } });
		await expect(start).rejects.toThrow(
			`systemd has opened a socket on 127.0.0.1:${socket.port}, and the configuration names 127.0.0.1:${other}`,
		);
	});

	test("is of no use to a process that was not given it, which says so and leaves the running router alone", async () => {
		using socket = listeningSocket();
		const upstream = slowUpstream();
		const router = await upgradedRouter(upstream.url, { workers: 1, ...onSocket(socket) });
		try {
			const config = join(router.directory, "router.yaml");
			const { code, stderr } = await cli(["--replace", "--config", config], { cwd: router.directory, env: router.env });
			expect(code).toBe(1);
			expect(stderr).toContain("listens on a socket that systemd has opened");
			expect(await callProblem(router.url, false, true)).toBeUndefined();
		} finally {
			await router.end();
			upstream.stop();
		}
	});

	test.each(WORKERS)("is where a router of %d workers answers, whatever its connections", async (workers) => {
		using socket = listeningSocket();
		const upstream = slowUpstream(400);
		const router = await upgradedRouter(upstream.url, { workers, ...onSocket(socket) });
		try {
			expect(router.url).toBe(`http://127.0.0.1:${socket.port}`);
			const load = startLoad(router.url, { keptAlive: 3, fresh: 3, streams: 3 });
			await until(() => load.times.filter(({ isStream }) => isStream).length > 3, "some streams");
			await load.end();
			expect(load.problems).toEqual([]);
		} finally {
			await router.end();
			upstream.stop();
		}
	});

	test.each(WORKERS)("keeps connections that come while a router of %d workers restarts", async (workers) => {
		using socket = listeningSocket();
		const upstream = slowUpstream();
		const config = { server: { workers, drain: "0s" } };
		const start = () => upgradedRouter(upstream.url, { config, ...onSocket(socket) });
		const first = await start();
		expect(await callProblem(first.url, false, true)).toBeUndefined();
		process.kill(first.pid, "SIGTERM");
		await until(() => !isRouter(first.pid), "the end of the first one");
		const waiting = Array.from({ length: 20 }, () => callProblem(first.url, false, true));
		const second = await start();
		try {
			expect((await Promise.all(waiting)).filter((problem) => problem !== undefined)).toEqual([]);
		} finally {
			await second.end();
			await first.end();
			upstream.stop();
		}
	});

	test.each(WORKERS)(
		"is handed on by upgrades of a router of %d workers, which fail no call and cut no stream",
		async (workers) => {
			using socket = listeningSocket();
			const upstream = slowUpstream(400);
			const router = await upgradedRouter(upstream.url, { workers, ...onSocket(socket) });
			try {
				const load = startLoad(router.url, { keptAlive: 3, fresh: 3, streams: 4 });
				for (let upgrade = 0; upgrade < 3; upgrade++) expect(await router.upgrade()).toMatchObject({ code: 0 });
				await load.end();
				expect(load.problems).toEqual([]);
				await until(() => router.calls() >= load.made(), "all calls in the ledger");
				expect(router.calls()).toBe(load.made());
				await until(() => !isRouter(router.pid), "the end of the first process");
				expect(await callProblem(router.url, false, true)).toBeUndefined();
			} finally {
				await router.end();
				upstream.stop();
			}
		},
		60_000,
	);
});

describe.if(process.platform === "linux")("a server on such a socket", () => {
	const serve = (socket: { readonly descriptor: number; readonly port: number }, name: string) =>
		listen(
			new Elysia().get("/", () => "here"),
			{
				...{ host: "127.0.0.1", port: socket.port, bodyLimit: 1_000, certificate: certificate(name) },
				inherited: { ...socket, host: "127.0.0.1" },
				log: { logger: { error: (text: unknown) => expect(text).toBe("") } } as never,
			},
		);

	test("shows another certificate to new connections, and none is refused once it has stopped", async () => {
		using socket = listeningSocket();
		const server = serve(socket, "first");
		expect([server.port, server.url]).toEqual([socket.port, `https://127.0.0.1:${socket.port}`]);
		expect(await shownName(socket.port)).toBe("first");
		server.useCertificate(certificate("second"));
		for (let connection = 0; connection < 5; connection++) expect(await shownName(socket.port)).toBe("second");
		await server.stop(true);
		const waiting = shownName(socket.port);
		const next = serve(socket, "third");
		expect(await waiting).toBe("third");
		await next.stop(true);
	});

	test("beside another one of the same process gets connections, too, and goes on when that one stops", async () => {
		using socket = listeningSocket();
		const [one, two] = [serve(socket, "one"), serve(socket, "two")];
		await one.stop(true);
		for (let connection = 0; connection < 5; connection++) expect(await shownName(socket.port)).toBe("two");
		await two.stop(true);
	});

	test("is none where the socket can't take the place of its own", () => {
		const closed = { descriptor: 100_000, port: 1 };
		expect(() => serve(closed, "none")).toThrow("can't be used: Bun's own can't be changed");
	});
});

/** What a router is started with that listens there. */
const onSocket = ({ descriptor, port }: { readonly descriptor: number; readonly port: number }) => ({
	socket: descriptor,
	env: { PORT: String(port) },
});
