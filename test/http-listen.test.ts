import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StartError } from "../src/errors.ts";
import { type Listening, listen } from "../src/http/listen.ts";
import { readTls } from "../src/http/tls.ts";
import { certificate, shownName } from "./kit/certificate.ts";
import { base, listenOn, quietLog } from "./kit/http-base.ts";

const open: Listening[] = [];
afterEach(async () => {
	await Promise.all(open.splice(0).map((listening) => listening.stop(true)));
});
const kept = (listening: Listening) => {
	open.push(listening);
	return listening;
};

/** Makes pairs in a directory of its own. */
function pair(name: string) {
	const dir = mkdtempSync(join(tmpdir(), "tls-"));
	const files = { cert: join(dir, "cert.pem"), key: join(dir, "key.pem") };
	const write = (made: { cert: string; key: string }) => {
		writeFileSync(files.cert, made.cert);
		writeFileSync(files.key, made.key);
	};
	write(certificate(name));
	return { files, write };
}

async function until(done: () => boolean | Promise<boolean>): Promise<void> {
	for (let tries = 0; tries < 500; tries++) {
		if (await done()) return;
		await Bun.sleep(10);
	}
	throw new Error("It did not happen within 5 s.");
}

describe("a server that can't listen says so in one line", () => {
	test("a second instance on the port fails instead of sharing it (trap: reusePort)", () => {
		const first = kept(listenOn(base()));
		const { app, log } = base();
		const again = () => listen(app, { host: "127.0.0.1", port: first.port, bodyLimit: 1, log });
		expect(again).toThrow(StartError);
		expect(again).toThrow(new RegExp(`Port ${first.port} on 127.0.0.1 is taken.*--port`));
	});

	test("threads of one process share a port, which the first of another process's is refused", () => {
		const listenAs = (sharing: "first" | "further", port: number) => {
			const { app, log } = base();
			return listen(app, { host: "127.0.0.1", port, bodyLimit: 1, log, sharing });
		};
		const first = kept(listenAs("first", 0));
		expect(kept(listenAs("further", first.port)).port).toBe(first.port);
		expect(() => listenAs("first", first.port)).toThrow(`Port ${first.port} on 127.0.0.1 is taken`);
	});

	test("an address of another machine names --host", () => {
		const { app, log } = base();
		expect(() => listen(app, { host: "203.0.113.9", port: 0, bodyLimit: 1, log })).toThrow(/203\.0\.113\.9.*--host/);
	});

	test("certificate files: missing, no PEM, and a key of another certificate are told apart", () => {
		const { files } = pair("one");
		const other = pair("two");
		expect(() => readTls({ ...files, cert: "/no/such.pem" })).toThrow(/server\.tls\.cert.*\/no\/such\.pem.*ENOENT/);
		expect(() => readTls({ ...files, key: files.cert })).toThrow(/server\.tls\.key.*no PEM private key/);
		expect(() => readTls({ cert: files.cert, key: other.files.key })).toThrow(/does not belong/);
	});
});

describe("what Bun does before a handler sees the call", () => {
	test("a body above our limit reaches the handler instead of Bun's bare 413 (trap: maxRequestBodySize)", async () => {
		const server = base();
		server.app.post("/declared", ({ request }) => request.headers.get("content-length"), { parse: "none" });
		const { port } = kept(listenOn(server));
		const socket = connectTcp(port, "127.0.0.1");
		let answer = "";
		socket.on("data", (data) => {
			answer += data;
		});
		socket.write(`POST /nope HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${200 * 1024 ** 3}\r\n\r\nx`);
		await until(() => answer.includes("unknown_path"));
		expect(answer).toStartWith("HTTP/1.1 404");
		socket.destroy();
	});
});

describe("TLS", () => {
	test("a changed certificate is shown to new connections while a running stream goes on", async () => {
		const { files, write } = pair("one");
		const server = base();
		let release = () => {};
		server.app.get("/stream", () => {
			const gate = new Promise<void>((resolve) => {
				release = resolve;
			});
			let sent = false;
			return new Response(
				new ReadableStream({
					async pull(controller) {
						if (sent) await gate;
						controller.enqueue(new TextEncoder().encode(sent ? "end" : "begin "));
						if (sent) controller.close();
						sent = true;
					},
				}),
			);
		});
		const options = { host: "127.0.0.1", port: 0, bodyLimit: 1e6, log: server.log, tls: files, tlsPollMs: 20 };
		const listening = kept(listen(server.app, options));
		expect(listening.url).toStartWith("https://");
		const stream = await fetch(`${listening.url}/stream`, { tls: { rejectUnauthorized: false } });
		expect(await shownName(listening.port)).toBe("one");
		write(certificate("two"));
		// A handshake that meets the instant of the change is reset; the next one is not.
		await until(async () => (await shownName(listening.port).catch(() => "reset")) === "two");
		release();
		expect(await stream.text()).toBe("begin end");
	});

	test("a changed certificate is shown by each of the threads that share a port", async () => {
		const { files, write } = pair("one");
		const listenAs = (sharing: "first" | "further", port: number) => {
			const { app, log } = base();
			const options = { host: "127.0.0.1", port, bodyLimit: 1, log, tls: files, tlsPollMs: 20, sharing };
			return kept(listen(app, options));
		};
		const { port } = listenAs("first", 0);
		listenAs("further", port);
		const shown = () => Promise.all(Array.from({ length: 12 }, () => shownName(port).catch(() => "reset")));
		expect(await shown()).toEqual(Array(12).fill("one"));
		write(certificate("two"));
		await until(async () => (await shown()).every((name) => name === "two"));
	});

	test("a broken new certificate is logged once and the old one stays", async () => {
		const { files } = pair("one");
		const log = quietLog();
		const { app } = base({ log });
		const options = { host: "127.0.0.1", port: 0, bodyLimit: 1e6, log, tls: files, tlsPollMs: 5 };
		const listening = kept(listen(app, options));
		writeFileSync(files.cert, "half written");
		const logged = async () => {
			await log.flush();
			return readFileSync(String(log.open().file), "utf8").split("no PEM certificate").length - 1;
		};
		await until(async () => (await logged()) > 0);
		await Bun.sleep(50);
		expect(await logged()).toBe(1);
		expect(await shownName(listening.port)).toBe("one");
	});

	/** A server whose next starts fail as `problems` say, one each. */
	function failing(tls: { cert: string; key: string }) {
		const log = quietLog();
		const { app } = base({ log });
		const problems: string[] = [];
		const real = app.listen.bind(app);
		app.listen = (options: Parameters<typeof real>[0]) => {
			const problem = problems.shift();
			if (problem) throw new Error(problem);
			return real(options);
		};
		const options = { host: "127.0.0.1", port: 0, bodyLimit: 1e6, log, tls, tlsPollMs: 5 };
		const logged = async () => {
			await log.flush();
			return readFileSync(String(log.open().file), "utf8");
		};
		return { app, problems, logged, listening: kept(listen(app, options)) };
	}

	test("a certificate that no server takes leaves the one in use, and the log says so", async () => {
		const { files, write } = pair("one");
		const { problems, logged, listening } = failing(files);
		problems.push("unfit");
		write(certificate("two"));
		await until(async () => (await logged()).includes("unfit. The certificate in use stays."));
		await until(async () => (await shownName(listening.port).catch(() => "reset")) === "two");
	});

	test("where the one in use can't be served again either, the log says that nothing listens, and it is tried again", async () => {
		const { files, write } = pair("one");
		const { problems, logged, listening } = failing(files);
		problems.push("unfit", "taken");
		write(certificate("two"));
		await until(async () => (await logged()).includes("unfit. With the certificate before neither: nothing listens"));
		expect(await logged()).not.toContain("The certificate in use stays");
		await until(async () => (await shownName(listening.port).catch(() => "reset")) === "two");
	});

	test("a server that was replaced and has ended is let go; one that fails to end is logged", async () => {
		const { files, write } = pair("one");
		const { app, logged, listening } = failing(files);
		const first = spyOn(app.server!, "stop");
		write(certificate("two"));
		await until(async () => (await shownName(listening.port).catch(() => "reset")) === "two");
		const server = app.server!;
		const end = server.stop.bind(server);
		const second = spyOn(server, "stop").mockImplementationOnce(async () => {
			await end();
			throw new Error("will not end");
		});
		write(certificate("three"));
		await until(async () => (await logged()).includes("will not end"));
		await listening.stop(true);
		expect([first.mock.calls.length, second.mock.calls.length]).toEqual([1, 1]);
	});
});
