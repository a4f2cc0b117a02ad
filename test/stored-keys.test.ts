/** Keys that are created at run time: shown once, stored as hashes, revoked at once. */
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StoredKey } from "../src/accounts/auth/key-store.ts";
import { createKeyAuth, hashKey } from "../src/accounts/auth/keys.ts";
import { keyIn, StoredKeys } from "../src/accounts/auth/stored-keys.ts";
import { RouterError } from "../src/errors.ts";
import { MIGRATIONS } from "../src/store/migrations.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { directory } from "./kit/cli.ts";

const asked = { name: "team-a", team: "red", models: ["fast", "local/*"], limits: { rpm: 60 }, budget: undefined };
const HOUR = 3_600_000;

/** Keys in a data directory, on a clock of the test's. */
function keysIn(path: string, clock = { wall: 1_790_000_000_000, time: 0 }) {
	const store = sqliteStore(path, (problem) => {
		throw new Error(problem);
	});
	const keys = new StoredKeys({ store, wall: () => clock.wall, time: () => clock.time });
	const auth = createKeyAuth([], undefined, undefined, keys);
	const name = (secret: string) => {
		// A change by another process is looked for no more often than every 2 ms.
		clock.time += 2;
		try {
			return auth.authenticate(new Headers({ authorization: `Bearer ${secret}` }))?.name;
		} catch (thrown) {
			return thrown instanceof RouterError ? thrown.errorCode : thrown;
		}
	};
	return { store, keys, auth, name, clock };
}

describe("a key", () => {
	test("is 256 random bits behind a prefix, and only its hash is kept", () => {
		using home = directory();
		const { keys, store, name } = keysIn(home.path);
		const { key, secret } = keys.create(asked);
		expect(secret).toMatch(/^rk-[\w-]{43}$/);
		expect(key).toMatchObject({ ...asked, hash: hashKey(secret).toString("hex"), prefix: secret.slice(0, 7) });
		expect(name(secret)).toBe("team-a");
		expect(name(`${secret}x`)).toBe("invalid_api_key");
		store.close();
		for (const file of ["router.db", "router.db-wal"]) {
			try {
				expect(readFileSync(join(home.path, file), "latin1")).not.toContain(secret.slice(8));
			} catch (error) {
				expect((error as NodeJS.ErrnoException).code).toBe("ENOENT");
			}
		}
	});

	test("makes the caller that its settings say, the same one each time", () => {
		using home = directory();
		const { keys, auth } = keysIn(home.path);
		const { secret, key } = keys.create({ ...asked, budget: { usd: 5, per: "day" } });
		const headers = new Headers({ "x-api-key": secret });
		const caller = auth.authenticate(headers);
		expect(caller).toMatchObject({
			id: key.id,
			name: "team-a",
			team: "red",
			isRestricted: true,
			limits: { rpm: 60 },
			budget: { usd: 5, per: "day" },
		});
		expect([caller?.mayUse("fast"), caller?.mayUse("local/x"), caller?.mayUse("slow")]).toEqual([true, true, false]);
		expect(auth.authenticate(headers)).toBe(caller);
	});

	test("is known after a restart", () => {
		using home = directory();
		const first = keysIn(home.path);
		const { secret } = first.keys.create(asked);
		first.store.close();
		expect(keysIn(home.path).name(secret)).toBe("team-a");
	});

	test("has a name of its own among those in use, those of the configuration among them", () => {
		using home = directory();
		const { keys } = keysIn(home.path);
		keys.create(asked);
		for (const name of ["team-a", "of-config"]) {
			expect(() => keys.create({ ...asked, name }, ["of-config"])).toThrow(`There is a key called "${name}"`);
		}
		keys.revoke("team-a");
		expect(keys.create(asked).key.name).toBe("team-a");
		expect(keys.list().map(({ name, revokedAt }) => [name, revokedAt !== undefined])).toEqual([
			["team-a", true],
			["team-a", false],
		]);
	});

	test("that is revoked is refused from the next call on, and keeps the auth shut", () => {
		using home = directory();
		const { keys, auth, name } = keysIn(home.path);
		expect(auth.isKeyless).toBe(true);
		const { secret, key } = keys.create(asked);
		expect(auth.isKeyless).toBe(false);
		expect(keys.revoke(key.id)?.name).toBe("team-a");
		expect(name(secret)).toBe("invalid_api_key");
		expect(auth.isKeyless).toBe(false);
		expect(keys.revoke(key.id)).toBeUndefined();
	});

	test("that is rotated has two secrets for as long as they may overlap, and the same id", () => {
		using home = directory();
		const { keys, name, clock } = keysIn(home.path);
		const { secret: old, key } = keys.create(asked);
		const rotated = keys.rotate("team-a", HOUR)!;
		expect(rotated.key.id).toBe(key.id);
		expect([name(old), name(rotated.secret)]).toEqual(["team-a", "team-a"]);
		clock.wall += HOUR;
		expect([name(old), name(rotated.secret)]).toEqual(["invalid_api_key", "team-a"]);
		const third = keys.rotate("team-a", 0)!;
		expect([name(rotated.secret), name(third.secret)]).toEqual(["invalid_api_key", "team-a"]);
		keys.rotate("team-a", HOUR);
		keys.revoke("team-a");
		expect(name(third.secret)).toBe("invalid_api_key");
	});
});

describe("what another process changes in the database", () => {
	test("is heard of within 2 ms of its end: a key that is made, rotated, revoked there", () => {
		using home = directory();
		const router = keysIn(home.path);
		expect(router.name("rk-unknown")).toBeUndefined();
		const other = keysIn(home.path);
		const heard: string[] = [];
		router.keys.onChange(({ name, revokedAt }) => heard.push(`${name} ${revokedAt ? "revoked" : "in use"}`));
		const { secret } = other.keys.create(asked);
		expect(router.name(secret)).toBe("team-a");
		const { secret: second } = other.keys.rotate("team-a", 0)!;
		expect([router.name(secret), router.name(second)]).toEqual(["invalid_api_key", "team-a"]);
		other.keys.revoke("team-a");
		expect(router.name(second)).toBe("invalid_api_key");
		expect(heard).toEqual(["team-a in use", "team-a in use", "team-a revoked"]);
	});

	test("is nothing: a database that holds rubbish is read as far as it makes sense", () => {
		using home = directory();
		const { keys, store } = keysIn(home.path);
		const { key } = keys.create(asked);
		const rubbish = ["{", "null", JSON.stringify({ ...key, hash: "zz" }), JSON.stringify({ ...key, models: "all" })];
		store.saveKeys(rubbish.map((value, at) => ({ id: `key_${at}`, value })));
		expect(keysIn(home.path).keys.list()).toEqual([key]);
		expect(keyIn(JSON.stringify(key))).toEqual(key);
	});

	test("may be of another version: an older one says nothing of contents, and what a newer one says more outlives a change", () => {
		using home = directory();
		const { keys, store, auth } = keysIn(home.path);
		const { key, secret } = keys.create({ ...asked, tracesContents: true });
		const headers = new Headers({ "x-api-key": secret });
		expect(auth.authenticate(headers)?.tracesContents).toBe(true);
		const { tracesContents: _, ...older } = { ...key, changedAt: key.changedAt + 1 };
		const newer = { ...key, changedAt: key.changedAt + 2, ofLater: [1] };
		const callers = [older, newer].map((stored) => {
			keys.merge([stored]);
			return auth.authenticate(headers)?.tracesContents;
		});
		expect(callers).toEqual([undefined, true]);
		expect(keys.edit("team-a", (held) => ({ ...held, tracesContents: undefined }))).toMatchObject({ ofLater: [1] });
		store.close();
		const [kept] = keysIn(home.path).keys.list();
		expect([kept!.tracesContents, (kept as { ofLater?: unknown }).ofLater]).toEqual([undefined, [1]]);
	});
});

describe("where the database", () => {
	/** What a disk that can only be read is to SQLite: it can't have its files beside the database. */
	const readOnly = (path: string) => mkdirSync(join(path, "router.db-shm"));
	const closed = (path: string) => {
		const { store, keys } = keysIn(path);
		const { secret } = keys.create(asked);
		store.close();
		return secret;
	};
	const opened = (path: string) => {
		const problems: string[] = [];
		const keys = new StoredKeys({ store: sqliteStore(path, (problem) => problems.push(problem)) });
		const auth = createKeyAuth([], undefined, undefined, keys);
		const name = (secret: string) => auth.authenticate(new Headers({ authorization: `Bearer ${secret}` }))?.name;
		return { problems, keys, auth, name };
	};

	test("can only be read, the keys in it are good", () => {
		using home = directory();
		const secret = closed(home.path);
		readOnly(home.path);
		const { problems, keys, auth, name } = opened(home.path);
		expect([auth.isKeyless, name(secret), problems.length]).toEqual([false, "team-a", 1]);
		keys.revoke("team-a");
		expect(() => name(secret)).toThrow("not known");
	});

	test.each([
		["a newer router made it", (db: Database) => db.run(`PRAGMA user_version = ${MIGRATIONS.length + 1}`)],
		["no router made it", (db: Database) => db.run("PRAGMA user_version = 0")],
		["its keys are gone", (db: Database) => db.run("DROP TABLE keys")],
	])("can only be read, and %s, the auth stays shut", (_, change) => {
		using home = directory();
		const secret = closed(home.path);
		const db = new Database(join(home.path, "router.db"));
		change(db);
		db.close();
		readOnly(home.path);
		const { problems, auth, name } = opened(home.path);
		expect([auth.isKeyless, problems.length]).toEqual([false, 1]);
		expect(() => name(secret)).toThrow("not known");
	});

	test("can't be read, the auth stays shut: there may be keys in it", () => {
		using home = directory();
		const secret = closed(home.path);
		writeFileSync(join(home.path, "router.db"), "x".repeat(4096));
		const { problems, auth, name } = opened(home.path);
		expect([auth.isKeyless, problems.length]).toEqual([false, 1]);
		expect(() => name(secret)).toThrow("not known");
	});

	test("is whole but for where the keys stand, the auth stays shut, too", () => {
		using home = directory();
		const secret = closed(home.path);
		const file = join(home.path, "router.db");
		const db = new Database(file);
		db.run("PRAGMA wal_checkpoint(TRUNCATE)");
		const { rootpage } = db.query("SELECT rootpage FROM sqlite_master WHERE name = 'keys'").get() as {
			rootpage: number;
		};
		const { page_size: size } = db.query("PRAGMA page_size").get() as { page_size: number };
		db.close();
		const bytes = readFileSync(file);
		writeFileSync(file, bytes.fill(0xff, (rootpage - 1) * size, rootpage * size));
		const { problems, auth, name } = opened(home.path);
		expect([auth.isKeyless, problems.length]).toEqual([false, 1]);
		expect(() => name(secret)).toThrow("not known");
	});
});

describe("what other replicas know", () => {
	const key = (rest: Partial<StoredKey> = {}): StoredKey => ({
		id: "key_1",
		name: "shared",
		hash: "a".repeat(64),
		models: ["*"],
		limits: {},
		createdAt: 1,
		changedAt: 1,
		...rest,
	});

	test("is taken over, the later version of each, and kept", () => {
		using home = directory();
		const { keys, store } = keysIn(home.path);
		expect(keys.merge([key()])).toEqual([key()]);
		expect(keys.merge([key()])).toEqual([]);
		const later = key({ hash: "b".repeat(64), changedAt: 2 });
		expect(keys.merge([later])).toEqual([later]);
		expect(keys.merge([key()])).toEqual([]);
		expect([keys.find("a".repeat(64)), keys.find("b".repeat(64))]).toEqual([undefined, later]);
		store.close();
		expect(keysIn(home.path).keys.list()).toEqual([later]);
	});

	test("of a new secret outlives changes of who had not heard of it, in whatever order news come", () => {
		using here = directory();
		using there = directory();
		const [one, other] = [keysIn(here.path), keysIn(there.path)];
		const { secret, key: made } = one.keys.create(asked);
		other.keys.merge([made]);
		const { secret: newSecret, key: rotated } = one.keys.rotate("team-a", 0)!;
		other.clock.wall += HOUR;
		const edited = other.keys.edit("team-a", (key) => ({ ...key, limits: { rpm: 7 } }))!;
		one.keys.merge([edited]);
		other.keys.merge([rotated]);
		for (const { name, keys } of [one, other]) {
			expect([name(secret), name(newSecret)]).toEqual(["invalid_api_key", "team-a"]);
			expect(keys.list()[0]!.limits).toEqual({ rpm: 7 });
		}
		expect(one.keys.list()).toEqual(other.keys.list());
		one.store.close();
		expect(keysIn(here.path).name(newSecret)).toBe("team-a");
	});

	test("of a new secret outlives changes of another process that has not looked since", () => {
		using home = directory();
		const [one, other] = [keysIn(home.path), keysIn(home.path)];
		const { secret } = one.keys.create(asked);
		expect(other.name(secret)).toBe("team-a");
		const { secret: newSecret } = one.keys.rotate("team-a", HOUR)!;
		other.clock.wall += HOUR / 2;
		expect(other.keys.edit("team-a", (key) => ({ ...key, limits: { rpm: 7 } }))?.limits).toEqual({ rpm: 7 });
		for (const { name, keys, clock } of [one, other]) {
			expect([name(newSecret), name(secret)]).toEqual(["team-a", "team-a"]);
			expect(keys.list()[0]!.limits).toEqual({ rpm: 7 });
			clock.wall += HOUR;
			expect(name(secret)).toBe("invalid_api_key");
		}
		expect(one.keys.list()).toEqual(other.keys.list());
		one.store.close();
		other.store.close();
		const later = keysIn(home.path);
		expect([later.name(newSecret), later.name(secret)]).toEqual(["team-a", "team-a"]);
	});

	test("of two changes in one millisecond is the same at both", () => {
		using here = directory();
		using there = directory();
		const [one, other] = [keysIn(here.path).keys, keysIn(there.path).keys];
		const [first, second] = [key({ limits: { rpm: 1 } }), key({ limits: { rpm: 2 } })];
		one.merge([first]);
		other.merge([second]);
		one.merge([second]);
		other.merge([first]);
		expect(one.list()).toEqual(other.list());
	});

	test("never brings a revoked key back, and is told to nobody", () => {
		using home = directory();
		const { keys } = keysIn(home.path);
		const heard: StoredKey[] = [];
		keys.onChange((changed) => heard.push(changed));
		keys.merge([key({ revokedAt: 5, changedAt: 5 })]);
		keys.merge([key({ changedAt: 9 })]);
		expect(keys.find("a".repeat(64))).toBeUndefined();
		expect(heard).toEqual([]);
	});
});
