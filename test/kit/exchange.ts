/** One call as it went over the wire: the shape of the recordings in `shared/wire`, and of our own fixtures. */

/** A JSON object whose fields are read by tests. */
export type Json = Record<string, unknown>;

/** A JSON object of any depth, for tests that reach deep into one. */
// biome-ignore lint/suspicious/noExplicitAny: `unknown` would need a cast at every step, and a wrong step fails the test
export type Loose = Record<string, any>;

/** What a client sent. `body` is null where the recording kept the answer only. */
export interface ExchangeRequest {
	readonly method: string;
	/** Path at the vendor, `/api/v1/chat/completions`. */
	readonly path: string;
	readonly headers: Readonly<Record<string, string>>;
	readonly body: Json | null;
}

/** What the upstream answered: exactly one of `body` (JSON), `sse` (raw event stream) and `text`. */
export interface ExchangeResponse {
	readonly status: number;
	readonly headers: Readonly<Record<string, string | readonly string[]>>;
	readonly body?: unknown;
	readonly sse?: string;
	readonly text?: string;
}

/** A request and its answer. */
export interface Exchange {
	/** `openai/vision-1`: names the test. */
	readonly id: string;
	readonly provider: string;
	readonly request: ExchangeRequest;
	readonly response: ExchangeResponse;
}

/** The answer's bytes as the replay upstream sends them; JSON is compact. */
export function answerText(response: ExchangeResponse): string {
	return response.sse ?? response.text ?? JSON.stringify(response.body);
}

/** The `data:` payloads of an event stream, in order; comments are left out. Throws on an event of another shape. */
export function eventData(sse: string): string[] {
	const payloads: string[] = [];
	for (const line of sse.split(/\r?\n/)) {
		if (line.startsWith("data: ")) payloads.push(line.slice(6));
		else if (line !== "" && !line.startsWith(":")) throw new Error(`not a line these streams have: ${line}`);
	}
	return payloads;
}

/** The same payloads, parsed; `[DONE]` is left out. */
export function chunksOf(sse: string): Json[] {
	return eventData(sse)
		.filter((data) => data !== "[DONE]")
		.map((data) => JSON.parse(data));
}

/** The events of a stream whose events have names; throws for one whose name is not its type. */
export function namedEvents(stream: string): Loose[] {
	return stream
		.split("\n\n")
		.filter((block) => block !== "" && !block.startsWith(":"))
		.map((block) => {
			const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(block) ?? [];
			if (!data) throw new Error(`no named event: ${block}`);
			const event = JSON.parse(data) as Loose;
			if (event["type"] !== name) throw new Error(`${name} is called ${event["type"]}`);
			return event;
		});
}
