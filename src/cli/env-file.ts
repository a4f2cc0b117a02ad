/** `--env-file FILE`: further environment variables, as KEY=VALUE lines. */

import { ConfigError, type Mistake } from "../config/config-error.ts";
import type { Environment } from "../config/interpolate.ts";
import { readNamedFile } from "../config/read-file.ts";

const LINE = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$/;
const QUOTED = /^(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:#.*)?$/;
const ESCAPES: Record<string, string> = { n: "\n", r: "\r", t: "\t" };

/**
 * `env` with what the file adds; a variable that is set in `env` (not empty) wins. Throws ConfigError where the
 * file can't be read or a line is no KEY=VALUE.
 */
export function withEnvFile(env: Environment, file: string, cwd: string): Environment {
	const added = parseEnvFile(readNamedFile(file, cwd, "--env-file"), file);
	const isSet = (name: string) => env[name] !== undefined && env[name] !== "";
	const news = Object.entries(added).filter(([name, value]) => !isSet(name) && value !== "");
	return { ...env, ...Object.fromEntries(news) };
}

/**
 * Understands `KEY=VALUE`, `export KEY=VALUE`, 'single' quotes (taken as they are), "double" quotes (with \n, \", …)
 * and `#` comments. Throws ConfigError with every line that is wrong; no value is quoted, it may be a secret.
 */
export function parseEnvFile(text: string, file: string): Record<string, string> {
	const variables: Record<string, string> = {};
	const mistakes: Mistake[] = [];
	for (const [index, line] of text
		.replace(/^\uFEFF/, "")
		.split(/\r?\n/)
		.entries()) {
		if (/^\s*(#|$)/.test(line)) continue;
		const report = (message: string) => mistakes.push({ file, line: index + 1, path: "", message });
		const [, name, raw] = LINE.exec(line) ?? [];
		if (name === undefined || raw === undefined) {
			report("is no KEY=VALUE line");
			continue;
		}
		const value = unquote(raw);
		if (value === undefined) report(`the quotes around the value of ${name} do not match`);
		else variables[name] = value;
	}
	if (mistakes.length > 0) throw new ConfigError(mistakes);
	return variables;
}

/** Undefined where a quote is not closed, or something follows the closing one. */
function unquote(raw: string): string | undefined {
	if (!/^["']/.test(raw)) return raw.replace(/(^|\s+)#.*$/, "");
	const [, double, single] = QUOTED.exec(raw) ?? [];
	return single ?? double?.replace(/\\(.)/g, (_, letter: string) => ESCAPES[letter] ?? letter);
}
