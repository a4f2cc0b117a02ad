/** Checks of requests. Large schemas take ms to compile, and a router may never be asked in their wire. */
import type { TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";

/** The check of a schema, compiled when something is first checked: a start need not wait for it. */
export class LazyCheck {
	#compiled: TypeCheck<TSchema> | undefined;

	constructor(private readonly schema: TSchema) {}

	/** The same each time. */
	get compiled(): TypeCheck<TSchema> {
		this.#compiled ??= TypeCompiler.Compile(this.schema);
		return this.#compiled;
	}
}
