/** Mistakes in a configuration, all of them at once. */
import { StartError } from "../errors.ts";

/** The path of a setting: `["keys", 0, "name"]`. */
export type Path = readonly (string | number)[];

/** `["keys", 0, "name"]` → `keys[0].name`. Empty for the whole. */
export function pathText(path: Path): string {
	return path.reduce<string>(
		(text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`),
		"",
	);
}

/** A mistake. Its message quotes no value: a value may be a secret. */
export interface Mistake {
	/** The file as the user named it; absent where the mistake is in a flag or a variable. */
	readonly file?: string | undefined;
	/** Both count from 1. */
	readonly line?: number | undefined;
	readonly column?: number | undefined;
	/** The setting, `keys[0].name`; empty where the file as a whole is meant. */
	readonly path: string;
	/** What is wrong and what to do. */
	readonly message: string;
}

const LAST = Number.MAX_SAFE_INTEGER;

/** The order of mistakes: down the file, those of no file last. */
export function byPosition(a: Mistake, b: Mistake): number {
	return (a.line ?? LAST) - (b.line ?? LAST) || (a.column ?? LAST) - (b.column ?? LAST);
}

/** A mistake without its position in the file, which the loader adds. */
export interface Finding {
	readonly path: Path;
	readonly message: string;
	/** Whether the position is that of the setting's name or (default) of its value. */
	readonly of?: "key" | "value";
	/** What has the position, where that is another setting than the message is of: an entry of the list, what another one follows from. */
	readonly at?: Path;
}

/** `router.yaml:12:5 server.prt: unknown setting; did you mean "port"?` */
export function mistakeLine(mistake: Mistake): string {
	const position = [mistake.file, mistake.line, mistake.column].filter((part) => part !== undefined).join(":");
	const where = [position, mistake.path].filter((part) => part !== "").join(" ");
	return where === "" ? mistake.message : `${where}: ${mistake.message}`;
}

/** The configuration can't be used. `message` has a line for each of `mistakes`, of which there is one at least. */
export class ConfigError extends Error {
	override readonly name = "ConfigError";
	readonly mistakes: readonly Mistake[];

	constructor(mistakes: readonly Mistake[]) {
		super(mistakes.map(mistakeLine).join("\n"));
		this.mistakes = mistakes;
	}
}

/** Mistakes that only show when a role is planned, without their positions: {@link located} adds those. */
export class FindingsError extends StartError {
	readonly findings: readonly Finding[];

	/** @param findings one at least */
	constructor(findings: readonly Finding[]) {
		super(findings.map(({ path, message }) => mistakeLine({ path: pathText(path), message })).join("\n"));
		this.findings = findings;
	}
}

/** The thrown error itself; of a FindingsError a ConfigError with positions in the file. */
export function located(thrown: unknown, locate: (finding: Finding) => Mistake): unknown {
	return thrown instanceof FindingsError ? new ConfigError(thrown.findings.map(locate).sort(byPosition)) : thrown;
}
