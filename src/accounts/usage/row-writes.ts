/** The main thread's part of rows that worker threads make (`row-maker.ts`): they are passed on to the writer thread as they come. */
import type { UsageRow } from "../../store/ledger-batch.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import type { MadeRows } from "./row-maker.ts";

/** What it works with. */
export interface RowWritesOptions {
	readonly store: Pick<LedgerStore, "writeEncoded">;
	/** As the ledger's. */
	readonly onWritten?: (usage: readonly UsageRow[], settledAt: number | undefined) => void;
	/** How many calls may wait. */
	readonly most: number;
	/** ms, on a clock that never goes back. */
	readonly time: () => number;
}

/** Rows that are being written, or wait for those. */
export class RowWrites {
	#calls = 0;
	/** Each with when it was begun. They end in their order. */
	readonly #writes = new Map<Promise<void>, number>();

	constructor(private readonly options: RowWritesOptions) {}

	/** How many calls they are of. */
	get calls(): number {
		return this.#calls;
	}

	/** When the oldest was begun; infinite where there is none. */
	get begunAt(): number {
		const [oldest = Number.POSITIVE_INFINITY] = this.#writes.values();
		return oldest;
	}

	/** Some are not written or given back yet. */
	get isWriting(): boolean {
		return this.#writes.size > 0;
	}

	/** Resolves when all that there are by now are written or given back. */
	async settled(): Promise<void> {
		await Promise.all([...this.#writes.keys()]);
	}

	/**
	 * Writes these. Never rejects.
	 * @param isStuck nothing can be written now: they are given back at once
	 * @param giveBack called where they are not written, before this resolves
	 */
	write(rows: MadeRows, isStuck: boolean, giveBack: () => void): Promise<void> {
		if (rows.rows === 0) return Promise.resolve();
		if (!rows.bytes || isStuck || this.#calls + rows.calls > this.options.most) {
			giveBack();
			return Promise.resolve();
		}
		this.#calls += rows.calls;
		const written = this.#write(rows, rows.bytes, giveBack).finally(() => {
			this.#calls -= rows.calls;
			this.#writes.delete(written);
		});
		this.#writes.set(written, this.options.time());
		return written;
	}

	async #write({ rows, usage, settledAt }: MadeRows, bytes: ArrayBuffer, giveBack: () => void): Promise<void> {
		const { store, onWritten } = this.options;
		let isWritten = false;
		try {
			isWritten = (await store.writeEncoded(bytes, rows)) === "written";
		} catch {
			// A store that throws is one that can't be written now.
		}
		if (isWritten) onWritten?.(usage, settledAt);
		else giveBack();
	}
}
