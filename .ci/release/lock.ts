/** What bun.lock says of the packages that the router is made of. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** One package at one place of node_modules. */
export interface LockedPackage {
	readonly name: string;
	readonly version: string;
	/** As npm writes it: `sha512-…`. */
	readonly integrity: string;
	/** Its place below node_modules: `a`, or `a/node_modules/b`. */
	readonly path: string;
	/** Keys of what it depends on, in this same list. */
	readonly dependsOn: readonly string[];
	readonly key: string;
}

type Fields = { dependencies?: Record<string, string>; optionalDependencies?: Record<string, string> };
interface Lock {
	workspaces: { "": Fields };
	packages: Record<string, [spec: string, registry: string, fields: Fields, integrity: string]>;
}

/** Reads bun.lock of a folder. */
export function readLock(directory: string): Lock {
	return Bun.JSONC.parse(readFileSync(join(directory, "bun.lock"), "utf8")) as Lock;
}

/** The packages that `dependencies` lead to, and so on; those of `devDependencies` alone are not there. Sorted by key. */
export function shipped({ workspaces, packages }: Lock): LockedPackage[] {
	const found = new Map<string, LockedPackage>();
	const visit = (name: string, from: string): string | undefined => {
		const key = resolved(name, from, packages);
		// What is optional need not be there.
		if (key === undefined || found.has(key)) return key;
		const [spec, , fields, integrity] = packages[key]!;
		const version = spec.slice(spec.lastIndexOf("@") + 1);
		const needs = Object.keys({ ...fields.dependencies, ...fields.optionalDependencies });
		const dependsOn: string[] = [];
		found.set(key, { key, name, version, integrity, path: pathOf(key), dependsOn });
		for (const each of needs) {
			const other = visit(each, key);
			if (other) dependsOn.push(other);
		}
		return key;
	};
	for (const name of Object.keys(workspaces[""].dependencies ?? {})) {
		if (visit(name, "") === undefined) throw new Error(`bun.lock has no ${name}, which package.json depends on`);
	}
	return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Names of a key: `a/@b/c` is `@b/c` inside `a`. */
const namesOf = (key: string) => key.match(/@[^/]+\/[^/]+|[^/]+/g) ?? [];
const pathOf = (key: string) => namesOf(key).join("/node_modules/");

/** As node_modules are searched: inside the package that asks, then beside it, up to the top. */
function resolved(name: string, from: string, packages: Lock["packages"]): string | undefined {
	const names = namesOf(from);
	for (let depth = names.length; depth >= 0; depth--) {
		const key = [...names.slice(0, depth), name].join("/");
		if (key in packages) return key;
	}
	return undefined;
}
