/** LoRA adapters among the arguments of `vllm serve`. Pure. */
import type { Finding } from "../../config/config-error.ts";
import { BUILT_IN, isModelName } from "../models/model-spec.ts";

/** One adapter of `--lora-modules`. */
interface LoraModule {
	readonly name: string;
	/** Hugging Face id, or a path in the container. */
	readonly path: string;
}

/** vLLM's flag; its parser takes every beginning that is no other flag's. */
const FLAG = /^--lora[-_]m(?:o(?:d(?:u(?:l(?:e(?:s)?)?)?)?)?)?(?:=(.*))?$/s;
const ENABLED = /^--enable[-_]lora$/;
const NO_ARGS: readonly string[] = [];
const DISABLED = /^--no[-_]enable[-_]lora$/;

/** The values of `--lora-modules`, as they are written, and the place of the first among all arguments. */
interface WrittenModules {
	readonly items: readonly string[];
	readonly first: number;
}

/** Of several such flags vLLM takes the last. Undefined without one. */
function writtenModules(args: readonly string[]): WrittenModules | undefined {
	const at = args.findLastIndex((word) => FLAG.test(word));
	if (at === -1) return undefined;
	const inline = FLAG.exec(args[at]!)?.[1];
	if (inline !== undefined) return { items: [inline], first: at };
	const rest = args.slice(at + 1);
	const end = rest.findIndex((word) => /^-[^\d\s]/.test(word));
	return { items: end === -1 ? rest : rest.slice(0, end), first: at + 1 };
}

/** `sql=/adapters/sql`, or `{"name": "sql", "path": "/adapters/sql"}`, told apart as vLLM does; undefined for neither. */
function moduleOf(item: string): LoraModule | undefined {
	if (item.includes("=") && !item.includes(",")) {
		const [name = "", path = "", ...more] = item.split("=");
		return more.length === 0 && path !== "" ? { name, path } : undefined;
	}
	try {
		const { name, path } = JSON.parse(item) as Record<string, unknown>;
		return typeof name === "string" && typeof path === "string" && path !== "" ? { name, path } : undefined;
	} catch {
		return undefined;
	}
}

const known = new WeakMap<readonly string[], readonly string[]>();

/** The names of the adapters that a model is started with; what can't be read is left out. Asked with each call for an adapter. */
export function adapterNames(args: readonly string[] = NO_ARGS): readonly string[] {
	let names = known.get(args);
	if (!names) {
		names = (writtenModules(args)?.items ?? []).flatMap((item) => moduleOf(item)?.name ?? []);
		known.set(args, names);
	}
	return names;
}

/** Whether a model may have adapters: those it is started with, or others that are loaded while it runs. */
export function mayHaveAdapters(args: readonly string[] = []): boolean {
	return args.some((word) => ENABLED.test(word)) || writtenModules(args) !== undefined;
}

/** Why a model's adapters can't be served: a finding for each that can't. `model`: the name of the model. */
export function adaptersProblems(model: string, args: readonly string[]): Finding[] {
	const written = writtenModules(args);
	if (!written) return [];
	const { items, first } = written;
	const finding = (index: number, message: string): Finding => ({ path: ["args"], at: ["args", index], message });
	if (items.length === 0)
		return [finding(first - 1, '"--lora-modules" names no adapter: ["--lora-modules", "sql=/adapters/sql"]')];
	const disabled = args.findIndex((word) => DISABLED.test(word));
	if (disabled !== -1) return [finding(disabled, '"--lora-modules" and "--no-enable-lora" exclude each other')];
	const names = new Set<string>();
	return items.flatMap((item, at) => {
		const message = adapterProblem(item, model, names);
		return message === undefined ? [] : [finding(first + at, message)];
	});
}

/** @param names those of the adapters before it; its own is added */
function adapterProblem(item: string, model: string, names: Set<string>): string | undefined {
	const shown = JSON.stringify(item.slice(0, 100));
	const module = moduleOf(item);
	if (!module) return `${shown} of "--lora-modules" is neither name=path nor {"name": …, "path": …}`;
	const { name } = module;
	if (!isModelName(name)) {
		return `${shown} of "--lora-modules" has no name for calls: letters, digits and . _ - in parts joined by / or :`;
	}
	if (name === BUILT_IN) return `the adapter "${name}" has the name of the built-in model: choose another`;
	if (name === model) return `the adapter "${name}" has the name of its own model: call one of them otherwise`;
	if (names.has(name)) return `two adapters of "--lora-modules" are called "${name}"`;
	names.add(name);
	return undefined;
}
