/** Command lines of inference servers in other programs' files → what they serve. Pure. */

/** A vLLM as a command line starts it. */
export interface VllmCommand {
	readonly model: string;
	/** Names that callers use; the model's own where the command line says none. */
	readonly names: readonly string[];
	/** `--api-key`; a secret. */
	readonly apiKey: string | undefined;
	readonly port: number | undefined;
	/** What the agent may be given as `args`. */
	readonly args: readonly string[];
}

/** Options that the agent sets itself. */
const OWN = ["--host", "--port", "--api-key", "--model", "--served-model-name", "--uvicorn-log-level"];

/** The words of a command line as a shell splits them: quotes and backslashes count, a line's end behind a backslash is none. */
export function wordsOf(command: string): string[] {
	const words: string[] = [];
	let word: string | undefined;
	for (const [part, double, single, escaped, space] of command
		.replace(/\\\r?\n/g, " ")
		.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)|(\s+)|[^\s"'\\]+/gs)) {
		if (space !== undefined) {
			if (word !== undefined) words.push(word);
			word = undefined;
		} else word = (word ?? "") + (double?.replace(/\\(["\\$`])/g, "$1") ?? single ?? escaped ?? part);
	}
	return word === undefined ? words : [...words, word];
}

/**
 * What a vLLM's words serve: `vllm serve MODEL …`, `python -m vllm.entrypoints.openai.api_server --model MODEL …`, or the words behind the name of
 * its image. Undefined where they are of no vLLM.
 */
export function vllmCommand(words: readonly string[], isImageVllm = false): VllmCommand | undefined {
	const serve = words.findIndex((word, at) => word === "serve" && /(^|\/)vllm$/.test(words[at - 1] ?? ""));
	const server = words.indexOf("vllm.entrypoints.openai.api_server");
	const image = words.findIndex(
		(word) => /(^|\/)vllm[\w-]*(\/[\w-]+)?(:[\w.-]+)?$/.test(word) && /vllm-(openai|cpu)|vllm\//.test(word),
	);
	const begin = serve !== -1 ? serve : server !== -1 ? server : image;
	if (begin === -1 && !isImageVllm) return undefined;

	let model: string | undefined;
	const names: string[] = [];
	const args: string[] = [];
	let apiKey: string | undefined;
	let port: number | undefined;
	const rest = words.slice(begin + 1).flatMap((word) => {
		const [, name, value] = /^(--[\w.-]+)=(.*)$/s.exec(word) ?? [];
		return name === undefined || value === undefined ? [word] : [name, value];
	});
	for (let at = 0; at < rest.length; at++) {
		const word = rest[at]!;
		const values: string[] = [];
		if (word.startsWith("-")) while (at + 1 < rest.length && !rest[at + 1]!.startsWith("--")) values.push(rest[++at]!);
		else if (model === undefined) {
			model = word;
			continue;
		}
		const option = word.replaceAll("_", "-");
		if (option === "--model") model = values[0];
		else if (option === "--served-model-name") names.push(...values);
		else if (option === "--api-key") apiKey = values[0];
		else if (option === "--port") port = Number(values[0]) || undefined;
		else if (!OWN.includes(option)) args.push(word, ...values);
	}
	if (model === undefined) return undefined;
	return { model, names: names.length > 0 ? names : [model], apiKey, port, args };
}
