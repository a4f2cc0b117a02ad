/**
 * The WebAssembly of `request-scan.ts`: where the structure of a JSON text stands, 64 bytes at a step. Written as functions that give
 * instructions, assembled when the process starts: there is no other source, and no tool is needed. The way to find strings is simdjson's
 * (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 3.1).
 */

/** Instructions, WebAssembly's binary form. */
type Code = readonly number[];

/** Bytes of text that one call looks at, at most. They lie at 0, and are filled up with white space to a multiple of `STEP_BYTES`. */
export const WINDOW = 64 * 1024;
/** Bytes that one step looks at. */
export const STEP_BYTES = 64;
/**
 * Where the state between two calls lies: six numbers of 64 bits, all 0 at the beginning of a text. The first is not 0 inside a string, the
 * last two where a byte so far was no ASCII, and where an escape was one of those that JSON.stringify would not write.
 */
export const STATE = WINDOW + STEP_BYTES;
/** Where in it those two lie. */
export const BEYOND_ASCII = 32;
export const OTHER_ESCAPES = 40;
/** Where the places that were found lie, u32 each. */
export const PLACES = STATE + STEP_BYTES;
/** Most places that there is room for. */
export const MOST_PLACES = 128 * 1024;

const I32 = 0x7f;
const I64 = 0x7e;
const V128 = 0x7b;
const VOID = 0x40;

/** LEB128: 7 bits a byte, the low ones first, as all numbers in a module. */
function unsigned(value: number): Code {
	return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
}
function signed(value: bigint): Code {
	const low = Number(value & 127n);
	const rest = value >> 7n;
	return (rest === 0n && low < 64) || (rest === -1n && low >= 64) ? [low] : [low | 128, ...signed(rest)];
}

/** What each instruction does with values that stand before it. */
const instruction =
	(...opcode: number[]) =>
	(...values: Code[]): Code => [...values.flat(), ...opcode];
const vector = (opcode: number, ...more: number[]) => instruction(0xfd, ...unsigned(opcode), ...more);

const all = (...codes: Code[]): Code => codes.flat();
const number = (value: number): Code => [0x41, ...signed(BigInt(value))];
const long = (value: bigint): Code => [0x42, ...signed(value)];
/** A vector of 16 bytes. */
const vectorOf = (bytes: readonly number[]): Code => [0xfd, 0x0c, ...bytes];
const everywhere = (byte: number): Code => vectorOf(Array(16).fill(byte));

const and = instruction(0x83);
const xor = instruction(0x85);
const minus = instruction(0x7d);
const shiftLeft = (value: Code, by: number): Code => instruction(0x86)(value, long(BigInt(by)));
const shiftRight = (value: Code, by: number): Code => instruction(0x88)(value, long(BigInt(by)));
/** Copies the highest bit. */
const signRight = (value: Code, by: number): Code => instruction(0x87)(value, long(BigInt(by)));
const or = (...values: Code[]): Code => values.reduce((one, other) => instruction(0x84)(one, other));
const not = (value: Code): Code => xor(value, long(-1n));
const isZero = instruction(0x50);
const isSome = (value: Code): Code => instruction(0x52)(value, long(0n));
const lowestBit = instruction(0x7a);
const toNumber = instruction(0xa7);
const plus = instruction(0x6a);

const same = vector(0x23);
const equal = (bytes: Code, byte: number): Code => same(bytes, everywhere(byte));
const least = (...values: Code[]): Code => values.reduce((one, other) => vector(0x77)(one, other));
/** x64 has no comparison of bytes without sign. */
const below = (bytes: Code, byte: number): Code => same(least(bytes, everywhere(byte - 1)), bytes);
const subtract = vector(0x71);
const less = (bytes: Code, byte: number): Code => subtract(bytes, everywhere(byte));
const either = (...values: Code[]): Code => values.reduce((one, other) => vector(0x50)(one, other));
const both = vector(0x4e);
const isAny = vector(0x53);
const isNone = (bytes: Code): Code => instruction(0x45)(isAny(bytes));
const lookUp = (table: readonly number[], bytes: Code): Code => vector(0x0e)(vectorOf(table), bytes);
/** One bit a byte. */
const bitsOf = (bytes: Code): Code => instruction(0xad)(vector(0x64)(bytes));

const branch = (depth: number): Code => [0x0c, depth];
const branchIf = (depth: number, condition: Code): Code => [...condition, 0x0d, depth];
const block = (...codes: Code[]): Code => [0x02, VOID, ...codes.flat(), 0x0b];
const loop = (...codes: Code[]): Code => [0x03, VOID, ...codes.flat(), 0x0b];
const when = (condition: Code, ...codes: Code[]): Code => [...condition, 0x04, VOID, ...codes.flat(), 0x0b];
const giveBack = (value: Code): Code => [...value, 0x0f];

/** A local variable. */
class Local {
	readonly value: Code;
	readonly #index: number;

	/** @param types of the function's local variables so far; the parameters are the first */
	constructor(type: number, types = indexTypes) {
		this.#index = types.push(type) - 1;
		this.value = [0x20, this.#index];
	}

	set(value: Code): Code {
		return [...value, 0x21, this.#index];
	}
}

const indexTypes: number[] = [];
const [length, base, count] = [new Local(I32), new Local(I32), new Local(I32)];
const PARAMETERS = indexTypes.length;
const at = new Local(I32);
const inputs = [new Local(V128), new Local(V128), new Local(V128), new Local(V128)];

/** All ones inside a string. */
const inString = new Local(I64);
/** 1 where a backslash stood at the end. */
const escapesNext = new Local(I64);
/** The first bytes that must be hexadecimal digits of a `\u`. */
const hexNext = new Local(I64);
/** 1 where a number or a word stood at the end. */
const scalarBefore = new Local(I64);
/** Not 0 where a byte was no ASCII. */
const beyondAscii = new Local(I64);
/** Not 0 where a `\u` or a `\/` stood. */
const otherEscapes = new Local(I64);
const state = [inString, escapesNext, hexNext, scalarBefore, beyondAscii, otherEscapes];
/** All bytes of this call, or-ed. */
const every = new Local(V128);

const [quotes, slashes, escapes, escaped, units, wanted] = Array.from({ length: 6 }, () => new Local(I64)) as [
	Local,
	Local,
	Local,
	Local,
	Local,
	Local,
];
const [controls, inside, operators, scalars, found] = Array.from({ length: 5 }, () => new Local(I64)) as [
	Local,
	Local,
	Local,
	Local,
	Local,
];

/** One bit for each of the 64 bytes: whether `test` says so. */
const where = (test: (bytes: Code) => Code): Code =>
	or(...inputs.map((input, index) => shiftLeft(bitsOf(test(input.value)), index * 16)));

const [QUOTE, BACKSLASH, SPACE, LOWER] = [0x22, 0x5c, 0x20, 0x20];
const isMark = (bytes: Code) => either(equal(bytes, QUOTE), equal(bytes, BACKSLASH));
/** A control character among any of the 64 bytes. */
const hasControl = below(least(...inputs.map((input) => input.value)), SPACE);
const isBracket = (bytes: Code) => {
	const lower = either(bytes, everywhere(LOWER));
	return either(equal(lower, 0x7b), equal(lower, 0x7d));
};
const isOperator = (bytes: Code) => either(isBracket(bytes), equal(bytes, 0x2c), equal(bytes, 0x3a));
const isHex = (bytes: Code) =>
	either(below(less(bytes, 0x30), 10), below(less(either(bytes, everywhere(LOWER)), 0x61), 6));
/** What a backslash and one character more escape, `"\bfnrt`: found by the low four bits, of which three share theirs. */
const isEscapable = (bytes: Code) =>
	either(
		same(lookUp([1, 0, 0x72, 0, 0x74, 0, 0x66, 0, 0, 0, 0, 0, 0x5c, 0, 0x6e, 0], both(bytes, everywhere(15))), bytes),
		equal(bytes, 0x22),
		equal(bytes, 0x62),
	);

const refuse = giveBack(number(-1));
const ODD = 0xaaaaaaaaaaaaaaaan - (1n << 64n);

/** Which bytes a backslash escapes, and whether it may. */
const readEscapes = all(
	escapes.set(and(slashes.value, not(escapesNext.value))),
	escapes.set(xor(minus(or(shiftLeft(escapes.value, 1), long(ODD)), escapes.value), long(ODD))),
	escaped.set(xor(escapes.value, or(slashes.value, escapesNext.value))),
	escapesNext.set(shiftRight(and(escapes.value, slashes.value), 63)),
	quotes.set(and(quotes.value, not(escaped.value))),
	units.set(and(escaped.value, not(where(isEscapable)))),
	when(
		isSome(units.value),
		otherEscapes.set(units.value),
		wanted.set(where((bytes) => either(equal(bytes, 0x75), equal(bytes, 0x2f)))),
		when(isSome(and(units.value, not(wanted.value))), refuse),
		units.set(
			and(
				units.value,
				where((bytes) => equal(bytes, 0x75)),
			),
		),
	),
	when(
		isSome(or(units.value, hexNext.value)),
		wanted.set(or(hexNext.value, ...[1, 2, 3, 4].map((by) => shiftLeft(units.value, by)))),
		hexNext.set(or(...[63, 62, 61, 60].map((by) => shiftRight(units.value, by)))),
		when(isSome(and(wanted.value, not(where(isHex)))), refuse),
	),
);

/** From each opening quote on to the byte before the closing one. */
const readStrings = all(
	inside.set(quotes.value),
	...[1, 2, 4, 8, 16, 32].map((by) => inside.set(xor(inside.value, shiftLeft(inside.value, by)))),
	inside.set(xor(inside.value, inString.value)),
	inString.set(signRight(inside.value, 63)),
);

const SPACES = [0x09, 0x0a, 0x0d];
const readControls = all(
	controls.set(where((bytes) => below(bytes, SPACE))),
	when(
		isSome(controls.value),
		wanted.set(where((bytes) => either(...SPACES.map((byte) => equal(bytes, byte))))),
		when(isSome(and(controls.value, or(inside.value, not(wanted.value)))), refuse),
	),
);

/** Brackets, commas and colons outside of strings, both quotes of each string, and where a number or a word begins. */
const readStructure = all(
	operators.set(where(isOperator)),
	scalars.set(
		not(
			or(
				operators.value,
				inside.value,
				quotes.value,
				where((bytes) => below(bytes, SPACE + 1)),
			),
		),
	),
	found.set(and(scalars.value, not(or(shiftLeft(scalars.value, 1), scalarBefore.value)))),
	found.set(or(found.value, quotes.value, and(operators.value, not(inside.value)))),
	scalarBefore.set(shiftRight(scalars.value, 63)),
);

const store = (address: Code, value: Code): Code => [...address, ...value, 0x36, 2, ...unsigned(PLACES)];
const storePlaces = all(
	when(instruction(0x4b)(count.value, number(MOST_PLACES - 2 * STEP_BYTES)), refuse),
	block(
		loop(
			branchIf(1, isZero(found.value)),
			store(
				instruction(0x74)(count.value, number(2)),
				plus(plus(base.value, at.value), toNumber(lowestBit(found.value))),
			),
			count.set(plus(count.value, number(1))),
			found.set(and(found.value, minus(found.value, long(1n)))),
			branch(0),
		),
	),
);

const isQuiet = isNone(either(hasControl, ...inputs.map((input) => isMark(input.value))));

/** One step; the outermost block is left where nothing more is to be seen in it. */
const step = block(
	every.set(either(every.value, ...inputs.map((input) => input.value))),
	when(isSome(inString.value), when(isZero(or(escapesNext.value, hexNext.value)), branchIf(2, isQuiet))),
	quotes.set(where((bytes) => equal(bytes, QUOTE))),
	slashes.set(where((bytes) => equal(bytes, BACKSLASH))),
	when(isSome(or(slashes.value, escapesNext.value, hexNext.value)), readEscapes),
	when(isSome(inString.value), when(isZero(quotes.value), when(isAny(hasControl), refuse), branch(2))),
	readStrings,
	readControls,
	readStructure,
	storePlaces,
);

const loadState = (index: number): Code => [...number(STATE), 0x29, 3, index * 8];
const saveState = (value: Code, index: number): Code => [...number(STATE), ...value, 0x37, 3, index * 8];
const loadInput = (index: number): Code => [...at.value, 0xfd, 0x00, 0, index * 16];

const body = all(
	...state.map((local, index) => local.set(loadState(index))),
	block(
		loop(
			branchIf(1, instruction(0x4f)(at.value, length.value)),
			...inputs.map((input, index) => input.set(loadInput(index))),
			step,
			at.set(plus(at.value, number(STEP_BYTES))),
			branch(0),
		),
	),
	beyondAscii.set(or(beyondAscii.value, bitsOf(every.value))),
	...state.map((local, index) => saveState(local.value, index)),
	count.value,
);

// The other function: bytes of UTF-8 that are no UTF-16 unit of their own.
const surplusTypes: number[] = [];
const surplusLength = new Local(I32, surplusTypes);
const surplusAt = new Local(I32, surplusTypes);
/** Four numbers, whose sum it is. */
const sums = new Local(V128, surplusTypes);
const read = new Local(V128, surplusTypes);
/** Of each of 16 columns, among the 64 bytes of a step. */
const columns = new Local(V128, surplusTypes);

const add = vector(0x6e);
/** Adds up neighbours: 16 numbers of 8 bits to four of 32. */
const inFours = (bytes: Code): Code => vector(0x7e)(vector(0x7c)(bytes));
/** A character's second, third or fourth byte, which is none; a character of four bytes is two of them. */
const isContinuation = (bytes: Code): Code => vector(0x25)(bytes, everywhere(0xc0));
const isFirstOfFour = (bytes: Code): Code => same(least(bytes, everywhere(0xf0)), everywhere(0xf0));

const surplusBody = all(
	block(
		loop(
			branchIf(1, instruction(0x4f)(surplusAt.value, surplusLength.value)),
			columns.set(everywhere(0)),
			...[0, 16, 32, 48].flatMap((offset) => [
				read.set([...surplusAt.value, 0xfd, 0x00, 0, offset]),
				// What is true is -1.
				columns.set(add(subtract(columns.value, isContinuation(read.value)), isFirstOfFour(read.value))),
			]),
			sums.set(vector(0xae)(sums.value, inFours(columns.value))),
			surplusAt.set(plus(surplusAt.value, number(STEP_BYTES))),
			branch(0),
		),
	),
	[0, 1, 2, 3].map((lane) => vector(0x1b, lane)(sums.value)).reduce((one, other) => plus(one, other)),
);

const list = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()];
const sized = (content: Code): Code => [...unsigned(content.length), ...content];
const section = (id: number, ...items: Code[]): Code => [id, ...sized(list(items))];
const name = (text: string): Code => sized([...Buffer.from(text)]);
const PAGE = 64 * 1024;
/** Size of the memory, bytes. */
export const MEMORY = Math.ceil((PLACES + MOST_PLACES * 4) / PAGE) * PAGE;

/**
 * The module. Its `memory` holds what the constants say. Its `index(length, base, count)` finds the structure of the next `length` bytes of
 * a text that begins `base` bytes before; it gives the number of places that there are then, of which `count` were there before, or -1
 * for what no JSON may hold, or where there are too many. Its `surplus(length)` says by how much the next `length` bytes of UTF-8 are more
 * than their UTF-16 units.
 */
export function indexModule(): Uint8Array<ArrayBuffer> {
	const func = (types: readonly number[], parameters: number, code: Code): Code =>
		sized([...list(types.slice(parameters).map((type): Code => [1, type])), ...code, 0x0b]);
	const type = (parameters: number): Code => [0x60, ...list(Array(parameters).fill([I32])), ...list([[I32]])];
	return new Uint8Array([
		...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
		...section(1, type(PARAMETERS), type(1)),
		...section(3, [0], [1]),
		...section(5, [0, ...unsigned(MEMORY / PAGE)]),
		...section(7, [...name("memory"), 2, 0], [...name("index"), 0, 0], [...name("surplus"), 0, 1]),
		...section(10, func(indexTypes, PARAMETERS, body), func(surplusTypes, 1, surplusBody)),
	]);
}
