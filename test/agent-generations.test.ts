/** What is remembered of generations, what their calls are counted as, and how calls are shared out between them at the agent. */
import { describe, expect, test } from "bun:test";
import type { AgentFile, Remembered } from "../src/agent/models/agent-file.ts";
import { CallCounter } from "../src/agent/models/call-counts.ts";
import { Generations, type SeenModel } from "../src/agent/models/generations.ts";
import type { Generation } from "../src/agent/models/roll.ts";
import { rollOrder } from "../src/agent/models/roll-order.ts";
import { Traffic } from "../src/agent/models/traffic.ts";
import { parseCommand, UsageError } from "../src/cli/flags.ts";
import type { UpstreamAnswer } from "../src/providers/provider.ts";

const made = (hash: string): Generation => ({ hash, image: `image-${hash}`, spec: { name: "m", model: "org/m" } });
const TIMES = { watch: 1000, limit: 2000 };

/** A file in memory. */
function memory(content: Remembered = {}): AgentFile & { content: Remembered } {
	const file = {
		content,
		update(changes: Partial<Remembered>) {
			// As JSON would have it.
			file.content = JSON.parse(JSON.stringify({ ...file.content, ...changes }));
			return undefined;
		},
	};
	return file;
}

const seen = (over: Partial<SeenModel> = {}): SeenModel => ({
	wanted: made("old"),
	share: 0.1,
	now: 1000,
	count: 1,
	isUp: true,
	isReady: () => true,
	isThere: () => true,
	isPulled: true,
	problem: undefined,
	...over,
});

describe("a file", () => {
	test.each([
		[{ m: "text" }],
		[{ m: { current: made("old"), replicas: ["0"], leaving: [] } }],
		[{ m: { current: made("old"), replicas: [0], leaving: [], roll: { phase: "other" } } }],
	])("that holds no generations, %j, counts as one without", (generations) => {
		expect(new Generations(memory({ generations }), TIMES).of("m")).toBeUndefined();
	});

	test("has another start go on with the roll that was under way", () => {
		const file = memory();
		const first = new Generations(file, TIMES);
		first.begin("m", made("old"), 1, []);
		for (let at = 0; at < 3; at++) first.step("m", seen({ wanted: made("new") }), undefined);
		const second = new Generations(file, TIMES);
		expect(second.of("m")).toMatchObject({
			replicas: [0],
			roll: { phase: "canary", replicas: [1], to: { hash: "new" } },
		});
		expect([second.at("m#0")?.hash, second.at("m#1")?.hash]).toEqual(["old", "new"]);
		expect([second.shareOf("m", 0), second.shareOf("m", 1)]).toEqual([undefined, 0.1]);
	});
});

describe("a call of a generation", () => {
	const counted = async (status: number, chunks: readonly string[], isBroken = false) => {
		const counter = new CallCounter();
		const left = chunks.map((chunk) => new TextEncoder().encode(chunk));
		const body = {
			async read() {
				const chunk = left.shift();
				if (!chunk && isBroken) throw new Error("cut");
				return chunk;
			},
		};
		const answer: UpstreamAnswer = { status, headers: new Headers(), body };
		const { signal } = new AbortController();
		const read = counter.begin({ body: "{}", stream: true }).answered(answer, signal).body;
		try {
			while (await read.read());
		} catch {
			// As its caller would see it.
		}
		const { calls, errors, refused, firstToken, tokenTime } = counter;
		return { calls, errors, refused, firstTokens: firstToken.count, tokenTimes: tokenTime.count };
	};
	const none = { calls: 1, errors: 0, refused: 0, firstTokens: 0, tokenTimes: 0 };

	test.each([
		["that breaks is an error", 200, ["data: {}\n\n"], true, { ...none, errors: 1 }],
		["whose stream says an error is one", 200, ['data: {"error": {}}\n\n'], false, { ...none, errors: 1 }],
		["that fails is one", 500, [], false, { ...none, errors: 1 }],
		["that finds it full counts nowhere", 503, [], false, { ...none, calls: 0 }],
		["that is refused counts as that", 400, [], false, { ...none, refused: 1 }],
		["whose comments came alone has no first token", 200, [": 0\n\n"], false, none],
		[
			"that is well has its times",
			200,
			["data: {}\n\n", 'data: {"usage":{"completion_to', 'kens":20}}\n\n'],
			false,
			{ ...none, firstTokens: 1, tokenTimes: 1 },
		],
	] as const)("%s", async (_, status, chunks, isBroken, expected) => {
		expect(await counted(status, chunks, isBroken)).toEqual(expected);
	});

	test("that is refused again and again for the same is one refusal", () => {
		const counter = new CallCounter();
		for (let at = 0; at < 9; at++) counter.refuse("{}");
		counter.refuse("{ }");
		expect(counter.refused).toBe(2);
	});
});

describe("calls that name no replica", () => {
	const traffic = () => new Traffic({ size: 9, running: 9, waitMs: 1000 }, { progressText: () => "" }, { notify() {} });
	const address = (replica: number, share?: number) => ({ id: `c${replica}`, replica, origin: "http://x", share });

	test("go to the canary by its share, and all where nothing serves beside it", async () => {
		const calls = traffic();
		calls.open("m", [address(0), address(1, 0.25)], [0, 1]);
		const { signal } = new AbortController();
		const taken: number[] = [];
		for (let at = 0; at < 40; at++) {
			const lease = await calls.acquire("m", signal);
			taken.push(lease.replica);
			lease.release();
		}
		expect(taken.filter((each) => each === 1)).toHaveLength(10);
		calls.open("m", [address(1, 0.25)], [1]);
		expect((await calls.acquire("m", signal)).replica).toBe(1);
	});

	test("and those for one that was replaced go to any", async () => {
		const calls = traffic();
		calls.open("m", [address(0)], [0]);
		expect((await calls.acquire("m", new AbortController().signal, 7)).replica).toBe(0);
	});
});

test.each([
	[{ canary: "a tenth" }, 'The field "canary" must be a share such as 10%, from 0% to 100%'],
	[{ canary: "150%" }, 'The field "canary" must be a share such as 10%, from 0% to 100%; it is "150%".'],
	[{ image: "vllm sim" }, 'it is "vllm sim".'],
	[{ canary: 10 }, "it is a number."],
	[{ image: "--privileged" }, 'The field "image" must be an image such as'],
	[{ images: "i:1" }, 'There is no field "images" here.'],
])("an order of a roll that can't be taken, %j, says why", (body, message) => {
	expect(() => rollOrder(body)).toThrow(message);
});

test("`router models roll` takes a model, an image and a share, and these belong to nothing else", () => {
	expect(parseCommand(["models", "roll", "m", "--image", "i:1", "--canary", "5%"])).toMatchObject({
		do: "roll",
		roll: { model: "m", image: "i:1", canary: "5%", isWaiting: true },
	});
	expect(parseCommand(["models", "roll", "m", "--no-wait"])).toMatchObject({ roll: { model: "m", isWaiting: false } });
	for (const words of [
		["models", "roll"],
		["models", "--image", "i:1"],
		["models", "--no-wait"],
		["keys", "--canary", "5%"],
	]) {
		expect(() => parseCommand(words)).toThrow(UsageError);
	}
});
