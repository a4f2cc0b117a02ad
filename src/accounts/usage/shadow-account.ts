/** Whose the copies of calls are (`shadow` of a model): an account for each model that has the setting, beside those of keys. */

/** What the ids of these accounts begin with, in limits, spending and the ledger; the model's name follows. No key has such an id. */
export const SHADOW_ID = "shadow:";

/** Whether an id is one of these. */
export const isShadow = (keyId: string): boolean => keyId.startsWith(SHADOW_ID);
