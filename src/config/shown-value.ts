/** Values of settings as people see them: as the file would have them, secrets masked. */
import type { TSchema } from "@sinclair/typebox";
import { formatWithUnit } from "./units.ts";

/** Shown instead of a secret. */
export const MASK = "********";

/** The value of a setting for the log, `router check` and the console. @param schema the setting's own */
export function shownValue(value: unknown, schema: TSchema): unknown {
	if (schema["secret"]) return MASK;
	if (schema["unit"]) return formatWithUnit(value as number, schema["unit"]);
	return typeof value === "string" ? withoutCredentials(value) : value;
}

/** `http://user:pass@host/?key=…#…` → the same with user, password, query and fragment masked. Other texts are as they were. */
export function withoutCredentials(text: string): string {
	return text.replace(/^(https?:\/\/)[^/?#]*@/i, `$1${MASK}@`).replace(/^(https?:\/\/[^?#]*)[?#].*$/i, `$1?${MASK}`);
}
