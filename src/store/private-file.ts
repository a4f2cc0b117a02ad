/** Files of the data directory: nobody else's to read. */
import { accessSync, chmodSync, chownSync, constants, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a new file private, and where root made it (`router agents invite`, a first start by makePrivate), its directory's owner's: the router
 * may run as that one. Throws what the file system says.
 */
export function makePrivate(file: string): void {
	chmodSync(file, 0o600);
	const { uid, gid } = statSync(dirname(file));
	if (process.getuid?.() === 0 && uid !== 0) chownSync(file, uid, gid);
}

/** The code of why a directory, or the nearest one above it, can't be written (`EROFS`); undefined where it can. */
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
