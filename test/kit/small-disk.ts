/** A file system of a few megabytes, to be filled or made read-only. Only root can mount one. */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The disk. */
export interface SmallDisk {
	readonly path: string;
	/** Leaves not a byte. */
	fill(): void;
	/** Undoes that. */
	free(): void;
	/** `ro` or `rw`. */
	remount(mode: "ro" | "rw"): void;
	[Symbol.dispose](): void;
}

/** Undefined where nothing can be mounted. */
export function smallDisk(megabytes = 4): SmallDisk | undefined {
	const path = mkdtempSync(join(tmpdir(), "router-disk-"));
	const isDone = (...command: string[]) => {
		try {
			return Bun.spawnSync(command, { stdout: "ignore", stderr: "ignore" }).success;
		} catch {
			return false;
		}
	};
	if (!isDone("mount", "-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", path)) {
		rmSync(path, { recursive: true });
		return undefined;
	}
	const ballast = join(path, "ballast");
	return {
		path,
		fill() {
			const file = openSync(ballast, "w");
			for (const size of [65_536, 1]) {
				const bytes = new Uint8Array(size);
				try {
					while (writeSync(file, bytes) > 0);
				} catch {
					// It is full for that size.
				}
			}
			closeSync(file);
		},
		free: () => rmSync(ballast),
		remount(mode) {
			if (!isDone("mount", "-o", `remount,${mode}`, path)) throw new Error(`can't be mounted ${mode}`);
		},
		[Symbol.dispose]() {
			isDone("umount", "-l", path);
			rmSync(path, { recursive: true, force: true });
		},
	};
}
