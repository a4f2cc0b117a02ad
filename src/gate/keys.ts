/** Who may call, and what. Keys are held as SHA-256 hashes and compared in constant time. */
import { timingSafeEqual } from "node:crypto";
import type { KeyConfig } from "../config/schema.ts";
import { RouterError } from "../errors.ts";

/** A key that was recognised. */
export interface Caller {
	readonly name: string;
	/** It may use some models only. */
	readonly isRestricted: boolean;
	/** Its place in a line: higher ones go first. */
	readonly priority: number;
	/** Whether it may use a model of that name. */
	mayUse(model: string): boolean;
}

/** The router's door. */
export interface Gate {
	/** No key is configured: everyone who gets through the keyless checks may call. */
	readonly isOpen: boolean;
	/** The caller; undefined where the gate is open. Throws `invalid_api_key`. */
	admit(headers: Headers): Caller | undefined;
}

interface StoredKey extends Caller {
	readonly hash: Buffer;
}

/** SHA-256 of a secret, as stored. */
export function hashKey(secret: string): Buffer {
	return new Bun.CryptoHasher("sha256").update(secret).digest() as Buffer;
}

/** The gate for the configured keys, and for one generated key's hash where there is one. */
export function createGate(keys: readonly KeyConfig[], generated?: Buffer): Gate {
	const stored: StoredKey[] = keys.map(({ name, key, models, priority = 0 }) => ({
		name,
		priority,
		hash: hashKey(key),
		isRestricted: !models.includes("*"),
		mayUse: allowing(models),
	}));
	if (generated)
		stored.push({ name: "generated", hash: generated, isRestricted: false, priority: 0, mayUse: () => true });
	return {
		isOpen: stored.length === 0,
		admit(headers) {
			if (stored.length === 0) return undefined;
			const secret = presentedSecret(headers);
			if (secret === undefined) {
				throw new RouterError("invalid_api_key", "No API key: send one as `Authorization: Bearer …`.");
			}
			const hash = hashKey(secret);
			let caller: Caller | undefined;
			// Every key is compared, whether or not one has matched: the time tells nothing.
			for (const key of stored) if (timingSafeEqual(key.hash, hash)) caller = key;
			if (!caller) throw new RouterError("invalid_api_key", "This API key is not known here.");
			return caller;
		},
	};
}

/** The key or token that a request carries: `Authorization: Bearer …`, `x-api-key` or `x-goog-api-key`. */
export function presentedSecret(headers: Headers): string | undefined {
	const bearer = /^Bearer\s+(\S+)\s*$/i.exec(headers.get("authorization") ?? "")?.[1];
	return bearer ?? headers.get("x-api-key") ?? headers.get("x-goog-api-key") ?? undefined;
}

/** `*` in a pattern stands for any text. */
function allowing(patterns: readonly string[]): (model: string) => boolean {
	if (patterns.includes("*")) return () => true;
	const parts = patterns.map((pattern) => pattern.split("*"));
	return (model) => parts.some((each) => matches(each, model));
}

/**
 * Whether the text is these parts with any text between them. By hand: as a regular expression, a pattern of twelve stars
 * and a long model name keep the process busy for hours.
 */
function matches([first = "", ...rest]: readonly string[], text: string): boolean {
	const last = rest.pop();
	if (last === undefined) return text === first;
	if (!text.startsWith(first)) return false;
	let at = first.length;
	for (const part of rest) {
		const found = text.indexOf(part, at);
		if (found === -1) return false;
		at = found + part.length;
	}
	return text.length - last.length >= at && text.endsWith(last);
}
