/** Reading a file that the user named. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { ConfigError } from "./config-error.ts";

/**
 * Its text; throws ConfigError where it can't be read.
 * @param namedBy the flag or variable that names it; absent for the default file
 */
export function readNamedFile(file: string, cwd: string, namedBy?: string): string {
	let text: string;
	try {
		text = readFileSync(resolve(cwd, file), "utf8");
	} catch (error) {
		const code = (error as NodeJS.ErrnoException).code;
		const reason = code === "ENOENT" ? "there is no such file" : `can't be read (${code ?? "unknown reason"})`;
		throw new ConfigError([{ file, path: "", message: namedBy ? `${reason} (named by ${namedBy})` : reason }]);
	}
	// PowerShell's `>` writes UTF-16.
	if (text.includes("\0")) throw new ConfigError([{ file, path: "", message: "is no UTF-8 text: save it as UTF-8" }]);
	return text;
}
