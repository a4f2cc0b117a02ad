/** What is known of a provider's keys: by one thread, and by several that share it. */
import type { Provider } from "../../src/providers/provider.ts";
import { AccountRing, type ProviderAccounts } from "../../src/proxy/key-rotation.ts";
import { type KeyMemory, makeKeys, SharedKeyRotation } from "../../src/proxy/shared-key-rotation.ts";

/** The second thread's clock is so far behind the first one's, ms. */
const OFFSET = 50_000;

/** A provider of this name, with these keys. */
export const providerWith = (name: string, [secret, ...others]: readonly string[]): Provider =>
	({ name, secret, otherAccounts: others.map((other) => ({ name, secret: other })) }) as unknown as Provider;

/** Two threads' views as if they were one: each step is the other one's. */
function alternating(size: number): ProviderAccounts {
	const memory: KeyMemory = makeKeys();
	const provider = providerWith(
		"p",
		Array.from({ length: size }, (_, at) => `key ${at}`),
	);
	const views = [0, OFFSET].map((offset, at) => ({
		offset,
		accounts: new SharedKeyRotation(memory, at + 1, offset, () => 0).accountsOf(provider, size),
	}));
	let steps = 0;
	const next = () => views[steps++ % 2]!;
	const on = <T>(now: number, step: (accounts: ProviderAccounts, now: number) => T): T => {
		const { accounts, offset } = next();
		return step(accounts, now - offset);
	};
	return {
		take: (model, now, tried) => on(now, (accounts, at) => accounts.take(model, at, tried)),
		takeAnyway: () => next().accounts.takeAnyway(),
		isReady: (index, model, now, isSole) => on(now, (accounts, at) => accounts.isReady(index, model, at, isSole)),
		has: (model, now, tried) => on(now, (accounts, at) => accounts.has(model, at, tried)),
		refusal: (model, now) => on(now, (accounts, at) => accounts.refusal(model, at)),
		outOfUse: (now) => on(now, (accounts, at) => accounts.outOfUse(at)),
		ended: (account, model, failure, now) => on(now, (accounts, at) => accounts.ended(account, model, failure, at)),
	};
}

/** Rows of tests that hold for each. */
export const KEY_KINDS: readonly (readonly [name: string, make: (size: number) => ProviderAccounts])[] = [
	["one thread", (size) => new AccountRing(size)],
	["two threads, by turns", alternating],
];
