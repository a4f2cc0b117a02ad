/** `router import`: writes a `router.yaml` from another program's file, and names what could not be carried over. */
import { existsSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Imported, importFile } from "../config/import/import-file.ts";
import { readNamedFile } from "../config/read-file.ts";
import { StartError } from "../errors.ts";
import type { ImportOptions } from "./import-args.ts";

/**
 * Carries it out. The file is readable by its owner alone, as keys that stood in the other one stand in it; one that is there already stays as it is.
 * Throws ConfigError where a file can't be read or is none of that program, StartError where the result can't be written.
 */
export function importCommand({ format, file, to, keys }: ImportOptions, cwd: string): { text: string; note: string } {
	if (to !== "-" && existsSync(resolve(cwd, to))) throw new StartError(taken(to, format, file));
	const named = (name: string) => ({ name, text: readNamedFile(name, cwd) });
	const imported = importFile(format, named(file), keys === undefined ? undefined : named(keys));
	const left = leftLines(imported);
	if (to === "-") return { text: imported.text, note: left };
	try {
		// wx: fails on an existing file, also on one that appears in this moment.
		writeFileSync(resolve(cwd, to), imported.text, { flag: "wx", mode: 0o600 });
	} catch (error) {
		const code = (error as NodeJS.ErrnoException).code;
		if (code === "EEXIST") throw new StartError(taken(to, format, file));
		throw new StartError(`${to} can't be written (${code ?? "unknown reason"}); --stdout prints it`);
	}
	return {
		text: `wrote ${to}: ${countsText(imported)}; \`router check --config ${to}\` says what it means\n`,
		note: left,
	};
}

const taken = (to: string, format: string, file: string) =>
	`${to} exists already and was left as it is; name another: router import ${format} ${file} OTHER.yaml`;

function countsText({ counts: { models, providers, keys, agentModels } }: Imported): string {
	const parts: [number, string, string][] = [
		[models, "model", "models"],
		[providers, "provider", "providers"],
		[keys, "key", "keys"],
		[agentModels, "model of the agent", "models of the agent"],
	];
	const said = parts.flatMap(([count, one, many]) => (count > 0 ? [`${count} ${count === 1 ? one : many}`] : []));
	return said.length > 0 ? said.join(", ") : "nothing that the router has a setting for";
}

function leftLines({ left }: Imported): string {
	if (left.length === 0) return "all of it was carried over";
	const lines = left.map(
		({ file, line, setting, why }) => `  ${file}${line === undefined ? "" : `:${line}`} ${setting}: ${why}`,
	);
	return [`not carried over (${left.length}):`, ...lines].join("\n");
}
