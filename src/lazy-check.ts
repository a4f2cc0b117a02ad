/** Checks against schemas. Large schemas take ms to compile, and a process may never be asked what they are for. */
import type { Static, TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";

/** The check of a schema, compiled when something is first checked: a start need not wait for it. */
export class LazyCheck<S extends TSchema = TSchema> {
	#compiled: TypeCheck<S> | undefined;

	constructor(private readonly schema: S) {}

	/** The same each time. */
	get compiled(): TypeCheck<S> {
		this.#compiled ??= TypeCompiler.Compile(this.schema);
		return this.#compiled;
	}

	/** Whether a value fits. */
	Check(value: unknown): value is Static<S> {
		return this.compiled.Check(value);
	}

	/** What is wrong with one that does not. */
	Errors(value: unknown): ReturnType<TypeCheck<S>["Errors"]> {
		return this.compiled.Errors(value);
	}
}
