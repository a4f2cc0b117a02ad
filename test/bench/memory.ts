/** Memory under what hurts proxies: a thousand open streams, and a client that stops reading. */
import { connect, type Socket } from "node:net";
import { rssMb } from "./measure.ts";
import type { Running } from "./processes.ts";
import type { Sent } from "./upstream.ts";
import { request } from "./wire.ts";

/** Settings of a router that has, besides its own, an upstream for each of the two tests: `hold` and `flood`. */
export const HOLD_AND_FLOOD = (upstream: string) => ({
	providers: Object.fromEntries(
		(["hold", "flood"] as const).map((name) => [
			name,
			{ type: "openai-compatible", base_url: `${upstream}/${name}/v1`, api_key: "bench" },
		]),
	),
});

type Mode = "hold" | "flood";

/** A raw client, so that it can stop reading: resolves with the socket once the stream's first event is there. */
function open(subject: Running, mode: Mode): Promise<Socket> {
	const { hostname, port } = new URL(subject.url);
	const body = request({ model: `${mode}/bench`, stream: true });
	return new Promise((resolve, reject) => {
		const socket = connect(Number(port), hostname);
		let head = "";
		const read = (bytes: Buffer) => {
			head += bytes.toString("latin1");
			if (!head.includes("data: ")) return;
			socket.off("data", read);
			socket.off("close", gone);
			// Read on without looking: a stream with no reader would stall.
			socket.on("data", () => undefined);
			resolve(socket);
		};
		const gone = () => reject(new Error(`bench: a ${mode} stream ended before its first event: ${head.slice(0, 500)}`));
		socket.on("data", read);
		socket.once("error", reject);
		socket.once("close", gone);
		socket.write(
			`POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\n` +
				`content-length: ${body.length}\r\n\r\n${body}`,
		);
	});
}

/** Opened a hundred at a time: a listen backlog is finite, and this measures streams, not connecting. */
const BATCH = 100;

/** RSS in MB with `count` streams open, each past its first event and sending one a second. */
export async function openStreams(subject: Running, count: number): Promise<number> {
	const sockets: Socket[] = [];
	try {
		while (sockets.length < count) {
			const batch = Math.min(BATCH, count - sockets.length);
			sockets.push(...(await Promise.all(Array.from({ length: batch }, () => open(subject, "hold")))));
		}
		await Bun.sleep(2000);
		return rssMb(subject.pid);
	} finally {
		for (const socket of sockets) socket.destroy();
	}
}

/** A stalled reader's price: RSS growth in MB, and how many MB the upstream got rid of before it was held back. */
export interface Stall {
	growth: number;
	sent: number;
}

/** One client asks for 400 MB, reads the first event and then stops; the worst RSS of the next `seconds` counts. */
export async function stalledReader(subject: Running, upstream: Running, seconds: number): Promise<Stall> {
	const bytes = async () => ((await (await fetch(`${upstream.url}/`)).json()) as Sent).bytes;
	const sentBefore = await bytes();
	const before = rssMb(subject.pid);
	const socket = await open(subject, "flood");
	socket.pause();
	let worst = before;
	for (let i = 0; i < seconds * 10; i++) {
		await Bun.sleep(100);
		worst = Math.max(worst, rssMb(subject.pid));
	}
	const sent = ((await bytes()) - sentBefore) / 1e6;
	socket.destroy();
	return { growth: worst - before, sent };
}
