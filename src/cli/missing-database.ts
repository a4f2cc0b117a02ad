/** What commands that read this machine's data directory say where it has nothing: figures of 0 are true of the wrong directory, too. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/schema.ts";

/** The note; undefined where there is a database. To be asked before the directory is opened. */
export function missingDatabaseNote({ data_dir }: Pick<Config, "data_dir">): string | undefined {
	if (existsSync(join(data_dir, "router.db"))) return undefined;
	return `There is no router.db in ${data_dir}: nothing is known of any call. Another directory: DATA_DIR or --config.`;
}
