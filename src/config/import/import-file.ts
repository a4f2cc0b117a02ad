/** `router import`: another program's file as text → the text of `router.yaml`, and what was not carried over. Pure. */
import { stringify } from "yaml";
import { ConfigError } from "../config-error.ts";
import { parseFile } from "../document.ts";
import type { Draft } from "./draft.ts";
import { IMPORT_FORMATS, type ImportFormat } from "./formats.ts";
import { importLitellm } from "./litellm.ts";
import { importLitellmKeys } from "./litellm-keys.ts";
import { importCompose, importGpustack, importLlamaSwap } from "./local-servers.ts";
import { type Left, Source } from "./source.ts";

const READERS: Readonly<Record<ImportFormat, (file: Source) => Draft>> = {
	litellm: importLitellm,
	"llama-swap": importLlamaSwap,
	compose: importCompose,
	gpustack: importGpustack,
};

/** A file as the user named it, and what is in it. */
export interface NamedText {
	readonly name: string;
	readonly text: string;
}

/** What an import makes. */
export interface Imported {
	/** The text of `router.yaml`, with a line end; may hold secrets that stood in the file. */
	readonly text: string;
	/** What has no counterpart, file by file and down each. */
	readonly left: readonly (Left & { readonly file: string })[];
	/** How many settings of `models:`, `keys:`, `providers:` and `agent.models` there are. */
	readonly counts: {
		readonly models: number;
		readonly keys: number;
		readonly providers: number;
		readonly agentModels: number;
	};
}

/**
 * Carries a file over. `keys`: what LiteLLM's `/key/list?return_full_object=true` answered, for its virtual keys.
 * Throws ConfigError where a file is no YAML, or is none of that program.
 */
export function importFile(format: ImportFormat, file: NamedText, keys?: NamedText): Imported {
	const { title, signs } = IMPORT_FORMATS[format];
	const source = sourceOf(file);
	if (!signs.some((name) => source.at(name).isThere)) {
		const names = signs.map((name) => `\`${name}\``).join(" or ");
		throw new ConfigError([{ file: file.name, path: "", message: `is no file of ${title}: it has no ${names}` }]);
	}
	const draft = READERS[format](source);
	const keySource = keys && sourceOf(keys);
	if (keySource) importLitellmKeys(draft, keySource);
	const left = [
		...source.left().map((each) => ({ ...each, file: file.name })),
		...(keySource?.left() ?? []).map((each) => ({ ...each, file: keys!.name })),
	];
	const values = draft.values();
	const head = `# Made from ${file.name} of ${title} by \`router import\`. \`router check\` says what it means, \`router init\` writes all settings there are.\n`;
	const text =
		Object.keys(values).length > 0 ? stringify(values, { lineWidth: 0, aliasDuplicateObjects: false }) : "{}\n";
	return {
		text: `${head}${text}`,
		left,
		counts: {
			models: draft.models.length,
			keys: draft.keys.length,
			providers: Object.keys(draft.providers).length,
			agentModels: draft.agentModels.length,
		},
	};
}

function sourceOf({ name, text }: NamedText): Source {
	const parsed = parseFile(text, name);
	if (parsed.mistakes.length > 0) throw new ConfigError(parsed.mistakes);
	return new Source(parsed);
}
