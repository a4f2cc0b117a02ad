/** Three routers that tell each other what they know choose replicas as well as one: in simulated time, whatever the machine. */
import { expect, test } from "bun:test";
import { conversations, sharedPrompts, unrelated } from "./bench/routing-workloads.ts";
import { simulate } from "./kit/simulated-replicas.ts";

const SECONDS = 60;
/** What a message takes from one router to the other: Redis in the same data centre, and two event loops. */
const MESSAGE_MS = 2;

/** Mean of the times to the first token over several runs, ms: of one run it is about chance. */
async function mean(chats: Parameters<typeof simulate>[0]["chats"], routers: number, messageMs: number | undefined) {
	const runs: number[] = [];
	for (let seed = 1; seed <= 4; seed++) runs.push(...(await simulate({ chats, routers, messageMs, seed })));
	return runs.reduce((sum, ms) => sum + ms, 0) / runs.length;
}

test.each([sharedPrompts(SECONDS), conversations(SECONDS), unrelated(SECONDS)])(
	"$name: the mean time to the first token of three is that of one but for a tenth; of three that know nothing of each other it is not",
	async ({ chats }) => {
		const one = await mean(chats, 1, undefined);
		const three = await mean(chats, 3, MESSAGE_MS);
		const strangers = await mean(chats, 3, undefined);
		expect(three / one).toBeLessThanOrEqual(1.1);
		expect(strangers / one).toBeGreaterThan(1.1);
	},
	60_000,
);
