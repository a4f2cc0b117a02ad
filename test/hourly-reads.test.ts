/** Reads of a ledger by the hour: one at a time, and none for who has left. */
import { expect, test } from "bun:test";
import { adminRoutes } from "../src/server/admin/admin-routes.ts";
import { HourlyReads } from "../src/server/admin/hourly-read.ts";
import type { HourRange, HourSums } from "../src/store/call-hours.ts";

const DAYS = { from: "2026-03-30", to: "2026-03-31" };
const NOW = () => Date.parse("2026-05-01");
const LATER = { from: "2026-04-30", to: "2026-04-30" };

/** A ledger of so many parts. @param onPart hears how many were read by then */
function ledgerOf(parts: number, onPart: (count: number, range: HourRange) => void = () => {}) {
	const read: HourRange[] = [];
	const hours = (range: HourRange): HourSums => {
		read.push(range);
		onPart(read.length, range);
		const ofThis = read.filter(({ since }) => since === range.since).length;
		return { hours: [], next: ofThis < parts ? `part-${ofThis}` : undefined };
	};
	return { reads: new HourlyReads({ flush: async () => {} }, { hours }), read };
}

test("a read ends when its client has left, and the next one has its turn", async () => {
	const client = new AbortController();
	const { reads, read } = ledgerOf(1_000, (count) => {
		if (count === 3) client.abort();
	});
	const [left, next] = [reads.read(DAYS, NOW, client.signal), reads.read(LATER, NOW)];
	expect(await left.catch(({ errorCode }) => errorCode)).toBe("cancelled");
	expect(await next).toEqual([]);
	expect([read.length, read[3]!.since]).toEqual([1_003, Date.parse(LATER.from)]);
});

test("nothing is read for who left while another one was read for", async () => {
	const client = new AbortController();
	const { reads, read } = ledgerOf(3, () => client.abort());
	const [first, left] = [reads.read(DAYS, NOW), reads.read(LATER, NOW, client.signal)];
	expect(await first).toEqual([]);
	expect(await left.catch(({ errorCode }) => errorCode)).toBe("cancelled");
	expect(read.length).toBe(3);
});

test("one that fails keeps no other from its turn", async () => {
	const { reads, read } = ledgerOf(2, (count) => {
		if (count === 1) throw new Error("the disk is gone");
	});
	const [failed, next] = [reads.read(DAYS, NOW), reads.read(LATER, NOW)];
	expect(await failed.catch(({ message }) => message)).toBe("the disk is gone");
	expect(await next).toEqual([]);
	expect(read.map(({ since }) => since)).toEqual([DAYS, LATER, LATER].map(({ from }) => Date.parse(from)));
});

test("who asks over HTTP is known to have left while it is read for", async () => {
	const client = new AbortController();
	const { reads, read } = ledgerOf(1_000, () => client.abort());
	const state = { hours: reads, usage: async () => ({ own: [], others: [], isPartial: false }) };
	const administrators = { authenticate: () => ({ name: "ops" }) };
	const parts = [state, {}, { snapshot: { config: {} } }, administrators, {}];
	const url = "http://localhost/admin/usage?format=focus&granularity=hour&from=2026-03-30&to=2026-03-31";
	const { status } = await adminRoutes(...(parts as unknown as Parameters<typeof adminRoutes>)).handle(
		new Request(url, { signal: client.signal }),
	);
	expect([status, read.length]).toEqual([499, 1]);
});
