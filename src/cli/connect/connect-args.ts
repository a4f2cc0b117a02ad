/** The arguments of `router connect`. Pure. */
import { didYouMean } from "../../config/did-you-mean.ts";

/** The clients that the command knows. */
export const CLIENT_NAMES = [
	"claude-code",
	"codex",
	"opencode",
	"gemini-cli",
	"aider",
	"continue",
	"open-webui",
] as const;
export type ClientName = (typeof CLIENT_NAMES)[number];

/** What is to be done for which client. Texts as they were typed. */
export interface ConnectOptions {
	readonly client: ClientName;
	/** `print` changes nothing. */
	readonly action: "print" | "write" | "undo";
	/** Somebody else's values are replaced, too. */
	readonly isOverwriting: boolean;
	/** The first is the one that the client starts with; none leaves the choice to the client or to the router's list. */
	readonly models: readonly string[];
	/** `-`: on stdin. */
	readonly key?: string;
}

/** Clients that can be given several models to choose from. */
const SEVERAL_MODELS: readonly ClientName[] = ["opencode", "continue"];

/** Parses the words behind `connect` and its flags; where they are wrong, a message that says why. */
export function parseConnectArgs(
	words: string[],
	given: Readonly<Record<string, string | undefined>>,
): ConnectOptions | string {
	const word = words.shift();
	const all = CLIENT_NAMES.join(", ");
	if (word === undefined) return `connect needs a client: router connect CLIENT, one of ${all}`;
	const client = CLIENT_NAMES.find((name) => name === word);
	if (!client) return `unknown client "${word.slice(0, 100)}"; ${didYouMean(word, CLIENT_NAMES) ?? `there are ${all}`}`;
	const has = (flag: string) => given[flag] !== undefined;
	if (has("write") && has("undo")) return "--write and --undo exclude each other";
	if (has("overwrite") && !has("write")) return "--overwrite says more of --write; there is none";
	const idle = ["model", "key", "url"].find((flag) => has("undo") && has(flag));
	if (idle) return `--${idle} does not belong to --undo, which takes out what was written`;
	const models = (given["model"] ?? "").split(",").map((model) => model.trim());
	if (has("model") && models.some((model) => !/^[^\s"'\\]{1,200}$/.test(model)))
		return "--model must be a model's name";
	if (models.length > 1 && !SEVERAL_MODELS.includes(client)) return `${client} takes one --model`;
	return {
		client,
		action: has("undo") ? "undo" : has("write") ? "write" : "print",
		isOverwriting: has("overwrite"),
		models: has("model") ? models : [],
		...(given["key"] !== undefined && { key: given["key"] }),
	};
}
