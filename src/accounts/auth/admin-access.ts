/** Authentication of administrators. Keys are held as hashes and compared in constant time. */
import { timingSafeEqual } from "node:crypto";
import type { AdminKeyConfig } from "../../config/access.ts";
import { RouterError } from "../../errors.ts";
import { hashKey, hashOf, presentedSecret, whyUnknown } from "./keys.ts";

/** Authentication for /admin. */
export interface AdminAccess {
	/** The name of the key that a request carries. Throws `invalid_admin_key`. */
	authenticate(headers: Headers): string;
	/** The same without the throw. */
	find(headers: Headers): string | undefined;
}

/** Authentication by these keys: without keys every request is refused. */
export function createAdminAccess(keys: readonly AdminKeyConfig[]): AdminAccess {
	const known = keys.map(({ name, key }) => ({ name, hash: hashOf(key) }));
	const find = (headers: Headers): string | undefined => {
		const secret = presentedSecret(headers);
		if (secret === undefined || known.length === 0) return undefined;
		const hash = hashKey(secret);
		let found: string | undefined;
		// Every key is compared, whether or not one has matched, so that the time does not depend on the secret.
		for (const key of known) if (timingSafeEqual(key.hash, hash)) found = key.name;
		return found;
	};
	return {
		find,
		authenticate(headers) {
			const name = find(headers);
			if (name !== undefined) return name;
			throw new RouterError("invalid_admin_key", refusal(known.length > 0, headers));
		},
	};
}

function refusal(hasKeys: boolean, headers: Headers): string {
	if (!hasKeys) return "This router has no admin key: set ROUTER_ADMIN_KEYS or `admin.keys`.";
	return presentedSecret(headers) !== undefined
		? `This key is no admin key of this router${whyUnknown(headers)}.`
		: "No admin key: send one as `Authorization: Bearer …`.";
}
