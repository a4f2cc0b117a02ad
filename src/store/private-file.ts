/** Access rights of the data directory and its files. */
import { accessSync, chmodSync, chownSync, constants, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a new file readable for its owner alone. A file that root made (`router agents invite`, a first manual start) gets its
 * directory's owner: the router may run as that user. Throws the file system's error.
 */
export function makePrivate(file: string): void {
	chmodSync(file, 0o600);
	const { uid, gid } = statSync(dirname(file));
	if (process.getuid?.() === 0 && uid !== 0) chownSync(file, uid, gid);
}

/** The error code (`EROFS`) of a directory, or the nearest one above it, that can't be written; undefined where it can. */
export function unwritable(directory: string): string | undefined {
	try {
		accessSync(directory, constants.W_OK);
		return statSync(directory).isDirectory() ? undefined : "ENOTDIR";
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		const above = dirname(directory);
		return code === "ENOENT" && above !== directory ? unwritable(above) : (code ?? "unknown");
	}
}
