/** Sessions of the console: what is no session is refused, and one ends with its time, its sign-out, its key or its router's secret. */
import { describe, expect, test } from "bun:test";
import { ConsoleSessions } from "../src/server/console/console-session.ts";
import { crossOriginRefusal } from "../src/server/console/same-origin.ts";
import type { SharedRow } from "../src/store/shared-table.ts";

const KEY = { hash: Buffer.alloc(32, 1) };
const HOURS_12 = 12 * 3_600_000;

function sessionsAt(clock: { now: number }, secret = "a secret") {
	return new ConsoleSessions({ secret: () => secret, wall: () => clock.now });
}

describe("a session", () => {
	test.each(["", "x", "a.b.c.d", "..", "a".repeat(5000), "1.".repeat(40)])("is not in %p", (token) => {
		expect(sessionsAt({ now: 0 }).read(token)).toBeUndefined();
	});

	test("is refused where any part of it was changed", () => {
		const sessions = sessionsAt({ now: 0 });
		const { token } = sessions.begin(sessions.holderOf(KEY));
		const parts = token.split(".");
		for (const at of parts.keys()) {
			const changed = parts.map((part, each) => (each === at ? (part[0] === "1" ? "2" : "1") + part.slice(1) : part));
			expect(sessions.read(changed.join("."))).toBeUndefined();
		}
		expect(sessions.read(token)).toBeDefined();
	});

	test("is over after twelve hours", () => {
		const clock = { now: 1_000 };
		const sessions = sessionsAt(clock);
		const { token, until } = sessions.begin(sessions.holderOf(KEY));
		expect(until).toBe(1_000 + HOURS_12);
		clock.now = until - 1;
		expect(sessions.read(token)).toMatchObject({ until, holder: sessions.holderOf(KEY) });
		clock.now = until;
		expect(sessions.read(token)).toBeUndefined();
	});

	test("is over once it is signed out, and no other with it", () => {
		const sessions = sessionsAt({ now: 0 });
		const [one, other] = [sessions.begin(sessions.holderOf(KEY)), sessions.begin(sessions.holderOf(KEY))];
		sessions.end(one.token);
		expect(sessions.read(one.token)).toBeUndefined();
		expect(sessions.read(other.token)).toBeDefined();
	});

	test("that was signed out at another router is over here, too, until it would have ended", () => {
		const clock = { now: 1_000 };
		const told: SharedRow[] = [];
		const [here, there] = [sessionsAt(clock), sessionsAt(clock)];
		here.ended.onEnded = (row) => told.push(row);
		const { token } = here.begin(here.holderOf(KEY));
		here.end(token);
		expect(there.read(token)).toBeDefined();
		const { ended } = there;
		const wrong = [
			"",
			"x",
			`${"z".repeat(13)}.${"n".repeat(24)}`,
			`zzzzzzzzzzzz.${"n".repeat(24)}`,
			`1.${"n".repeat(24)}`,
		];
		ended.take(wrong.map((field) => ({ field, version: 1, value: "" })));
		expect([...ended.rows()]).toEqual([]);
		ended.take(told);
		expect(there.read(token)).toBeUndefined();
		expect([...ended.rows()]).toEqual(told);
		expect(ended.isOver(told[0]!.field)).toBe(false);
		clock.now += HOURS_12;
		expect([ended.isOver(told[0]!.field), ...ended.rows()]).toEqual([true]);
	});

	test("is good at every router that has the secret, and at no other", () => {
		const clock = { now: 0 };
		const { token } = sessionsAt(clock).begin(sessionsAt(clock).holderOf(KEY));
		expect(sessionsAt(clock).read(token)).toBeDefined();
		expect(sessionsAt(clock, "another secret").read(token)).toBeUndefined();
		expect(sessionsAt(clock, "another secret").cookie).not.toBe(sessionsAt(clock).cookie);
	});

	test("names its key without telling its hash, and nobody's differently", () => {
		const sessions = sessionsAt({ now: 0 });
		const { token } = sessions.begin(sessions.holderOf(KEY));
		expect(token).not.toContain(KEY.hash.toString("hex"));
		expect(sessions.holderOf({ hash: Buffer.alloc(32, 2) })).not.toBe(sessions.holderOf(KEY));
		expect(sessions.holderOf()).not.toBe(sessions.holderOf(KEY));
	});
});

describe("a request with the console's cookie", () => {
	const refusalOf = (method: string, headers: Record<string, string>) =>
		crossOriginRefusal(new Request("http://router.test:8000/admin/keys", { method, headers }))?.errorCode;
	const host = "router.test:8000";

	test.each([
		["POST", { "sec-fetch-site": "cross-site" }],
		["POST", { "sec-fetch-site": "same-site", origin: "http://router.test:8000", host }],
		["POST", { "sec-fetch-site": "none" }],
		["GET", { "sec-fetch-site": "same-site" }],
		["DELETE", { host }],
		["POST", { host, origin: "null" }],
		["POST", { host, origin: "http://router.test:3000" }],
		["GET", { host, origin: "http://router.test" }],
		["POST", { host, origin: "https://evil.test" }],
	])("is refused: %s with %p", (method, headers) => {
		expect(refusalOf(method, headers as Record<string, string>)).toBe("cross_site_request");
	});

	test.each([
		["POST", { "sec-fetch-site": "same-origin", origin: "https://console.test", host }],
		["GET", { "sec-fetch-site": "none" }],
		["GET", { host }],
		["POST", { host, origin: "http://router.test:8000" }],
		["POST", { host: "router.test", origin: "https://router.test:443" }],
	])("is taken: %s with %p", (method, headers) => {
		expect(refusalOf(method, headers as Record<string, string>)).toBeUndefined();
	});
});
