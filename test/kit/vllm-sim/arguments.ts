/** Reads the command line as vLLM's parser does, its exit code and words included. */
import { flag, type Kind } from "./flags.ts";

/** What the sim uses of the command line. */
export interface Arguments {
	/** The positional argument, or vLLM's default. */
	readonly model: string;
	/** Every option that was given, by its full name; a switch is `"true"` or `"false"`, a list its values. */
	readonly given: ReadonlyMap<string, readonly string[]>;
}

/** Told on standard error; the process ends with `code`. */
export class UsageError extends Error {
	override readonly name = "UsageError";
	/** `code`: 2, as argparse's. */
	constructor(
		message: string,
		readonly code = 2,
	) {
		super(message);
	}
}

const USAGE = "usage: vllm serve [model_tag] [options]";
const fail = (message: string) => new UsageError(`${USAGE}\nvllm serve: error: ${message}`);

/** Throws UsageError in argparse's words. `args`: everything after `vllm serve`. */
export function parseArguments(args: readonly string[]): Arguments {
	const given = new Map<string, string[]>();
	const unknown: string[] = [];
	let model: string | undefined;
	for (let at = 0; at < args.length; at++) {
		const arg = args[at]!;
		if (!/^-[^\d\s]/.test(arg)) {
			if (model === undefined) model = arg;
			else unknown.push(arg);
			continue;
		}
		const equals = arg.startsWith("--") ? arg.indexOf("=") : -1;
		const written = equals < 0 ? arg : arg.slice(0, equals);
		const found = flag(written);
		if (!found) {
			unknown.push(arg);
			continue;
		}
		const { name, kind, off } = found;
		const values = equals < 0 ? [] : [arg.slice(equals + 1)];
		if (kind === "switch") {
			if (values.length > 0) throw fail(`argument ${written}: ignored explicit argument '${values[0]}'`);
			given.set(name, [String(!off)]);
			continue;
		}
		const takes = kind === "list" ? Number.POSITIVE_INFINITY : 1;
		while (values.length < takes && at + 1 < args.length && !/^-[^\d\s]/.test(args[at + 1]!)) {
			values.push(args[++at]!);
		}
		if (values.length === 0) {
			throw fail(`argument ${written}: expected ${kind === "list" ? "at least one argument" : "one argument"}`);
		}
		for (const value of values) check(written, kind, value);
		given.set(name, values);
	}
	// The subcommand's parser leaves these to the one above it, so the words are that one's.
	if (unknown.length > 0) {
		throw new UsageError(
			`usage: vllm [-h] [-v] {chat,complete,serve,launch,bench,collect-env,run-batch} ...\nvllm: error: unrecognized arguments: ${unknown.join(" ")}`,
		);
	}
	return { model: model ?? given.get("model")?.[0] ?? "Qwen/Qwen3-0.6B", given };
}

function check(written: string, kind: Kind, value: string): void {
	const valid = {
		int: () => /^[+-]?\d+$/.test(value),
		float: () => value.trim() !== "" && Number.isFinite(Number(value)),
		length: () => readLength(value) !== undefined,
		json: () => written.includes(".") || /^\d$/.test(value) || isJson(value),
		switch: () => true,
		text: () => true,
		list: () => true,
	}[kind]();
	if (valid) return;
	if (kind === "json") throw fail(`argument ${written}: Value ${value} cannot be converted to <function loads>.`);
	throw fail(`argument ${written}: invalid ${kind === "length" ? "human_readable_int" : kind} value: '${value}'`);
}

function isJson(text: string): boolean {
	try {
		JSON.parse(text);
		return true;
	} catch {
		return false;
	}
}

/** `32768`, `32k` (thousands), `32K` or `32Ki` (1024), `1.5G`, `auto` (-1); undefined: none of these. */
export function readLength(text: string): number | undefined {
	if (text === "auto" || text === "-1") return -1;
	const found = /^(\d+(?:\.\d+)?)([kmgtKMGT]?)$/.exec(text.replace(/i?B?$/, ""));
	if (!found) return undefined;
	const unit = found[2]!;
	const power = "kmgt".indexOf(unit.toLowerCase()) + 1;
	const base = unit === unit.toLowerCase() ? 1000 : 1024;
	return Math.round(Number(found[1]) * (unit ? base ** power : 1));
}
