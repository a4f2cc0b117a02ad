/** The arguments of `router import`. Pure; it loads no more than names. */
import { IMPORT_FORMATS, type ImportFormat } from "../config/import/formats.ts";

/** `router import`: files as they were typed. */
export interface ImportOptions {
	readonly format: ImportFormat;
	readonly file: string;
	/** What it writes; `-` is stdout. */
	readonly to: string;
	/** LiteLLM's answer to `/key/list?return_full_object=true`. */
	readonly keys?: string;
}

/** Names of the programs whose files can be imported. */
export const FORMAT_NAMES = Object.keys(IMPORT_FORMATS) as readonly ImportFormat[];

/** Parses the words behind `import` and its flags; a message that says why where they are wrong. */
export function parseImportArgs(
	words: string[],
	given: Readonly<Record<string, string | undefined>>,
): ImportOptions | string {
	const name = words.shift();
	if (name === undefined) return `\`import\` needs a program: router import ${FORMAT_NAMES.join("|")} FILE`;
	const format = FORMAT_NAMES.find((each) => each === name);
	if (!format) return `"${name}" is no program whose files can be imported: ${FORMAT_NAMES.join(", ")}`;
	const file = words.shift();
	if (file === undefined) return `\`import\` needs a file: router import ${format} FILE`;
	const { keys } = given;
	if (keys !== undefined && format !== "litellm") return "--keys belongs to `import litellm`";
	const to = "stdout" in given ? "-" : (words.shift() ?? "router.yaml");
	if (words[0] !== undefined) return `"${words[0]}" is one word too many`;
	return { format, file, to, ...(keys !== undefined && { keys }) };
}
