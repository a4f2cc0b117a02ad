/** Another program's file while it is carried over: what was read of it, and what is left. */
import type { Path } from "../config-error.ts";
import { isRecord, type ParsedFile } from "../document.ts";

/** A setting that has no counterpart here, or not its whole one. `line` counts from 1; undefined where the file does not tell. */
export interface Left {
	readonly line: number | undefined;
	/** Its path, as `model_list[0].litellm_params.api_version`. Never its value, which may be a secret. */
	readonly setting: string;
	/** Why it is left, or what to do by hand. */
	readonly why: string;
}

const NO_COUNTERPART = "has no counterpart";

/**
 * A place in the file. What is asked for by `take` or `text` and the like counts as carried over; what nobody asked for is named by
 * {@link Source.left}.
 */
export class Source {
	readonly #parsed: ParsedFile;
	/** Paths that are carried over, whole. */
	readonly #taken: Set<string>;
	/** Paths that are left, whole, and why. */
	readonly #notes: Map<string, { path: Path; why: string }>;

	constructor(
		parsed: ParsedFile,
		readonly path: Path = [],
		private readonly within?: Source,
	) {
		this.#parsed = parsed;
		this.#taken = within ? within.#taken : new Set();
		this.#notes = within ? within.#notes : new Map();
	}

	/** What stands here, whatever it is; nothing is marked. */
	get value(): unknown {
		return this.path.reduce<unknown>((value, part) => memberOf(value, part), this.#parsed.values);
	}

	/** The place of a member, whether it is there or not. */
	at(...parts: Path): Source {
		return new Source(this.#parsed, [...this.path, ...parts], this.within ?? this);
	}

	/** Whether something stands here. */
	get isThere(): boolean {
		return this.value !== undefined && this.value !== null;
	}

	/** The members of a list, or of a mapping, in their order; none of anything else. */
	get members(): readonly (readonly [name: string | number, member: Source])[] {
		const { value } = this;
		if (Array.isArray(value)) return value.map((_, index) => [index, this.at(index)]);
		return isRecord(value) ? Object.keys(value).map((name) => [name, this.at(name)]) : [];
	}

	/** Marks all that stands here as carried over, and returns it. */
	take(): unknown {
		this.#taken.add(keyOf(this.path));
		return this.value;
	}

	/** The text that stands here, marked; a number is its digits. Undefined, and not marked, where there is none. */
	text(): string | undefined {
		const { value } = this;
		if (typeof value === "string" && value !== "") return String(this.take());
		return typeof value === "number" ? String(this.take()) : undefined;
	}

	/** The number that stands here, also as a text, marked; undefined, and not marked, where there is none. */
	number(): number | undefined {
		const { value } = this;
		const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
		if (typeof number !== "number" || !Number.isFinite(number)) return undefined;
		this.take();
		return number;
	}

	/** The switch that stands here, marked; YAML's and Python's words count. */
	flag(): boolean | undefined {
		const { value } = this;
		const found = typeof value === "string" ? SWITCHES[value.toLowerCase()] : value;
		if (typeof found !== "boolean") return undefined;
		this.take();
		return found;
	}

	/** Leaves what stands here, in one line, and says why. Nothing where nothing stands here, or an empty list or mapping. */
	leave(why: string): void {
		if (saysNothing(this.value)) return;
		this.#notes.set(keyOf(this.path), { path: this.path, why });
	}

	/** All that was not carried over, down the file. */
	left(): Left[] {
		const left = [...this.#notes.values()].map((note) => this.#leftAt(note.path, note.why));
		this.#untouched([], this.#parsed.values, left);
		return left.sort((a, b) => (a.line ?? Number.POSITIVE_INFINITY) - (b.line ?? Number.POSITIVE_INFINITY));
	}

	#untouched(path: Path, value: unknown, left: Left[]): void {
		const key = keyOf(path);
		if (this.#taken.has(key) || this.#notes.has(key)) return;
		const inside: [string | number, unknown][] = isRecord(value)
			? Object.entries(value)
			: Array.isArray(value) && value.some(isRecord)
				? [...value.entries()]
				: [];
		if (inside.length > 0) {
			for (const [part, member] of inside) this.#untouched([...path, part], member, left);
		} else if (path.length > 0 && !saysNothing(value)) left.push(this.#leftAt(path, NO_COUNTERPART));
	}

	#leftAt(path: Path, why: string): Left {
		const setting = path.reduce<string>(
			(text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`),
			"",
		);
		return { line: this.#parsed.position(path, "key")?.line, setting, why };
	}
}

const SWITCHES: Readonly<Record<string, boolean>> = {
	true: true,
	yes: true,
	on: true,
	false: false,
	no: false,
	off: false,
};

/** Whether nothing could be carried over of it. */
const saysNothing = (value: unknown): boolean =>
	value === undefined || value === null || (typeof value === "object" && Object.keys(value).length === 0);

const keyOf = (path: Path) => JSON.stringify(path);

function memberOf(value: unknown, part: string | number): unknown {
	if (Array.isArray(value)) return value[Number(part)];
	return isRecord(value) && Object.hasOwn(value, part) ? value[part] : undefined;
}
