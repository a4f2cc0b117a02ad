/** Authentication of administrators by their keys. These are held as hashes and compared in constant time. */
import { timingSafeEqual } from "node:crypto";
import type { AdminKeyConfig } from "../../config/access.ts";
import { RouterError } from "../../errors.ts";
import type { KeyStore, StoredKey } from "./key-store.ts";
import { hashKey, hashOf, presentedSecret, whyUnknown } from "./keys.ts";

/** What an administrator may: all, or see all and change nothing. */
export type AdminRole = NonNullable<AdminKeyConfig["role"]>;

/** Who administers. */
export interface Administrator {
	/** The name of the key. */
	readonly name: string;
	readonly role: AdminRole;
}

/** A key of `admin.keys`, or a viewer's that was made at run time. */
export interface AdminKey extends Administrator {
	/** SHA-256 of its secret. */
	readonly hash: Buffer;
}

/** Authentication for /admin. */
export interface AdminAccess {
	/** All there are. */
	readonly keys: readonly AdminKey[];
	/** The key of a secret. */
	keyOf(secret: string): AdminKey | undefined;
	/** Whose key a request carries. Throws `invalid_admin_key`. */
	authenticate(headers: Headers): Administrator;
	/** The same without the throw. */
	find(headers: Headers): Administrator | undefined;
}

/** Authentication by these keys: without keys every request is refused. @param stored keys that were made at run time, of which viewers' count */
export function createAdminAccess(
	configured: readonly AdminKeyConfig[],
	stored?: Pick<KeyStore, "find" | "list">,
): AdminAccess {
	const own = configured.map(({ name, key, role = "admin" }): AdminKey => ({ name, role, hash: hashOf(key) }));
	const keyOf = (secret: string): AdminKey | undefined => {
		const hash = hashKey(secret);
		const found = adminOf(own, hash);
		if (found) return found;
		// Looked up by its hash: what the time gives away of a hash leads to no secret.
		const made = stored?.find(hash.toString("hex"));
		return made?.role === "viewer" ? viewerOf(made) : undefined;
	};
	const find = (headers: Headers): AdminKey | undefined => {
		const secret = presentedSecret(headers);
		return secret === undefined ? undefined : keyOf(secret);
	};
	return {
		get keys() {
			const viewers =
				stored?.list().filter(({ role, revokedAt }) => role === "viewer" && revokedAt === undefined) ?? [];
			return [...own, ...viewers.map(viewerOf)];
		},
		keyOf,
		find,
		authenticate(headers) {
			const found = find(headers);
			if (found) return found;
			throw new RouterError("invalid_admin_key", adminRefusal(this.keys.length > 0, headers));
		},
	};
}

const viewerOf = ({ name, hash }: StoredKey): AdminKey => ({ name, role: "viewer", hash: Buffer.from(hash, "hex") });

/** The key with this hash. Every key is compared, whether or not one has matched, so that the time does not depend on the secret. */
function adminOf(keys: readonly AdminKey[], hash: Buffer): AdminKey | undefined {
	let found: AdminKey | undefined;
	for (const key of keys) if (timingSafeEqual(key.hash, hash)) found = key;
	return found;
}

/** Why a request is none of an administrator's. */
export function adminRefusal(hasKeys: boolean, headers: Headers): string {
	if (!hasKeys) return "This router has no admin key: set ROUTER_ADMIN_KEYS or `admin.keys`.";
	return presentedSecret(headers) !== undefined
		? `This key is no admin key of this router${whyUnknown(headers)}.`
		: "No admin key: send one as `Authorization: Bearer …`.";
}
