/** Rules for keys, prices and proxies that a schema can't express. */
import { LazyCheck } from "../lazy-check.ts";
import { price as priceSchema } from "./access.ts";
import { parseAllowedHost } from "./allowed-host.ts";
import type { Finding, Path } from "./config-error.ts";
import { isRecord } from "./document.ts";
import { entries, type ListedEntry, repeated } from "./entries.ts";

const PRICE = new LazyCheck(priceSchema);

/** The form of a key that is given by its hash. */
const HASHED = /^sha256:/i;
const HASH = /^sha256:[0-9a-f]{64}$/i;
const ADMIN: Path = ["admin", "keys"];

/** Findings in `keys:`, `admin:`, `prices:` and `server.trusted_proxies`. */
export function accessRules(values: ListedEntry): Finding[] {
	const keys = entries(values["keys"]);
	const admins = entries(isRecord(values["admin"]) ? values["admin"]["keys"] : undefined);
	return [
		...repeated(keys, ["keys"], "name", "another key has this name too; names must differ"),
		...repeated(keys, ["keys"], "key", "another key has this secret too; each needs its own"),
		...hashes(keys, ["keys"]),
		...repeated(admins, ADMIN, "name", "another admin key has this name too; names must differ"),
		...repeated(admins, ADMIN, "key", "another admin key has this secret too; each needs its own"),
		...hashes(admins, ADMIN),
		...shared(keys, admins),
		...prices(values["prices"]),
		...proxies(isRecord(values["server"]) ? values["server"]["trusted_proxies"] : undefined),
	];
}

function hashes(found: readonly [number, ListedEntry][], path: Path): Finding[] {
	return found.flatMap(([index, { key }]) => {
		if (typeof key !== "string" || !HASHED.test(key) || HASH.test(key)) return [];
		return [{ path: [...path, index, "key"], message: "must be sha256: and 64 hexadecimal digits" }];
	});
}

/** A caller's key must not be an admin's key, too: it could make keys. */
function shared(keys: readonly [number, ListedEntry][], admins: readonly [number, ListedEntry][]): Finding[] {
	const secrets = new Set(keys.map(([, { key }]) => key));
	return admins.flatMap(([index, { key }]) => {
		if (typeof key !== "string" || !secrets.has(key)) return [];
		return [{ path: [...ADMIN, index, "key"], message: "is one of `keys:`, too; administration needs its own" }];
	});
}

/** A price must give a call's cost however its tokens are split. */
function prices(values: unknown): Finding[] {
	if (!isRecord(values)) return [];
	return Object.entries(values).flatMap(([name, price]) => {
		// The schema reports a mistake inside the price, which may be why one of the two seems to be missing.
		if (!PRICE.Check(price)) return [];
		const { input, output, gpu_hour, request, image, minute, characters, ...others } = price;
		const isWhole = [gpu_hour, request, image, minute, characters].some((each) => each !== undefined);
		const hasBoth = input !== undefined && output !== undefined;
		const hasTokens = input !== undefined || output !== undefined || Object.keys(others).length > 0;
		// Every name that is priced is `provider/model`; a star may stand for the slash.
		if (!/[/*]/.test(name)) {
			const message = `is no \`provider/model\`, and matches none: write "local/${name}" for a model of your agents, else its provider before it`;
			return [{ path: ["prices", name], of: "key" as const, message }];
		}
		if (hasBoth || (!hasTokens && isWhole)) return [];
		const message = "needs input and output, or gpu_hour, or request: a price that is missing is not zero";
		return [{ path: ["prices", name], message }];
	});
}

function proxies(list: unknown): Finding[] {
	if (!Array.isArray(list)) return [];
	return [...list.entries()].flatMap(([index, entry]) => {
		if (typeof entry !== "string" || parseAllowedHost(entry)?.kind === "block") return [];
		return [{ path: ["server", "trusted_proxies", index], message: "is no address or block such as 10.0.0.0/8" }];
	});
}
