/**
 * Makes every function of a source tree tell when it starts, for `walk.ts`: a module loader that writes one call at the head of each
 * function, arrow and method. It is to be set up before the code that is watched is imported.
 */
import { relative } from "node:path";
import { type AnyNode, parse } from "acorn";

/** A function that started: where it stands and what it is called. */
export interface Start {
	/** Below `src`, such as `api/handler.ts`. */
	readonly file: string;
	/** Its own name, or that of what holds it; `(anonymous)` where neither has one. */
	readonly name: string;
}

const known: Start[] = [];
/** The starts of the call that is watched, in order; undefined while nothing is. */
let starts: Start[] | undefined;

(globalThis as Record<string, unknown>)["functionStarted"] = (at: number) => {
	starts?.push(known[at]!);
};

/** Notes from now on what starts; the function that it returns says what has, and ends that. */
export function startsOf(): () => readonly Start[] {
	const seen: Start[] = [];
	starts = seen;
	return () => {
		starts = undefined;
		return seen;
	};
}

/** Has every module below `root`, a folder of TypeScript, loaded with a call at the head of each function. */
export function watchFunctions(root: string): void {
	const transpiler = new Bun.Transpiler({ loader: "ts", target: "bun" });
	Bun.plugin({
		name: "function starts",
		setup(build) {
			build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
				const source = await Bun.file(path).text();
				const file = relative(root, path);
				if (file.startsWith("..") || file.endsWith(".d.ts")) return { contents: source, loader: "ts" };
				return { contents: withStarts(transpiler.transformSync(source), file), loader: "js" };
			});
		},
	});
}

/** The source with the call at the head of each function. */
function withStarts(source: string, file: string): string {
	const edits: { at: number; text: string }[] = [];
	const visit = (node: AnyNode, name: string | undefined) => {
		if (
			node.type === "FunctionDeclaration" ||
			node.type === "FunctionExpression" ||
			node.type === "ArrowFunctionExpression"
		) {
			const own = ("id" in node && node.id?.name) || name || "(anonymous)";
			const call = `functionStarted(${known.push({ file, name: own }) - 1});`;
			const { body } = node;
			if (body.type === "BlockStatement") edits.push({ at: headOf(body.start, body.body), text: call });
			else {
				// An arrow's expression: the call goes before it, in a sequence.
				edits.push({ at: body.start, text: `(${call.slice(0, -1)}, ` }, { at: body.end, text: ")" });
			}
		}
		for (const [key, child] of Object.entries(node)) {
			const called = key === "params" ? undefined : nameIn(node);
			for (const one of Array.isArray(child) ? child : [child])
				if (one && typeof one === "object" && "type" in one) visit(one as AnyNode, called);
		}
	};
	visit(parse(source, { ecmaVersion: "latest", sourceType: "module" }), undefined);
	// Edits at one place keep the order they were made in: the outer arrow's comes first.
	edits.sort((a, b) => a.at - b.at);
	let made = "";
	let from = 0;
	for (const { at, text } of edits) {
		made += source.slice(from, at) + text;
		from = at;
	}
	return made + source.slice(from);
}

/** Where a body's statements begin: behind directives such as "use strict". */
function headOf(start: number, statements: readonly AnyNode[]): number {
	let at = start + 1;
	for (const statement of statements) {
		if (statement.type !== "ExpressionStatement" || !statement.directive) break;
		at = statement.end;
	}
	return at;
}

/** What a node lends its function as a name: a variable's, a property's, a method's. */
function nameIn(node: AnyNode): string | undefined {
	switch (node.type) {
		case "VariableDeclarator":
			return node.id.type === "Identifier" ? node.id.name : undefined;
		case "Property":
		case "MethodDefinition":
		case "PropertyDefinition":
			return node.key.type === "Identifier" || node.key.type === "PrivateIdentifier" ? node.key.name : undefined;
		case "AssignmentExpression":
			return node.left.type === "MemberExpression" && node.left.property.type === "Identifier"
				? node.left.property.name
				: undefined;
		default:
			return undefined;
	}
}
