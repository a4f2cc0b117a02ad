/** Authentication of administrators by their keys. These are held as hashes and compared in constant time. */
import { timingSafeEqual } from "node:crypto";
import type { AdminKeyConfig } from "../../config/access.ts";
import { RouterError } from "../../errors.ts";
import { hashKey, hashOf, presentedSecret, whyUnknown } from "./keys.ts";

/** What an administrator may: all, or see all and change nothing. */
export type AdminRole = NonNullable<AdminKeyConfig["role"]>;

/** Who administers. */
export interface Administrator {
	/** The name of the key. */
	readonly name: string;
	readonly role: AdminRole;
}

/** A key of `admin.keys`. */
export interface AdminKey extends Administrator {
	/** SHA-256 of its secret. */
	readonly hash: Buffer;
}

/** Authentication for /admin. */
export interface AdminAccess {
	/** All there are. */
	readonly keys: readonly AdminKey[];
	/** Whose key a request carries. Throws `invalid_admin_key`. */
	authenticate(headers: Headers): Administrator;
	/** The same without the throw. */
	find(headers: Headers): Administrator | undefined;
}

/** Authentication by these keys: without keys every request is refused. */
export function createAdminAccess(configured: readonly AdminKeyConfig[]): AdminAccess {
	const keys = configured.map(({ name, key, role = "admin" }): AdminKey => ({ name, role, hash: hashOf(key) }));
	const find = (headers: Headers): Administrator | undefined => {
		const secret = presentedSecret(headers);
		return secret === undefined ? undefined : adminOf(keys, hashKey(secret));
	};
	return {
		keys,
		find,
		authenticate(headers) {
			const found = find(headers);
			if (found) return found;
			throw new RouterError("invalid_admin_key", adminRefusal(keys.length > 0, headers));
		},
	};
}

/** The key with this hash. Every key is compared, whether or not one has matched, so that the time does not depend on the secret. */
export function adminOf(keys: readonly AdminKey[], hash: Buffer): AdminKey | undefined {
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
