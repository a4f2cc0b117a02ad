/** Files of the data directory: nobody else's to read. */
import { chmodSync, chownSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a new file private, and where root made it (`router agents invite`, a first start by hand), its directory's owner's: the router
 * may run as that one. Throws what the file system says.
 */
export function hand(file: string): void {
	chmodSync(file, 0o600);
	const { uid, gid } = statSync(dirname(file));
	if (process.getuid?.() === 0 && uid !== 0) chownSync(file, uid, gid);
}
