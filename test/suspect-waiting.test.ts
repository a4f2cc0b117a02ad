/** A call that waits for an engine that died of it: what it takes from others meanwhile. */
import { afterEach, describe, expect, test } from "bun:test";
import { fleet, say, stopEngines } from "./kit/scripted-engines.ts";
import { until } from "./kit/until.ts";

afterEach(stopEngines);

describe("a suspected call whose engine is busy once it is back", () => {
	test("is made again only within the budget of retries", async () => {
		const { router, engines } = fleet(1);
		const [engine] = engines;
		const { retries } = router.context.state;
		const call = say(router, "x");
		await until(() => engine!.held.length === 1);
		engine!.die();
		await until(() => engine!.asked > 0, "a question how it is");
		let hasBudget = false;
		let asked = 0;
		retries.has = () => {
			asked++;
			return hasBudget;
		};
		let spent = 0;
		retries.spend = () => void spent++;
		engine!.busy(true);
		engine!.restart();
		await until(() => engine!.refused === 1, "the trial");
		engine!.busy(false);
		await until(() => asked >= 3, "a look at the budget");
		expect([engine!.refused, engine!.held.length, spent]).toEqual([1, 0, 0]);
		hasBudget = true;
		(await engine!.next("x")).answer();
		expect((await call).status).toBe(200);
		expect(spent).toBe(1);
	});
});

describe("a suspected call that waits", () => {
	test("leaves its place among the calls that its model has at once to others, and takes one again", async () => {
		const models = [{ name: "n", targets: ["box0/model"] }];
		const { router, engines } = fleet(2, { alias: { concurrency: 1, queue: 5 }, models });
		const [first, second] = engines;
		const suspect = say(router, "x");
		await until(() => first!.held.length === 1);
		first!.die();
		await until(() => first!.asked > 0, "a question how it is");
		const other = say(router, "y");
		const running = await second!.next("y");
		const another = say(router, "z");
		first!.restart();
		const queue = router.context.state.queue("m", { concurrency: 1, size: 5 });
		await until(() => queue.waiting === 2, "both to wait for a place");
		expect(first!.held.length).toBe(0);
		running.answer();
		expect((await other).status).toBe(200);
		(await first!.next("x")).answer();
		expect((await suspect).status).toBe(200);
		await until(() => first!.held.length + second!.held.length === 1, "the call that waited behind both");
		(await (first!.held.length === 1 ? first : second)!.next("z")).answer();
		expect((await another).status).toBe(200);
	});
});
