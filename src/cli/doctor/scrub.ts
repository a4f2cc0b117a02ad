/** Takes secrets out of the page that `router doctor` prints. Pure. */
import type { Environment } from "../../config/interpolate.ts";
import { ConfigSchema } from "../../config/schema.ts";
import { mapLeaves } from "../../config/schema-walk.ts";
import { MASK } from "../../config/shown-value.ts";

/** Variables whose values are secrets, by their names: of the router, its providers, and of the programs that it runs. */
const SECRET_NAME = /(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH)S?$|_KEYS?_/i;
/** Shorter texts stand in ordinary words: what is so short is found by its name or form alone. */
const SHORTEST = 6;

/** Forms that secrets have wherever they stand; the first group stays. */
const FORMS: readonly RegExp[] = [
	// The user and password of an address.
	/([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi,
	/(bearer\s+)[^\s"',;]+/gi,
	/((?:api[-_]?key|token|secret|password|passwd|authorization)["']?\s*[:=]\s*["']?)(?!\*{8})[^\s"',;}]+/gi,
	// Of the router's own keys and agents, of OpenAI's, Anthropic's, OpenRouter's and xAI's, of Google's, of Hugging Face's.
	/()\b(?:sk|rk|ra|xai|gsk|pplx)-[\w-]{8,}/g,
	/()\bAIza[\w-]{20,}/g,
	/()\bhf_\w{10,}/g,
	/()\beyJ[\w-]{10,}\.[\w-]+\.[\w-]+/g,
];

/** The values of a configuration's settings that are secrets, wherever they stand. */
export function secretsOf(values: unknown): string[] {
	const found: string[] = [];
	mapLeaves(ConfigSchema, values, (value, schema) => {
		if (schema["secret"] && typeof value === "string") found.push(value);
		return value;
	});
	return found;
}

/** The values of variables that are secrets by their names, each of several of a list alone, too. */
export function secretVariables(env: Environment): string[] {
	return Object.entries(env).flatMap(([name, value]) =>
		value && SECRET_NAME.test(name) ? [value, ...value.split(",").map((part) => part.trim())] : [],
	);
}

/**
 * The text without any of these secrets, also where they stand as in an address or in JSON, without what has the form of one, and with `~` for the
 * user's home. @param home the directory; "" leaves paths as they are
 */
export function scrubbed(text: string, secrets: readonly string[], home: string): string {
	const spellings = secrets
		.filter((secret) => secret.length >= SHORTEST)
		.flatMap((secret) => [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]);
	// A longer one may begin with a shorter one.
	const longest = [...new Set(spellings)].sort((a, b) => b.length - a.length);
	let page = text;
	for (const secret of longest) page = page.replaceAll(secret, () => MASK);
	for (const form of FORMS)
		page = page.replace(form, (_, kept: string) => `${kept}${MASK}${form === FORMS[0] ? "@" : ""}`);
	return home.length > 1 ? page.replaceAll(home, () => "~") : page;
}
