/** Plays the rows against a router, and says what came of them. */
import { eventData, type Json } from "../kit/exchange.ts";
import { type FaultUpstream, startFaultUpstream } from "../kit/fault-upstream.ts";
import { good, type Outcome, type Row, TEXT, WORDS } from "./rows.ts";

/** What came of one row, one way. */
export interface Played {
	readonly client: Outcome;
	/** Requests that the faulty upstream saw, and the other one where there is one. */
	readonly attempts: readonly number[];
	readonly ms: number;
}

/** Sends a call to a router. */
export type Send = (body: Json, headers: Record<string, string>) => Promise<Response>;

/** The upstreams of all rows, twice: with another target, and alone. */
export interface Stage {
	/** For `router.yaml`. */
	readonly config: Json;
	play(row: Row, isAlone: boolean, send: Send): Promise<Played>;
	stop(): void;
}

/**
 * Starts them. A router with that configuration must then be called.
 * @param second how long a second lasts, ms
 */
export function stage(rows: readonly Row[], second: number): Stage {
	const upstreams = new Map<string, FaultUpstream>();
	const start = (name: string, script: Parameters<typeof startFaultUpstream>[0]) => {
		const upstream = startFaultUpstream(script);
		upstreams.set(name, upstream);
		return { [name]: { type: "vllm", base_url: upstream.origin } };
	};
	const providers = rows.map((row, index) => ({
		...start(`fault-${index}`, row.script(second)),
		...start(`other-${index}`, row.other ?? good),
		...start(`alone-${index}`, row.script(second)),
	}));
	const models = rows.map((_, index) => ({
		name: `row-${index}`,
		policy: "order",
		targets: [`fault-${index}/m`, `other-${index}/m`],
	}));
	return {
		config: { providers: Object.assign({}, ...providers), models },
		async play(row, isAlone, send) {
			const index = rows.indexOf(row);
			const startedAt = performance.now();
			const client = await outcome(row, isAlone ? `alone-${index}/m` : `row-${index}`, isAlone, second, send);
			const ms = performance.now() - startedAt;
			const names = isAlone ? [`alone-${index}`] : [`fault-${index}`, `other-${index}`];
			return { client, ms, attempts: names.map((name) => upstreams.get(name)!.received.length) };
		},
		stop() {
			for (const upstream of upstreams.values()) upstream.stop();
		},
	};
}

/** What a client that is alone with the fault waits for: the router itself then waits for ten minutes. */
export const ALONE_S = 30;

async function outcome(row: Row, model: string, isAlone: boolean, second: number, send: Send): Promise<Outcome> {
	const limit = String(ALONE_S * second);
	const header = row.isWhole ? "x-router-timeout-ms" : "x-router-first-token-ms";
	const headers: Record<string, string> = isAlone ? { [header]: limit } : {};
	const body = { model, messages: [{ role: "user", content: "hi" }], ...(row.isWhole ? {} : { stream: true }) };
	// At full length the router's own deadline for silence, where another target is left, is shown.
	const isScaled = second !== 1000;
	const answer = await send(body, { ...headers, ...(isAlone || isScaled ? { "x-router-stall-ms": limit } : {}) });
	const text = await answer.text();
	if (answer.status !== 200) return `${answer.status} ${JSON.parse(text).error.code}`;
	if (row.isWhole) return told(JSON.parse(text).choices[0].message.content, undefined);
	const events = eventData(text);
	const last = events.at(-1) ?? "";
	const content = contentOf(events);
	return told(content, last === "[DONE]" ? undefined : (JSON.parse(last).error?.code ?? "nothing"));
}

/** Whatever is no beginning of the right answer is a fault of the router's. */
function told(content: string, error: string | undefined): Outcome {
	if (!TEXT.startsWith(content)) throw new Error(`a wrong text: ${content}`);
	if (error === undefined) {
		if (content !== TEXT) throw new Error(`a part that looks whole: ${content}`);
		return "complete";
	}
	return `${content.split(" ").length - 1} of ${WORDS}, then ${error}`;
}

function contentOf(events: readonly string[]): string {
	return events
		.filter((data) => data !== "[DONE]")
		.map((data) => (JSON.parse(data).choices?.[0]?.delta?.content as string | undefined) ?? "")
		.join("");
}
