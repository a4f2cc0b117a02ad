/** A clock that somebody sets back: what waits for a time waits as long as was meant, and nothing is open or shut for longer. */
import { afterEach, describe, expect, setSystemTime, test } from "bun:test";
import { hashKey } from "../src/accounts/auth/keys.ts";
import { StoredKeys } from "../src/accounts/auth/stored-keys.ts";
import { Traffic } from "../src/agent/models/traffic.ts";
import { ModelList } from "../src/api/model-list.ts";
import { isFresh } from "../src/cache/entry.ts";
import { retryAfter } from "../src/providers/upstream-error.ts";
import { asWall, steadyTime } from "../src/steady-time.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { LogFile } from "../src/telemetry/log-file.ts";
import { directory } from "./kit/cli.ts";
import { fleetRig } from "./kit/fleet.ts";
import { pipeline } from "./kit/pipeline.ts";
import { until } from "./kit/until.ts";

const HOUR = 3_600_000;
afterEach(() => {
	setSystemTime();
});
const setBack = () => setSystemTime(new Date(Date.now() - HOUR));

test("the clock for durations goes on, and its times are shown as the wall clock has them now", () => {
	const before = steadyTime();
	const wall = Date.now();
	setBack();
	expect(steadyTime() - before).toBeWithin(0, HOUR / 2);
	expect(asWall(before)).toBeWithin(wall - HOUR - 60_000, wall - HOUR / 2);
});

test("on an agent a later doubt, byte or call is later", async () => {
	const calls = new Traffic(
		{ size: 3, running: 1, waitMs: 60_000 },
		{ progressText: () => "ready" },
		{ notify: () => {} },
	);
	calls.open("m", [{ id: "a", replica: 0, origin: "http://127.0.0.1:1" }]);
	const lease = await calls.acquire("m", AbortSignal.timeout(5_000));
	lease.suspect();
	const waiting = calls.acquire("m", AbortSignal.timeout(5_000));
	const before = [calls.suspectSince("a")!, calls.quietSince("a")!, calls.waiting("m").oldestAt!];
	setBack();
	lease.suspect();
	lease.bytesCame();
	expect(calls.suspectSince("a")!).toBeGreaterThanOrEqual(before[0]!);
	expect(calls.quietSince("a")!).toBeGreaterThanOrEqual(before[1]!);
	calls.confirmHealthy("m", "a");
	lease.release();
	await waiting;
	void calls.acquire("m", AbortSignal.timeout(5_000)).catch(() => {});
	expect(calls.waiting("m").oldestAt!).toBeGreaterThanOrEqual(before[2]!);
});

test("an upstream's list of models is asked for again", async () => {
	let asked = 0;
	const upstream = Bun.serve({
		port: 0,
		fetch() {
			asked++;
			return Response.json({ object: "list", data: [{ id: "one" }] });
		},
	});
	const { snapshot } = pipeline({
		config: { providers: { box: { type: "vllm", base_url: `http://localhost:${upstream.port}` } } },
	});
	const list = new ModelList(snapshot.catalog);
	const entry = snapshot.catalog.entries.find(({ upstream }) => upstream.name === "box")!;
	await list.all();
	expect(asked).toBe(1);
	setBack();
	list.served(entry, -1);
	await until(() => asked > 1, "a further question");
	await upstream.stop(true);
});

test("a log file that could not be written is tried again", async () => {
	using home = directory();
	let opens = 0;
	const file = new LogFile({
		dir: home.path,
		name: "x",
		keep: 1,
		retryMs: 0,
		onProblem: () => {},
		onRecovered: () => {},
		open: () => {
			opens++;
			throw new Error("no");
		},
	});
	file.open();
	setBack();
	file.write("line\n");
	await file.flush();
	expect(opens).toBeGreaterThan(1);
});

test.each([
	["of now", 0, true],
	["of a router whose clock is half a minute ahead", 30_000, true],
	["of an hour that has not come, kept before the clock was set back", HOUR, false],
])("an answer %s is fresh: %p", (_, ahead, fresh) => {
	const now = 1_790_000_000_000;
	expect(isFresh({ storedAt: now + ahead, expiresAt: now + 24 * HOUR } as never, HOUR, now)).toBe(fresh);
});

describe("a key's old secret", () => {
	test("ends when it was to end", () => {
		const clock = { wall: 1_790_000_000_000, time: 0 };
		using home = directory();
		const store = sqliteStore(home.path, () => {});
		const keys = new StoredKeys({ store, wall: () => clock.wall, time: () => clock.time });
		const { secret } = keys.create({ name: "a", models: ["*"], limits: {}, team: undefined, budget: undefined });
		const hash = hashKey(secret).toString("hex");
		keys.rotate("a", HOUR);
		clock.wall -= 12 * HOUR;
		clock.time += HOUR - 10;
		expect(keys.find(hash)?.name).toBe("a");
		clock.time += 10;
		expect(keys.find(hash)).toBeUndefined();
		store.close();
	});
});

test("a wait until a date is told by the clock of who told it", () => {
	const date = (at: number) => new Date(at).toUTCString();
	const headers = new Headers({ date: date(1_000_000_000_000), "retry-after": date(1_000_000_030_000) });
	expect(retryAfter(headers)).toBe(30_000);
});

test("an agent that is heard of by a router whose clock was set back is heard of by the others", async () => {
	using home = directory();
	using other = directory();
	const [one, two] = [fleetRig(home.path), fleetRig(other.path)];
	one.registry.listeners.onHeard((agent) => two.registry.adopt(agent));
	await one.register("gpu-1", ["qwen"]);
	one.setWall(-HOUR);
	one.pass(5_000);
	two.pass(25_000);
	expect(two.fleet.list()[0]?.state).toBe("suspect");
	await one.heartbeat("gpu-1", ["qwen"]);
	expect(two.fleet.list()[0]?.state).toBe("fresh");
	one.close();
	two.close();
});
