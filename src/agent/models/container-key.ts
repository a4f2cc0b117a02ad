/**
 * The API key of one container's vLLM. It is made from the agent's own key and a word that the container's label holds: the agent finds it again
 * after a restart, each start has another one, and who has read one (`docker inspect` shows it to who may use the engine) has no other.
 */

/** The label with the word. */
export const KEY_LABEL = "router.key";

/** A word for a container that is started now. */
export function newKeyWord(): string {
	return Buffer.from(crypto.getRandomValues(new Uint8Array(12))).toString("hex");
}

/** The key of the container with that word; the agent's own for one that an older version has started, without. */
export function containerKey(agentKey: string, word: string | undefined): string {
	if (word === undefined) return agentKey;
	return new Bun.CryptoHasher("sha256", agentKey).update(word).digest("base64url");
}
