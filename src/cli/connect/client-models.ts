/** Which models a client is given where the user names none. Pure. */
import type { ConnectOptions } from "./connect-args.ts";

/** A model of the router's list. */
export interface ListedName {
	readonly id: string;
	readonly owned_by?: string;
}

/** The models that a client is given, the first being the one it starts with, and why. */
export interface ClientModels {
	/** None: the client's own choice stays. */
	readonly names: readonly string[];
	readonly note?: string;
}

/** More are too many for a list to choose from. */
const MOST = 20;
/** Names of models that can't hold a conversation. */
const NO_CHAT = /embed|rerank|moderation|whisper|transcri|tts|audio|realtime|image|dall-e|imagen|veo|sora/i;

/**
 * Chooses the models. `family`: names that the client asks for of itself; a router that lists one of those needs no choice. Undefined
 * where the list is needed and not known.
 */
export function chosenModels(
	options: Pick<ConnectOptions, "client" | "models">,
	family: RegExp | undefined,
	listed: readonly ListedName[] | undefined,
): ClientModels | undefined {
	if (options.models.length > 0) return { names: options.models, ...unlisted(options.models, listed) };
	if (listed === undefined) return family ? { names: [] } : undefined;
	const ids = listed.map(({ id }) => id);
	if (family && ids.some((id) => family.test(id))) return { names: [] };
	const able = listed.filter(({ id }) => id !== "dummy" && !NO_CHAT.test(id) && !id.includes("*"));
	// Names of the configuration were chosen by somebody; then what runs on this router's own GPUs.
	const rank = ({ id, owned_by }: ListedName) => (owned_by === "router" ? 0 : id.startsWith("local/") ? 1 : 2);
	const names = able.toSorted((a, b) => rank(a) - rank(b)).map(({ id }) => id);
	const all = names.length > 0 ? names : ids.filter((id) => id === "dummy");
	const [first] = all;
	if (first === undefined) return family ? { names: [] } : undefined;
	const note = `The model is ${first}, the first that suits of ${all.length}: --model takes another, \`router models\` lists them.`;
	return { names: all.slice(0, MOST), note };
}

function unlisted(models: readonly string[], listed: readonly ListedName[] | undefined): { note?: string } {
	const missing = listed === undefined ? [] : models.filter((model) => !listed.some(({ id }) => id === model));
	if (missing.length === 0) return {};
	return {
		note: `The router does not list ${missing.join(", ")}: \`router explain ${missing[0]}\` says where a call would go.`,
	};
}
