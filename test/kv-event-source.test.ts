/** The events of an engine, from a real PUB and ROUTER of libzmq and msgspec's encoder: gaps, replays, restarts, lost and unknown messages. */
import { expect } from "bun:test";
import { chmodSync } from "node:fs";
import { dirname, join } from "node:path";
import { KvEventSource } from "../src/agent/vllm/kv-event-source.ts";
import type { KvEvent } from "../src/agent/vllm/kv-events.ts";
import { type KvPublisher, type PublishedEvent, startPublisher } from "./kit/kv-publisher.ts";
import { needing } from "./kit/needing.ts";
import { until } from "./kit/until.ts";

const { test } = needing("zeromq");

/** A source at a publisher, and what it has told: events by their first hash, `whole` and `part` where all before does not count. */
function listen({ sockets }: Pick<KvPublisher, "sockets">) {
	const heard: (number | string)[] = [];
	const problems: string[] = [];
	const source = new KvEventSource({
		sockets,
		sink: {
			restarted: (isWhole) => void heard.push(isWhole ? "whole" : "part"),
			events: (events) => void heard.push(...events.map(nameOf)),
		},
		problem: (sentence) => void problems.push(sentence),
	});
	source.start();
	return { heard, problems, [Symbol.dispose]: () => source.end() };
}

const nameOf = (event: KvEvent) => ("hashes" in event ? Number(event.hashes[0]) : event.kind);
const stored = (hash: number): PublishedEvent => [
	"BlockStored",
	{ block_hashes: [hash], parent_block_hash: null, token_ids: [1, 2], block_size: 2 },
];
const heardAll = (heard: readonly unknown[], last: unknown) =>
	until(() => heard.at(-1) === last, `${last} in ${JSON.stringify(heard)}`);

test("what was published before anybody listened is had, in the order in which it happened", async () => {
	const publisher = await startPublisher();
	for (const hash of [1, 2, 3]) await publisher.publish([stored(hash)]);
	using listener = listen(publisher);
	await heardAll(listener.heard, 3);
	await publisher.publish([stored(4), ["AllBlocksCleared", {}]], { array: true });
	await heardAll(listener.heard, "cleared");
	expect(listener.heard).toEqual(["whole", 1, 2, 3, 4, "cleared"]);
	await publisher.stop();
});

test("batches that were lost on their way are asked for again", async () => {
	const publisher = await startPublisher();
	using listener = listen(publisher);
	await heardAll(listener.heard, "whole");
	await publisher.publish([stored(1)]);
	await heardAll(listener.heard, 1);
	await publisher.publish([stored(2)], { lost: true });
	await publisher.publish([stored(3)], { lost: true });
	await publisher.publish([stored(4)]);
	await publisher.publish([stored(5)]);
	await heardAll(listener.heard, 5);
	expect(listener.heard).toEqual(["whole", 1, 2, 3, 4, 5]);
	expect(listener.problems).toEqual([]);
	await publisher.stop();
});

test("a replay larger than its socket takes at once, of which a part is lost, is asked for until all is had", async () => {
	const publisher = await startPublisher();
	await publisher.publish([stored(1)], { times: 9_000 });
	await publisher.publish([stored(2)]);
	using listener = listen(publisher);
	await heardAll(listener.heard, 2);
	expect(listener.heard).toEqual(["whole", ...new Array<number>(9_000).fill(1), 2]);
	expect(listener.problems).toEqual([]);
	await publisher.stop();
}, 60_000);

test("a replay whose end is lost is over once nothing comes any more, and is asked for again", async () => {
	const publisher = await startPublisher({ endless_replays: 1 });
	for (const hash of [1, 2, 3]) await publisher.publish([stored(hash)]);
	using listener = listen(publisher);
	await heardAll(listener.heard, 3);
	await publisher.publish([stored(4)]);
	await heardAll(listener.heard, 4);
	await publisher.publish([stored(5)]);
	await heardAll(listener.heard, 5);
	expect(listener.heard).toEqual(["whole", 1, 2, 3, 4, 5]);
	expect(publisher.replays).toBe(2);
	await publisher.stop();
});

test("where the engine no longer has what was lost nothing of before counts", async () => {
	const publisher = await startPublisher({ buffer_steps: 2 });
	using listener = listen(publisher);
	await heardAll(listener.heard, "whole");
	await publisher.publish([stored(1)]);
	await heardAll(listener.heard, 1);
	for (const hash of [2, 3, 4]) await publisher.publish([stored(hash)], { lost: true });
	await publisher.publish([stored(5)]);
	await heardAll(listener.heard, 5);
	expect(listener.heard).toEqual(["whole", 1, "part", 4, 5]);
	await publisher.stop();
});

test("an engine that sends nothing again is listened to, and a gap forgets", async () => {
	const publisher = await startPublisher({ isWithoutReplay: true });
	using listener = listen(publisher);
	await heardAll(listener.heard, "part");
	await publisher.publish([stored(1)]);
	await heardAll(listener.heard, 1);
	await publisher.publish([stored(2)], { lost: true });
	await publisher.publish([stored(3)]);
	await heardAll(listener.heard, 3);
	expect(listener.heard).toEqual(["part", 1, "part", 3]);
	await publisher.stop();
});

test("an engine that was started anew is told from the same one, also where it has published as much", async () => {
	const first = await startPublisher();
	using listener = listen(first);
	await heardAll(listener.heard, "whole");
	for (const hash of [1, 2]) await first.publish([stored(hash)]);
	await heardAll(listener.heard, 2);
	await first.stop();
	const second = await startPublisher({ sockets: first.sockets });
	for (const hash of [11, 12, 13]) await second.publish([stored(hash)]);
	await heardAll(listener.heard, 13);
	expect(listener.heard).toEqual(["whole", 1, 2, "whole", 11, 12, 13]);
	await second.stop();
});

test("one that was started anew and has published less than before is heard from its beginning, too", async () => {
	const first = await startPublisher();
	using listener = listen(first);
	await heardAll(listener.heard, "whole");
	for (const hash of [1, 2, 3]) await first.publish([stored(hash)]);
	await heardAll(listener.heard, 3);
	await first.stop();
	const second = await startPublisher({ sockets: first.sockets });
	await heardAll(listener.heard, "whole");
	await second.publish([stored(11)]);
	await heardAll(listener.heard, 11);
	expect(listener.heard).toEqual(["whole", 1, 2, 3, "whole", 11]);
	await second.stop();
});

test("a subscriber that was too slow, so that messages were dropped at the high-water mark, catches up", async () => {
	const publisher = await startPublisher({ hwm: 4, send_buffer: 4_096 });
	using listener = listen(publisher);
	await heardAll(listener.heard, "whole");
	const large: PublishedEvent = [
		"BlockStored",
		{ block_hashes: [1], parent_block_hash: null, token_ids: new Array(60_000).fill(70_000), block_size: 60_000 },
	];
	// More at once than the socket and its mark hold together: what comes behind is dropped, too, until there is room.
	await publisher.publish([large], { times: 60 });
	await until(async () => {
		await publisher.publish([stored(2)]);
		return listener.heard.includes(2);
	}, "a message behind");
	await publisher.publish([stored(3)]);
	await heardAll(listener.heard, 3);
	expect(listener.heard.slice(0, 61)).toEqual(["whole", ...new Array<number>(60).fill(1)]);
	expect(new Set(listener.heard.slice(61))).toEqual(new Set([2, 3]));
	expect(publisher.replays).toBeGreaterThan(1);
	await publisher.stop();
});

test("messages that are no events are told once and passed over; a batch that can't be read forgets", async () => {
	const publisher = await startPublisher();
	using listener = listen(publisher);
	await heardAll(listener.heard, "whole");
	await publisher.send("61");
	await publisher.send("", "01", "c0");
	await publisher.publish([["BlockMoved", { where: "disk" }], stored(1)]);
	await heardAll(listener.heard, 1);
	await publisher.publish([], { raw: "c1" });
	await publisher.publish([stored(2)]);
	await heardAll(listener.heard, 2);
	expect(listener.heard).toEqual(["whole", 1, "part", 2]);
	expect(listener.problems.map((each) => each.slice(0, 40))).toEqual([
		"The engine publishes something else than",
		"The engine's KV events can't be read: a ",
	]);
	await publisher.stop();
});

test("an engine that comes later is found, and that it is not there is told once", async () => {
	const gone = await startPublisher();
	await gone.stop();
	const { sockets } = gone;
	// Its sockets stay behind, and nobody listens there.
	using listener = listen(gone);
	await until(() => listener.problems.length > 0, "a problem");
	const publisher = await startPublisher({ sockets });
	await publisher.publish([stored(1)]);
	await heardAll(listener.heard, 1);
	expect(listener.problems).toEqual([
		"The engine's KV events can't be had: its socket can't be reached (ECONNREFUSED).",
	]);
	await publisher.stop();
});

test("sockets of another user are told, and connected to once they are opened", async () => {
	const publisher = await startPublisher();
	const { events, replay, directory } = publisher.sockets;
	for (const path of [dirname(directory), directory]) chmodSync(path, 0o755);
	for (const path of [events, replay]) chmodSync(path, 0);
	const command = [process.execPath, join(import.meta.dir, "kit/denied-source.ts"), events, replay];
	const child = Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
	let said = "";
	const listening = (async () => {
		for await (const bytes of child.stdout) said += Buffer.from(bytes).toString();
	})();
	await until(() => said.includes("denied"), "that it may not");
	for (const path of [events, replay]) chmodSync(path, 0o777);
	await until(() => said.includes("whole"), `all of it, not ${said}`);
	child.stdin.end();
	await listening;
	await publisher.stop();
});

test("a replay that was given up with its connection does not end the one that was asked for after it", async () => {
	const first = await startPublisher();
	await first.publish([stored(1)]);
	// Replays are heard, and answered by nobody.
	let asked = 0;
	const silent = Bun.listen({
		unix: join(first.sockets.directory, "silent"),
		socket: { open: () => void asked++, data: () => undefined },
	});
	const heard: (number | string)[] = [];
	const sockets = { ...first.sockets, replay: join(first.sockets.directory, "silent") };
	let replays = 0;
	const source = new KvEventSource({
		sockets,
		sink: {
			restarted: (isWhole) => void heard.push(isWhole ? "whole" : "part"),
			events: (events) => void heard.push(...events.map(nameOf)),
		},
		problem: () => undefined,
		get replayMs() {
			return replays++ === 0 ? FIRST_REPLAY_MS : 60_000;
		},
	});
	source.start();
	await until(() => asked === 1, "the first replay");
	await first.stop();
	const second = await startPublisher({ sockets: first.sockets });
	await until(() => asked === 2, "the second replay");
	// Begun after that of the first replay, so that it ends after it.
	await Bun.sleep(FIRST_REPLAY_MS);
	expect([replays, heard]).toEqual([2, []]);
	source.end();
	silent.stop(true);
	await second.stop();
});
const FIRST_REPLAY_MS = 1_500;
