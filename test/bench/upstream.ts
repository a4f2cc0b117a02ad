/** The instant upstream, a process of its own: `bun upstream.ts PORT`. `GET /stats` tells what it has sent. */
import { ANSWER, EVENTS, FLOOD_BYTES, isWhole, type Mode, modeOf, PACE_MS, STREAM, TOKEN } from "./wire.ts";

/** What the upstream has sent since it started. `calls` counts a stream by its events, so unfinished ones count in part. */
export interface Sent {
	answers: number;
	events: number;
	bytes: number;
}

const sent: Sent = { answers: 0, events: 0, bytes: 0 };
const FLOOD_PIECE = TOKEN.repeat(300);
const PAUSE: Partial<Record<Mode, number>> = { paced: PACE_MS, hold: 1000 };

/** The next piece of a stream in `mode`; undefined where it ends. */
function piece(mode: Mode, index: number): string | undefined {
	if (mode === "hold") return TOKEN;
	if (mode === "flood") return index * FLOOD_PIECE.length < FLOOD_BYTES ? FLOOD_PIECE : undefined;
	return index < EVENTS ? STREAM[index] : undefined;
}

function stream(mode: Mode): Response {
	let index = 0;
	let gone = false;
	const pause = PAUSE[mode];
	const body = new ReadableStream({
		async pull(controller) {
			// A random first pause spreads the streams over the 5 ms: in step, the relay would read many at one wake-up.
			if (pause && (index > 0 || mode === "paced")) await Bun.sleep(index === 0 ? Math.random() * pause : pause);
			if (gone) return;
			const text = piece(mode, index++);
			if (text === undefined) return controller.close();
			sent.events++;
			sent.bytes += text.length;
			controller.enqueue(text);
		},
		cancel() {
			gone = true;
		},
	});
	return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

Bun.serve({
	hostname: "127.0.0.1",
	port: Number(process.argv[2]),
	idleTimeout: 0,
	development: false,
	async fetch(request) {
		if (request.method === "GET") return Response.json(sent);
		const mode = modeOf(await request.text());
		if (!isWhole(mode)) return stream(mode);
		sent.answers++;
		return new Response(ANSWER, { headers: { "content-type": "application/json" } });
	},
});
