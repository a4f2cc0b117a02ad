/** The few lines a start prints. */

import type { Running } from "../running.ts";
import { VERSION } from "../version.ts";

/** `router 0.1.0 listening on http://127.0.0.1:8000`, then the role's own lines, indented. With a line end. */
export function banner(running: Pick<Running, "role" | "url" | "lines">): string {
	const first = `${running.role} ${VERSION} listening on ${running.url}`;
	return [first, ...running.lines.map((line) => `  ${line}`), ""].join("\n");
}
