/** The hash of a key that all tests have, for snapshots that are compared. */
import { HASH_KEY_BYTES, keyedHash } from "../../src/routing/keyed-hash.ts";

/** Hashes by it. */
export const HASH = keyedHash(() => new Uint8Array(HASH_KEY_BYTES));
