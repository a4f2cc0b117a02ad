/** Audit lines of the command line: a change made there goes into the router's log, too. */
import { appendFileSync, chownSync, existsSync, mkdirSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import type { Config } from "../config/schema.ts";

/**
 * Writes audit lines to the log file, whole lines at its end, whether or not a router writes there, too. A line that
 * can't be written adds a note to `notes`.
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
			// The router could not write to a log file that root owns.
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
