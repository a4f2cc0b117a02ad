/** Names of models: Ollama's have a tag, and without one they mean `:latest`, which its clients may write or not. */
import type { KnownModels } from "../dialect.ts";

const LATEST = ":latest";
const TAG = /:[^/:]*$/;

/** The name by which a model is known that a client asks for: with `:latest` or without it. As it was sent where neither is known. */
export function knownName(name: string, known: KnownModels | undefined): string {
	if (!known) return name;
	if (name.endsWith(LATEST)) {
		const plain = name.slice(0, -LATEST.length);
		return plain !== "" && known.find(plain) ? plain : name;
	}
	if (TAG.test(name) || known.find(name)) return name;
	const latest = name + LATEST;
	return known.find(latest) ? latest : name;
}
