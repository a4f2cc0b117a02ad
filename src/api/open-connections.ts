/** The connections that are open for longer than a call: whoever stops the server has them end first. */

/** One of them. */
export interface OpenConnection {
	/** Ends it once it answers nothing any more. @param isReplaced another process answers at the same address */
	end(isReplaced: boolean): void;
}

/** All of a server's. */
export class OpenConnections {
	readonly #open = new Set<OpenConnection>();
	#isDraining = false;

	/** No further ones are wanted. */
	get isDraining(): boolean {
		return this.#isDraining;
	}

	/** One has begun. */
	add(connection: OpenConnection): void {
		this.#open.add(connection);
	}

	/** One is over. */
	delete(connection: OpenConnection): void {
		this.#open.delete(connection);
	}

	/** Has all of them end. @param isReplaced another process answers at the same address */
	drain(isReplaced: boolean): void {
		this.#isDraining = true;
		for (const connection of [...this.#open]) connection.end(isReplaced);
	}
}
