/** Every setting of the schema × every shape that it can't have: an error at its line. What is taken all the same is listed here. */
import { afterAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Document, isMap, isSeq, LineCounter, type Node, type Pair, parseDocument, stringify } from "yaml";
import { ConfigError, type Mistake, type Path, pathText } from "../src/config/config-error.ts";
import { load } from "../src/config/load.ts";
import { ConfigSchema } from "../src/config/schema.ts";
import { settings } from "../src/config/schema-walk.ts";
import { directory } from "./kit/cli.ts";
import { FILE, isShaped, type Place, places, sample, shapes } from "./kit/config-places.ts";
import { configure, refusal } from "./kit/configure.ts";

const SECTION = "the heading of a section whose settings are all commented out, as `router init` writes it";
/** Wrong shapes that are taken, and why. No other may be, and each of these must be. */
const TAKEN: Record<string, string> = {
	"server: null": SECTION,
	"timeouts: null": SECTION,
	"log: null": SECTION,
	"limits: null": SECTION,
	"admin: null": `${SECTION}; without keys in it nobody is an admin`,
	"usage: null": SECTION,
	"cache: null": SECTION,
	"redis: null": SECTION,
	"responses: null": SECTION,
	"runaway: null": SECTION,
	"agents: null": SECTION,
	"agents.replicas: null": "no model's are said",
	"agents.wake: null": "no host's are said",
	"agent: null": SECTION,
	"agent.queue: null": SECTION,
	"agent.roll: null": SECTION,
	"agent.start: null": SECTION,
	"providers: null": "the same; the known providers are there all the same",
	"prices: null": "the same; list prices hold",
	"providers.openrouter: null": "a provider that needs nothing but its variable: `openrouter:`",
};

const home = directory({ [FILE]: "-----BEGIN CERTIFICATE-----" });
afterAll(() => home[Symbol.dispose]());

/** The mistakes of this file; none where it is taken. */
function mistakesOf(text: string): readonly Mistake[] {
	writeFileSync(join(home.path, "router.yaml"), text);
	try {
		load({ flags: {}, env: {}, cwd: home.path, role: "router" });
		return [];
	} catch (error) {
		if (error instanceof ConfigError) return error.mistakes;
		throw error;
	}
}

const whole = sample(ConfigSchema) as Record<string, unknown>;
const everywhere = places(ConfigSchema, whole);

test("the sample from the schema is taken as it is: what is refused below is refused for its shape", () => {
	expect(mistakesOf(stringify(whole))).toEqual([]);
	expect(everywhere.length).toBeGreaterThan(settings(ConfigSchema).length);
});

const taken: string[] = [];
describe("of a wrong shape", () => {
	for (const place of everywhere) {
		const name = pathText(place.path);
		test(`${name} is an error where it stands`, () => {
			const [section = ""] = place.path as string[];
			for (const [shape, value] of shapes(place.valid)) {
				if (isShaped(place.schema, value)) continue;
				const text = stringify(replaced({ [section]: whole[section] }, place.path, value));
				const mistakes = mistakesOf(text);
				if (mistakes.length === 0) taken.push(`${name}: ${shape}`);
				else expect({ shape, told: isToldAt(mistakes, place, text) }).toEqual({ shape, told: true });
			}
		});
	}

	test("nothing is taken but what is listed above, with its reason", () => {
		expect(taken.sort()).toEqual(Object.keys(TAKEN).sort());
	});
});

test("inside ${NAME} is no way around it: the text of a variable is never a list or a mapping", () => {
	for (const { path, schema } of everywhere.filter(({ schema }) => ["array", "object"].includes(schema.type))) {
		const [section = ""] = path as string[];
		const yaml = stringify(replaced({ [section]: whole[section] }, path, "${V}"));
		for (const V of ["[]", "{}", "null", ",", "{a: 1}"]) {
			expect(refusal({ yaml, env: { V }, files: { "router.yaml": yaml, [FILE]: "-----BEGIN X" } })).toContain(
				pathText(path),
			);
		}
		expect(schema["env"] === undefined || schema.type === "array").toBe(true);
	}
});

describe("of a variable", () => {
	/** Variables that take any text, and why that is right. */
	const ANY_TEXT = {
		HOST: "a name that is looked up when it is listened on",
		DATA_DIR: "a directory's name",
		LOG_DIR: "a directory's name",
		HF_HOME: "a directory's name",
		HF_TOKEN: "a secret that others make",
		VLLM_API_KEY: "a secret that others make",
	};
	const variables = settings(ConfigSchema).filter(({ schema }) => schema["env"] !== undefined);

	test.each([...new Set(variables.map(({ schema }) => schema["env"] as string))])(
		"%s, text that is none of what it takes is an error that names it",
		(name) => {
			const role = variables.find(({ schema }) => schema["env"] === name)?.path[0] === "agent" ? "agent" : "router";
			for (const text of ["[]", "{}", "[a]", "{a:1}", ","]) {
				if (name in ANY_TEXT) expect(configure({ env: { [name]: text }, role }).config).toBeDefined();
				else expect(refusal({ env: { [name]: text }, role })).toContain(name);
			}
		},
	);
});

/** A copy with another value at `path`. */
function replaced(root: unknown, path: Path, value: unknown): unknown {
	const [name, ...rest] = path;
	if (name === undefined) return value;
	const copy = structuredClone(root) as Record<string | number, unknown>;
	copy[name] = replaced(copy[name], rest, value);
	return copy;
}

/** One of the mistakes speaks of the place or of what stands in it, and of the lines that it takes in the file. */
function isToldAt(mistakes: readonly Mistake[], { path }: Place, text: string): boolean {
	const name = pathText(path);
	const [first, last] = linesOf(text, path);
	return mistakes.some(
		({ path: at, line = 0, message }) => at.startsWith(name) && line >= first && line <= last && message.length > 0,
	);
}

/** The first and the last line of what stands at `path`, its own name included. */
function linesOf(text: string, path: Path): [number, number] {
	const counter = new LineCounter();
	const document: Document = parseDocument(text, { lineCounter: counter });
	const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
	const pair = isMap(parent)
		? parent.items.find(({ key }) => String(key) === String(path.at(-1)))
		: ({ value: isSeq(parent) && parent.items[Number(path.at(-1))] } as Pair);
	const [key, value] = [pair?.key, pair?.value] as (Node | null | undefined)[];
	const start = (key ?? value)?.range?.[0] ?? -1;
	const end = (value?.range ?? key?.range)?.[1] ?? -1;
	return [counter.linePos(start).line, counter.linePos(end).line];
}
