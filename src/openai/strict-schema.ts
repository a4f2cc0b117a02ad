/** Whether a JSON schema is one that OpenAI holds answers to (`strict`). */
import { objectIn } from "./usage.ts";

/** Levels of a schema that are looked into. */
const MOST_LEVELS = 32;

/** Whether OpenAI takes it as strict: objects have no other properties than those it names, and all of them. */
export function isStrictSchema(schema: unknown, levels = 0): boolean {
	if (Array.isArray(schema)) return schema.every((each) => isStrictSchema(each, levels + 1));
	const object = objectIn(schema);
	if (!object) return true;
	if (levels > MOST_LEVELS) return false;
	const properties = objectIn(object["properties"]);
	if (object["type"] === "object" || properties) {
		// Callers choose how many there are.
		const required = new Set<unknown>(Array.isArray(object["required"]) ? object["required"] : []);
		const isWhole = Object.keys(properties ?? {}).every((name) => required.has(name));
		if (object["additionalProperties"] !== false || !isWhole) return false;
	}
	return Object.values(object).every((each) => isStrictSchema(each, levels + 1));
}
