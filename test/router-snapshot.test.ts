/** A snapshot of the configuration: what a reload makes anew, and what it shares with the one before. */
import { expect, test } from "bun:test";
import { createKeyAuth } from "../src/accounts/auth/keys.ts";
import { FindingsError } from "../src/config/config-error.ts";
import { NO_FLEET } from "../src/routing/agent-targets.ts";
import { RouterState } from "../src/server/router-state.ts";
import { routerSnapshot } from "../src/server/snapshot.ts";
import { directory } from "./kit/cli.ts";
import type { Json } from "./kit/exchange.ts";
import { configOf, entriesOf } from "./kit/pipeline.ts";

/** Makes snapshots on one state, as reloads do. */
function snapshots(path: string) {
	const state = new RouterState(configOf({}, { DATA_DIR: path }));
	return (settings: Json) => {
		const config = configOf(settings, { DATA_DIR: path });
		const services = { fleet: NO_FLEET, state, onRefused: undefined };
		return routerSnapshot(config, entriesOf(config), createKeyAuth(config.keys), services);
	};
}

test("a configuration whose models lead nowhere makes none", () => {
	using home = directory();
	const snapshotOf = snapshots(home.path);
	expect(() => snapshotOf({ models: [{ name: "fast", targets: ["nowhere/x"] }] })).toThrow(FindingsError);
});

test("another one leaves the one before as it was", () => {
	using home = directory();
	const snapshotOf = snapshots(home.path);
	const admin = (key: string) => new Headers({ authorization: `Bearer ${key}` });
	const before = snapshotOf({
		models: [{ name: "fast", targets: ["dummy"] }],
		admin: { keys: [{ name: "root", key: "an-admin-key-of-before" }] },
	});
	const after = snapshotOf({ admin: { keys: [{ name: "root", key: "an-admin-key-of-after" }] } });
	expect([before.catalog.find("fast") !== undefined, after.catalog.find("fast")]).toEqual([true, undefined]);
	expect(before.admin.find(admin("an-admin-key-of-before"))).toMatchObject({ name: "root", role: "admin" });
	expect(before.admin.find(admin("an-admin-key-of-after"))).toBeUndefined();
	expect(after.admin.find(admin("an-admin-key-of-after"))).toMatchObject({ name: "root", role: "admin" });
	expect(after.admin.find(admin("an-admin-key-of-before"))).toBeUndefined();
});

test("what has been counted is shared: a limit that was used up stays so in the next one", () => {
	using home = directory();
	const snapshotOf = snapshots(home.path);
	const keys = [{ name: "team-a", key: "a-key-of-team-a-1", rpm: 1 }];
	const reserve = () => ({ prompt: 0, answer: 0, isAnswerLimited: false, usd: 0 });
	const cost = { reserve, learned: undefined, learn: () => {} };
	const enter = ({ auth, accounts }: ReturnType<typeof snapshotOf>) => {
		const caller = auth.authenticate(new Headers({ authorization: "Bearer a-key-of-team-a-1" }));
		return accounts.admission.enter({ caller, cost, names: [], address: undefined });
	};
	enter(snapshotOf({ keys }));
	expect(() => enter(snapshotOf({ keys, models: [{ name: "fast", targets: ["dummy"] }] }))).toThrow(/limit/i);
});
