/** API keys that were created at run time, wherever they are stored. Each replica holds all of them. */

/** What a key may take; what is absent is not limited. */
export interface KeyLimits {
	/** Requests and tokens a minute. */
	readonly rpm?: number | undefined;
	readonly tpm?: number | undefined;
	/** Calls at once. */
	readonly concurrency?: number | undefined;
	/** Largest input, estimated tokens. */
	readonly input?: number | undefined;
	/** USD that one session may spend within 24 hours. */
	readonly session_usd?: number | undefined;
}

/** What a key may spend. */
export interface Budget {
	readonly usd: number;
	readonly per: "day" | "month" | "total";
}

/** A key as it is stored: never its secret. Times are Unix times, ms. */
export interface StoredKey {
	/** Stays the same when the key is rotated. */
	readonly id: string;
	/** Unique among keys that are not revoked; shown in logs. */
	readonly name: string;
	readonly team?: string | undefined;
	/** SHA-256 of the secret, hex. */
	readonly hash: string;
	/** The secret before the last rotation, good until then. */
	readonly previous?: { readonly hash: string; readonly until: number } | undefined;
	/** The secret's first characters, to recognise it by: `rk-a1b2`. */
	readonly prefix?: string | undefined;
	readonly models: readonly string[];
	readonly limits: KeyLimits;
	readonly budget?: Budget | undefined;
	/** It may steer inference servers of the user's own; absent: it may not. */
	readonly engineFields?: boolean | undefined;
	/** What its calls ask and are answered goes to whoever collects traces; absent: it does not, and older routers send none of it. */
	readonly tracesContents?: boolean | undefined;
	/** It makes no calls, and sees what administrators see. Its `models` are none: to a router of an older version it is no use either. */
	readonly role?: "viewer" | undefined;
	readonly createdAt: number;
	/** When its secret was last replaced; absent: never, or by a router of an older version. */
	readonly rotatedAt?: number | undefined;
	/** Revoked keys stay, so that no replica that missed the change brings them back. */
	readonly revokedAt?: number | undefined;
	/** Of two versions of a key the settings of the one changed later count; a revoked one always. */
	readonly changedAt: number;
}

/** What a new key may do. */
export type NewKey = Pick<
	StoredKey,
	"name" | "team" | "models" | "limits" | "budget" | "engineFields" | "tracesContents" | "role"
>;

/**
 * The keys. `find` looks into memory; changes are written to the replica's own database before they return, and passed to
 * `onChange`, from where they reach other replicas.
 */
export interface KeyStore {
	/** By the hash of a presented secret (hex): a key that is valid now. */
	find(hash: string): StoredKey | undefined;
	/** All of them, revoked ones too, the oldest first. */
	list(): readonly StoredKey[];
	/**
	 * The only time that the secret is seen. Throws RouterError where the name is in use.
	 * @param configured names of keys in the configuration
	 */
	create(key: NewKey, configured?: readonly string[]): { readonly key: StoredKey; readonly secret: string };
	/** By id or name; undefined where there is none. */
	revoke(which: string): StoredKey | undefined;
	/** The old secret stays good for `overlapMs`. */
	rotate(which: string, overlapMs: number): { readonly key: StoredKey; readonly secret: string } | undefined;
	/** Takes over what another replica knows, by {@link mergedKey}. Returns the keys that this one did not have so, as they are now. */
	merge(keys: readonly StoredKey[]): readonly StoredKey[];
	/** The listener is called with every change made here (`create`, `edit`, `revoke`, `rotate`), not of those that `merge` brought. */
	onChange(listener: (key: StoredKey) => void): () => void;
}

/**
 * What counts of two versions of a key: the settings of the later one, and the secret that was made last, whoever changed the key since without having
 * heard of that. `held` itself where it has all of it. The same on every replica, in whatever order news come.
 */
export function mergedKey(other: StoredKey, held: StoredKey | undefined): StoredKey {
	if (!held) return other;
	const settings = isNewer(other, held) ? other : held;
	const secret = hasNewerSecret(other, held) ? other : held;
	if (settings.revokedAt !== undefined || settings.hash === secret.hash) return settings;
	const { hash, previous, prefix, rotatedAt } = secret;
	return { ...settings, hash, previous, prefix, rotatedAt };
}

/** The version of a key's secret, by which replicas order them; undefined where it goes by that of the key. */
export const secretVersion = ({ rotatedAt, revokedAt, hash }: StoredKey): number | undefined =>
	rotatedAt === undefined || revokedAt !== undefined
		? undefined
		: rotatedAt + Number.parseInt(hash.slice(0, 2), 16) / 256;

/** Above 0, below 1: orders two changes of a key in one millisecond. */
export const tieOf = (key: StoredKey): number => ((Bun.hash.xxHash32(JSON.stringify(key)) % 255) + 1) / 256;

function hasNewerSecret(other: StoredKey, held: StoredKey): boolean {
	const [made, known] = [other.rotatedAt ?? other.createdAt, held.rotatedAt ?? held.createdAt];
	if (made !== known) return made > known;
	// A router of an older version says nothing of when.
	return other.changedAt === held.changedAt ? other.hash > held.hash : other.changedAt > held.changedAt;
}

/** Whether `other` is a later version of the same key than `held`, but for its secret. The same on every replica, in whatever order news come. */
export function isNewer(other: StoredKey, held: StoredKey | undefined): boolean {
	if (!held) return true;
	if ((other.revokedAt === undefined) !== (held.revokedAt === undefined)) return other.revokedAt !== undefined;
	if (other.changedAt !== held.changedAt) return other.changedAt > held.changedAt;
	// Two changes in one millisecond: any order will do, as long as all agree.
	return tieOf(other) > tieOf(held);
}
