/**
 * The text a model "generates": a pure function of the model and the conversation, so that two replicas agree, a
 * repeated call gives the same answer, and a continuation can be told from a repetition.
 */
import { random } from "../random.ts";

/** Each is one piece of tokens.ts, so that an answer in the next prompt has the tokens it had when it was made. */
const WORDS =
	" river stone light over under seven paths quiet north wind turns the a of and into every small bright field naïve 東京 made slow first tide open near far glass ember moss keeps still long rain blue".match(
		/ \S+/g,
	)!;

const seedOf = (...parts: readonly string[]) => Number(Bun.hash(parts.join("\u0000")) & 0xffff_ffffn);

/** What a model says. */
export interface Answer {
	/** Pieces in order; `length` of them, whatever the natural end. */
	readonly pieces: readonly string[];
	/** Where the model itself would end. */
	readonly natural: number;
}

/** The answer's first `length` pieces, or up to its natural end when that is `undefined`. */
export function answer(root: string, prompt: string, options: Options = {}): Answer {
	const { length, index = 0, natural: fixed, isChained = false } = options;
	const draw = random(seedOf(root, prompt, String(index)));
	const own = 12 + draw.below(49);
	const natural = fixed ?? own;
	const pieces: string[] = [];
	if (isChained) {
		for (let text = prompt; pieces.length < (length ?? natural); text += pieces.at(-1)!) {
			pieces.push(random(seedOf(root, text, String(index))).pick(WORDS));
		}
		return { pieces, natural };
	}
	let sentence = true;
	while (pieces.length < (length ?? natural)) {
		// White space that is a token of its own: an answer may break right behind it.
		if (pieces.at(-1) === "." && draw.below(3) === 0) {
			pieces.push("\n");
			continue;
		}
		const word = draw.pick(WORDS);
		if (sentence) pieces.push(pieces.length === 0 ? capital(word).slice(1) : capital(word));
		else pieces.push(draw.below(9) === 0 && pieces.length > 2 ? "." : word);
		sentence = pieces.at(-1) === ".";
	}
	return { pieces, natural };
}

interface Options {
	readonly length?: number;
	/** Which of `n` choices. */
	readonly index?: number;
	readonly natural?: number | undefined;
	/** Each piece follows from all text before it: a prompt with a part of its answer behind it leads to the rest. */
	readonly isChained?: boolean | undefined;
}

const capital = (word: string) => ` ${word[1]!.toUpperCase()}${word.slice(2)}`;

/**
 * What follows `partial`, when that is how the answer to `prompt` begins, even cut inside a piece; of any other
 * beginning the model goes on in its own words.
 */
export function continuation(root: string, prompt: string, partial: string, options: Options = {}): Answer {
	const whole = answer(root, prompt, { ...options, length: partial.length + (options.length ?? 64) });
	let length = 0;
	let at = 0;
	while (length < partial.length && at < whole.pieces.length) length += whole.pieces[at++]!.length;
	const said = whole.pieces.slice(0, at).join("");
	if (!said.startsWith(partial)) {
		const other = answer(root, prompt + partial, options);
		return { ...other, pieces: other.pieces.map((piece, n) => (n === 0 ? ` ${piece}` : piece)) };
	}
	const cut = said.slice(partial.length);
	const pieces = [...(cut ? [cut] : []), ...whole.pieces.slice(at)];
	const natural = Math.max(0, whole.natural - at + (cut ? 1 : 0));
	return { pieces: pieces.slice(0, options.length ?? natural), natural };
}
