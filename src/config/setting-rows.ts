/** What is set, and where each setting comes from, as `router check` and the console show it. No secret is in it. */
import { type Path, pathText } from "./config-error.ts";
import { isRecord } from "./document.ts";
import type { Loaded, SettingSource } from "./load.ts";
import { ConfigSchema } from "./schema.ts";
import { mapLeaves } from "./schema-walk.ts";
import { shownValue } from "./shown-value.ts";

/** Sections that only one role reads. */
const ROLE_SECTIONS = {
	router: [
		"server",
		"timeouts",
		"keys",
		"providers",
		"limits",
		"admin",
		"usage",
		"models",
		"prices",
		"cache",
		"redis",
		"agents",
	],
	agent: ["agent"],
	standalone: [] as string[],
};

/** The settings of a role as rows: the setting, its value, and where it comes from. @param workers how many threads would answer calls */
export function settingRows(
	loaded: Pick<Loaded, "config" | "role" | "sources">,
	workers: number | undefined,
): [setting: string, value: string, from: string][] {
	const foreign = loaded.role === "standalone" ? [] : ROLE_SECTIONS[loaded.role === "router" ? "agent" : "router"];
	const values = mapLeaves(ConfigSchema, loaded.config, shownValue) as Record<string, unknown>;
	return Object.keys(ConfigSchema.properties)
		.filter((section) => section in values && !foreign.includes(section))
		.flatMap((section) => flatten(values[section], [section]))
		.map(([path, text]) => {
			const name = pathText(path);
			const shown = name === "server.workers" && text === "auto" && workers ? `auto, here ${workers}` : text;
			return [name, shown, sourceText(loaded.sources.of(path))];
		});
}

function flatten(value: unknown, path: Path): [Path, string][] {
	if (isRecord(value) && Object.keys(value).length > 0) {
		return Object.entries(value).flatMap(([key, child]) => flatten(child, [...path, key]));
	}
	if (Array.isArray(value) && value.some(isRecord)) {
		return value.flatMap((child, index) => flatten(child, [...path, index]));
	}
	if (Array.isArray(value)) return [[path, value.length === 0 ? "none" : value.join(", ")]];
	return [[path, isRecord(value) ? "nothing set" : String(value)]];
}

function sourceText(source: SettingSource): string {
	if (source.from === "file") return `${source.file}:${source.line}${source.isOfStart ? ", at the start" : ""}`;
	return source.from === "default" ? "default" : source.name;
}
