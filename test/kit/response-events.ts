/** A stream of `/v1/responses`, read as a client reads it, and held to its grammar. */
import { expect } from "bun:test";
import type { Loose } from "./exchange.ts";
import { eventFaults } from "./response-schema.ts";

/** What ends a stream. */
const LAST = new Set(["response.completed", "response.incomplete", "response.failed"]);

/** A stream, read. */
export interface ResponseEvents {
	readonly events: readonly Loose[];
	/** Their types, in order, without `response.`; the same one after the other counts once. */
	readonly types: readonly string[];
	/** The response that the last event holds. */
	readonly response: Loose;
	readonly comments: readonly string[];
}

/**
 * The events. Throws where one is none, its name is not its type, the numbers do not grow by one, an item is filled or closed that is not open, what
 * was closed differs from its pieces, or the stream does not end as it should: with a response, and `[DONE]`.
 */
export function responseEvents(sse: string): ResponseEvents {
	const events: Loose[] = [];
	const comments: string[] = [];
	let isDone = false;
	for (const block of sse.split("\n\n").filter((each) => each !== "")) {
		expect(isDone, "nothing follows [DONE]").toBe(false);
		if (block.startsWith(":")) comments.push(block);
		else if (block === "data: [DONE]") isDone = true;
		else {
			const [, name, data] = /^event: (\S+)\ndata: (.*)$/s.exec(block) ?? [];
			const event = JSON.parse(data ?? "null") as Loose;
			expect(name).toBe(event["type"]);
			events.push(event);
		}
	}
	const { types, response } = checkedEvents(events);
	expect(isDone).toBe(true);
	return { events, types, response, comments };
}

/** The same of events that came without a stream around them, over a WebSocket. Throws as `responseEvents` does. */
export function checkedEvents(events: readonly Loose[]): Pick<ResponseEvents, "types" | "response"> {
	expect(events.flatMap((event) => eventFaults(event))).toEqual([]);
	expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, at) => at));
	const types = events.map(({ type }) => String(type).replace(/^response\./, ""));
	expect(types.slice(0, 2)).toEqual(["created", "in_progress"]);
	expect(events.map(({ type }) => LAST.has(type)).indexOf(true)).toBe(events.length - 1);
	const { response } = events.at(-1)!;
	checkItems(events.slice(2, -1), response);
	return { types: types.filter((type, at) => type !== types[at - 1]), response };
}

interface OpenItem {
	readonly item: Loose;
	/** By the place of the part: its pieces, and whether it is closed. */
	readonly parts: Map<string, { text: string; isClosed: boolean }>;
}

function checkItems(events: readonly Loose[], response: Loose): void {
	const open = new Map<number, OpenItem>();
	const closed: Loose[] = [];
	let opened = 0;
	for (const event of events) {
		const { type, output_index: index, item } = event;
		if (type === "response.output_item.added") {
			expect(index).toBe(opened++);
			open.set(index, { item, parts: new Map() });
			continue;
		}
		const place = open.get(index);
		expect(place, `${type} of an item that is not open`).toBeDefined();
		if (type === "response.output_item.done") {
			expect([item.id, item.type]).toEqual([place!.item["id"], place!.item["type"]]);
			expect([...place!.parts.values()].every(({ isClosed }) => isClosed)).toBe(true);
			closed[index] = item;
			open.delete(index);
		} else {
			expect(event["item_id"]).toBe(place!.item["id"]);
			checkPart(event, place!);
		}
	}
	const isWhole = response["status"] !== "failed";
	if (isWhole) expect([...open.keys()]).toEqual([]);
	const shown = response["output"].map(({ reasoning_details, ...rest }: Loose) => rest);
	// Where it failed, calls that were being made stand nowhere.
	const done = closed.filter((each) => each);
	expect(shown.slice(0, done.length)).toEqual(done);
	if (isWhole) expect(shown.length).toBe(closed.length);
}

const WORDS = ["text", "refusal", "arguments", "input"];

function checkPart(event: Loose, { parts }: OpenItem): void {
	const { type, delta, content_index: content, summary_index: summary } = event;
	const key = String(content ?? summary ?? "call");
	if (/part\.added$/.test(type)) {
		expect(parts.has(key)).toBe(false);
		parts.set(key, { text: "", isClosed: false });
		return;
	}
	const isCall = key === "call";
	if (isCall && !parts.has(key)) parts.set(key, { text: "", isClosed: false });
	const part = parts.get(key);
	expect(part, `${type} of a part that is not open`).toBeDefined();
	if (typeof delta === "string") part!.text += delta;
	const said = WORDS.map((word) => event[word] ?? event["part"]?.[word]).find((each) => typeof each === "string");
	if (/\.done$/.test(type)) expect(said).toBe(part!.text);
	if (/part\.done$/.test(type) || (isCall && /\.done$/.test(type))) part!.isClosed = true;
}
