/** What the bench sends and what its upstream answers: one kilobyte each way, or 200 stream events. */

/**
 * How the upstream answers, chosen by the model's name.
 * `bench`: 1 KB of JSON at once. `paced`: 200 events 5 ms apart, as a model emits tokens. `burst`: 200 events at once
 * (the kernel merges them, so it measures the cost of a stream rather than of a token). `hold`: one event a second
 * until the client leaves. `flood`: 400 MB as fast as it is taken. `cached`: as `bench`, for a call that the router answers from its
 * cache. `replayed`: the same as a stream.
 */
export const MODES = ["bench", "paced", "burst", "hold", "flood", "cached", "replayed"] as const;
/** One of `MODES`. */
export type Mode = (typeof MODES)[number];

/** Events in a `paced` or `burst` stream, the closing three (finish, usage, `[DONE]`) included. */
export const EVENTS = 200;
/** ms between two events of a `paced` stream. */
export const PACE_MS = 5;
/** Bytes a `flood` holds. */
export const FLOOD_BYTES = 400e6;

const ID = { id: "chatcmpl-bench", created: 1_760_000_000, model: "bench" };
const USAGE = { prompt_tokens: 200, completion_tokens: 198, total_tokens: 398 };
const event = (choices: unknown[], rest: object = {}) =>
	`data: ${JSON.stringify({ ...ID, object: "chat.completion.chunk", choices, ...rest })}\n\n`;

/** One event that carries a token. */
export const TOKEN = event([{ index: 0, delta: { content: " token" }, finish_reason: null }]);

/** The events of a whole stream, in order. */
export const STREAM: readonly string[] = [
	...Array.from({ length: EVENTS - 3 }, () => TOKEN),
	event([{ index: 0, delta: {}, finish_reason: "stop" }]),
	event([], { usage: USAGE }),
	"data: [DONE]\n\n",
];

/** A JSON text of exactly 1,024 bytes: `make` gets the filler that brings it there. */
function kilobyte(make: (filler: string) => object): string {
	const empty = JSON.stringify(make("")).length;
	return JSON.stringify(make("x".repeat(1024 - empty)));
}

/** The non-streamed answer, 1 KB. */
export const ANSWER = kilobyte((content) => ({
	...ID,
	object: "chat.completion",
	choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
	usage: USAGE,
}));

/** The 1 KB request that makes the upstream answer in `mode`; the router knows the model as `openai/<mode>`. */
export function request(mode: Mode): string {
	return kilobyte((content) => ({
		model: `openai/${mode}`,
		stream: !isWhole(mode),
		...(isCached(mode) ? { temperature: 0 } : {}),
		messages: [{ role: "user", content }],
	}));
}

/** Whether the answer comes at once, and whether the upstream is asked for it only once. */
export const isWhole = (mode: Mode) => mode === "bench" || mode === "cached";
export const isCached = (mode: Mode) => mode === "cached" || mode === "replayed";

/** The mode that a request's raw text asks for, whether or not the router took `openai/` off the name. */
export function modeOf(body: string): Mode {
	const name = /"model":"(?:openai\/)?(\w+)"/.exec(body)?.[1];
	return MODES.find((mode) => mode === name) ?? "bench";
}
