/** What keys, limits, a budget, prices and the ledger cost a call, µs: `bun test/bench/accounts-cost.ts`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKeyAuth } from "../../src/accounts/auth/keys.ts";
import { AdmissionControl } from "../../src/accounts/limits/admission.ts";
import { SlidingWindowLimiter } from "../../src/accounts/limits/sliding-window.ts";
import { CallCost } from "../../src/accounts/usage/call-cost.ts";
import { HardwareClocks } from "../../src/accounts/usage/hardware-clocks.ts";
import { LearnedUsage } from "../../src/accounts/usage/learned-usage.ts";
import { Ledger } from "../../src/accounts/usage/ledger.ts";
import { LocalSpend } from "../../src/accounts/usage/local-spend.ts";
import { PriceBook } from "../../src/accounts/usage/price-book.ts";
import { chargeFor } from "../../src/accounts/usage/rates.ts";
import { estimatedTokens } from "../../src/accounts/usage/token-estimate.ts";
import { parseRequest } from "../../src/dialects/openai-chat.ts";
import { withCost } from "../../src/openai/usage-edits.ts";
import { newRequestId } from "../../src/request-id.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { GUARDED, KEY } from "./subject.ts";
import { ANSWER, request } from "./wire.ts";

const ROUNDS = 100_000;
const directory = mkdtempSync(join(tmpdir(), "accounts-cost-"));

/** @param pause after each 250: what a thread has done is heard of between calls */
async function cost(name: string, once: (at: number) => unknown, pause?: () => Promise<unknown>): Promise<void> {
	const run = async (rounds: number) => {
		for (let at = 0; at < rounds; at++) {
			once(at);
			if (pause && at % 250 === 249) await pause();
		}
	};
	await run(ROUNDS / 5);
	// Of this process's own CPU time, all its threads: others may be at work on the machine.
	const began = process.cpuUsage();
	await run(ROUNDS);
	const { user, system } = process.cpuUsage(began);
	console.log(`${name.padEnd(60)} ${((user + system) / ROUNDS).toFixed(2)} µs`);
}

const auth = createKeyAuth(GUARDED.keys.map((key) => ({ models: ["*"], ...key })) as never);
const headers = new Headers({ authorization: `Bearer ${KEY}` });
await cost("a key among ten", () => auth.authenticate(headers));

const store = sqliteStore(directory, console.error);
const parsed = { ...parseRequest("chat", request({ model: "openai/bench" })), operation: "chat" as const };
await cost("the estimate of a prompt of 1 KB", () => estimatedTokens(parsed));

const book = new PriceBook(GUARDED.prices as never);
const target = { id: "openai/bench", model: "bench", provider: { name: "openai", priceId: "openai" } };
const rates = () => book.of(target).rates!;
const tokens = { input: 200, output: 198, cached: 20 };
await cost("its price", () => chargeFor(rates(), tokens));
await cost("its cost in the answer", () => withCost(ANSWER.openai, 0.000446));

const control = new AdmissionControl({
	limits: GUARDED.limits,
	counters: { limiter: new SlidingWindowLimiter(), spend: new LocalSpend(store.ledger) },
});
const caller = auth.authenticate(headers)!;
const usage = { prices: book, learned: new LearnedUsage(), clocks: new HardwareClocks() };
const names = ["openai/bench", "bench"];
await cost("limits, budget and cost, entered, billed and settled", () => {
	const callCost = new CallCost(parsed, caller, { targets: [target], label: "bench" }, usage);
	const admission = control.enter({ caller, cost: callCost, names, address: undefined });
	const used = { target, tokens, upstreamCost: undefined, gpuMs: 0, isCounted: true, guess: () => 0 };
	const { usd } = callCost.bill(used);
	if (!admission || admission instanceof Promise) return;
	admission.settle({ tokens, usd, isConclusive: true });
});

const ledger = new Ledger({ store: store.ledger, bounds: { keep: 30 * 86_400_000, size: 1e9 } });
await cost(
	"the ledger's rows of a call and its attempt",
	() => {
		const id = newRequestId();
		ledger.attemptClosed({
			callId: id,
			number: 1,
			provider: "openai",
			target: "openai/bench",
			status: 200,
			ms: 12.3,
			tokens,
		});
		ledger.callSettled({
			id,
			operation: "chat",
			stream: false,
			requested: "openai/bench",
			model: "bench",
			provider: "openai",
			target: "openai/bench",
			status: 200,
			attempts: 1,
			ms: 13.1,
			tokens,
			cost: 0.000446,
			bill: { source: "prices", isEstimated: false, price: rates() },
			key: "bench",
			keyId: "config:bench",
			reason: "provider openai",
		});
	},
	() => ledger.flush(),
);
await ledger.flush();
store.close();
rmSync(directory, { recursive: true, force: true });
