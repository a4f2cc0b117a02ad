/** Hashes that say of two values whether they are the same, and of one nothing to whoever lacks the key. */
import { createCipheriv } from "node:crypto";

/** Bytes of a value, and of its hash. */
export const HASHED_BYTES = 16;
/** Bytes of a key. */
export const HASH_KEY_BYTES = 16;

/** Hashes values of {@link HASHED_BYTES} that stand one behind the other: as many bytes, in the same order. */
export type KeyedHash = (values: Uint8Array) => Uint8Array;

/**
 * The hash of a key: AES-128, a value a block, which no guess of a value can be tried against without the key. All values of a call take one
 * call of it, a few microseconds.
 * @param keyOf asked for the key when the first value is hashed; {@link HASH_KEY_BYTES} bytes
 */
export function keyedHash(keyOf: () => Uint8Array): KeyedHash {
	let cipher: ReturnType<typeof createCipheriv> | undefined;
	return (values) => {
		// Blocks of this mode have nothing to do with each other, so one cipher serves all calls.
		cipher ??= createCipheriv("aes-128-ecb", keyOf(), null).setAutoPadding(false);
		return cipher.update(values);
	};
}
