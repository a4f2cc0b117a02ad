/** A change made on the command line goes into the router's log, too. */
import { appendFileSync, chownSync, existsSync, mkdirSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import type { Config } from "../config/schema.ts";

/**
 * Writes audit lines to the log file, whole lines at its end, whether or not a router writes there, too. What can't be written is
 * said in `notes`.
 */
export function auditLine({ log }: Config, notes: string[]): (action: string, what: object) => void {
	return (action, what) => {
		const file = join(log.dir, "router.log");
		const line = {
			level: "info",
			time: new Date().toISOString(),
			audit: action,
			by: `command line (${user()})`,
			...what,
		};
		try {
			mkdirSync(dirname(file), { recursive: true });
			const isNew = !existsSync(file);
			appendFileSync(file, `${JSON.stringify({ ...line, msg: "audit" })}\n`, { mode: 0o640 });
			// Root's file would shut the router out of its own log.
			const { uid, gid } = statSync(dirname(file));
			if (isNew && process.getuid?.() === 0 && uid !== 0) chownSync(file, uid, gid);
		} catch (error) {
			notes.push(`${file} can't be written (${(error as NodeJS.ErrnoException).code}): the change is in no log`);
		}
	};
}

function user(): string {
	try {
		return userInfo().username;
	} catch {
		return `uid ${process.getuid?.() ?? "unknown"}`;
	}
}
