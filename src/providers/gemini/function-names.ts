/**
 * Names of functions. Gemini wants a letter or an underscore first, OpenAI takes digits and dashes there, too: such names go out with an
 * underscore in front, and come back without it.
 */
import { unsupported } from "../../openai/chat.ts";

const NAME = /^[A-Za-z_][\w.:-]{0,63}$/;
const DASH = 45;
const ZERO = 48;
const NINE = 57;

/** The name that is sent. */
export function sentName(name: string): string {
	const first = name.charCodeAt(0);
	return first === DASH || (first >= ZERO && first <= NINE) ? `_${name}` : name;
}

/** The same for a function that is declared. Throws `unsupported_parameter` where no name can be made of it. */
export function declaredName(name: string, param: string): string {
	const sent = sentName(name);
	if (NAME.test(sent)) return sent;
	throw unsupported(
		param,
		"Gemini's functions have names of at most 64 letters, digits, dots, colons, dashes and underscores",
	);
}

/**
 * The client's name for a function that the answer calls.
 * @param tools of its request
 */
export function clientName(name: string, tools: unknown): string {
	if (!/^_[\d-]/.test(name) || !Array.isArray(tools)) return name;
	const names = tools.map((tool) => tool?.function?.name);
	const own = name.slice(1);
	return names.includes(own) && !names.includes(name) ? own : name;
}
