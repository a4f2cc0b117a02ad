/** The socket by which a running router is told of another process: whose file it is, and what is no message. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import type { Socket } from "node:net";
import { ControlPeer, connectToRouter, controlPath, listenForControl } from "../src/server/upgrade/control-socket.ts";
import { directory } from "./kit/cli.ts";

type Said = { readonly type: string; readonly text?: string };
const peerOf = (socket: Socket) => new ControlPeer<Said, Said>(socket);

/** Answers each message with its text and this name. */
const echo = (name: string) => (socket: Socket) => {
	const peer = peerOf(socket);
	peer.onMessage = ({ text = "" }) => peer.send({ type: "echo", text: `${name} ${text}` });
};

async function asked(dataDir: string, text: string): Promise<string | undefined> {
	const socket = await connectToRouter(dataDir);
	if (!socket) return undefined;
	const peer = peerOf(socket);
	const { promise, resolve } = Promise.withResolvers<string | undefined>();
	peer.onMessage = (message) => resolve(message.text);
	peer.send({ type: "ask", text });
	const answer = await promise;
	peer.end();
	await peer.closed;
	return answer;
}

describe.if(process.platform !== "win32")("the control socket", () => {
	test("is nowhere in a directory that no router has, nor in one that is none", async () => {
		using home = directory();
		expect(await asked(home.path, "anybody")).toBeUndefined();
		await expect(listenForControl(`${home.path}/nowhere`, () => {})).rejects.toThrow();
		await expect(listenForControl(`${home.path}/${"long".repeat(40)}`, () => {})).rejects.toThrow();
	});

	test("that can't be asked whether a router listens there is not said to be nobody's", async () => {
		await expect(connectToRouter(`/${"long".repeat(40)}`)).rejects.toThrow(
			/router\.sock can't be connected to \(EINVAL\)/,
		);
	});

	test("is never anybody else's, not even before it is listened at, and leaves the mask of other files as it is", async () => {
		using home = directory();
		const mask = process.umask(0);
		try {
			const opened = listenForControl(home.path, echo("one"));
			expect(readdirSync(home.path).map((name) => statSync(`${home.path}/${name}`).mode & 0o777)).toEqual([0o600]);
			(await opened)();
			expect(process.umask()).toBe(0);
		} finally {
			process.umask(mask);
		}
	});

	test("ends a connection that sends what is no message", async () => {
		using home = directory();
		const end = await listenForControl(home.path, echo("one"));
		for (const line of ["no JSON\n", "[1]\n", '{"no":"type"}\n', '{"type":5}\n']) {
			const socket = (await connectToRouter(home.path))!;
			const peer = peerOf(socket);
			socket.write(line);
			await peer.closed;
		}
		expect(await asked(home.path, "still here")).toBe("one still here");
		end();
	});

	test("is its owner's alone, and takes messages of some MB that hold any text", async () => {
		using home = directory();
		const end = await listenForControl(home.path, echo("one"));
		expect(statSync(controlPath(home.path)).mode & 0o777).toBe(0o600);
		const text = "line\nend, ünïcödé 🙂 ".repeat(150_000);
		expect(await asked(home.path, text)).toBe(`one ${text}`);
		end();
	});

	test("is that of whoever listened last: the end of the one before leaves it, and its own end takes it away", async () => {
		using home = directory();
		const endFirst = await listenForControl(home.path, echo("first"));
		const kept = peerOf((await connectToRouter(home.path))!);
		const endSecond = await listenForControl(home.path, echo("second"));
		expect(await asked(home.path, "who")).toBe("second who");
		const { promise, resolve } = Promise.withResolvers<string | undefined>();
		kept.onMessage = ({ text }) => resolve(text);
		kept.send({ type: "ask", text: "still" });
		expect(await promise).toBe("first still");
		kept.end();
		endFirst();
		expect(await asked(home.path, "who")).toBe("second who");
		endSecond();
		expect(existsSync(controlPath(home.path))).toBe(false);
		expect(readdirSync(home.path)).toEqual([]);
	});
});
