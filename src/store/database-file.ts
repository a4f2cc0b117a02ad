/**
 * The file `router.db` of a data directory, and its replacement while it can't be used: a database in memory, or changes that wait. See
 * "What is not on the disk" in design.md.
 */
import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Checkpoints } from "./checkpoints.ts";
import { type Connection, isRowFault, type Write, type WriteResult } from "./connection.ts";
import { mergeInto, rememberBase, takeOver } from "./merge.ts";
import { MIGRATIONS } from "./migrations.ts";
import { inodeOf, openDatabase, prepared, syncLog } from "./open-database.ts";
import { unwritable } from "./private-file.ts";
import { Writer, type WriterThread } from "./writer.ts";
import { CHANGES_BY_OTHERS, countChange, lastBatch } from "./writer-table.ts";

/** Pages written to the write-ahead log, as far as can be guessed, after which a checkpoint is made. The first write after it waits for the disk once. */
const CHECKPOINT_PAGES = 4_000;
/** Pages that a change writes at least. */
const CHANGE_PAGES = 2;
/** How long until a write is looked for again whose thread ended without a word, where the file can't be used, ms. */
const RETRY_MS = 5_000;
const DELETED = "it was deleted or replaced while it was in use";
/** More than a database counts changes by other processes. */
const GENERATION = 2 ** 32;

/** A change; made twice it is as if it were made once. */
export type Change = (to: Database) => unknown;

/** Opens nothing before the first read or write, and makes no file before the first write. Nothing here throws. */
export class DatabaseFile implements Connection {
	/** Why new data is not on the disk, a clause; undefined while it is. */
	problem: string | undefined;
	/** The file exists and can't be read. */
	isUnreadable = false;
	isInMemory = false;
	/** Another file has its name, or none, as far as that has been seen. */
	#isGone = false;
	readonly #file: string;
	#db: Database | undefined;
	#fault: { readonly message: string } | undefined;
	/** The inode that was opened: another file may have the name by now. */
	#inode: number | undefined;
	/** How often another database has replaced the one before. */
	#generation = 0;
	/** Changes that could not be written, by the row they change: the later one of a row counts. */
	readonly #waiting = new Map<string, Change>();
	/** The last batch of the ledger could not be written; the ledger writes it again. */
	#ledgerWaits = false;
	#lastWasWritten = false;
	readonly #checkpoints: Checkpoints;
	protected readonly writer: Writer;
	/** Writes of the thread whose result is not known yet. */
	#underWay = 0;
	/** Written since the last checkpoint began. */
	#logPages = 0;
	/** What was seen of the file when its version was last asked for. */
	#seen = { version: 0, sent: 0, underWay: 0 };
	/** Changes of others that are not in the table of writers. */
	#uncounted = 0;

	/**
	 * @param onProblem called once for a directory or file that can't be used; when it can be used again, `onRecovered` is called
	 * @param startThread starts the writer thread
	 */
	constructor(
		private readonly dataDir: string,
		private readonly onProblem: (sentence: string) => void,
		private readonly onRecovered: (sentence: string) => void,
		startThread?: () => WriterThread,
	) {
		this.#file = join(dataDir, "router.db");
		const onUnusable = (why: string) => onProblem(`${this.#file}: ${why}.`);
		this.#checkpoints = new Checkpoints(this.#file, onUnusable);
		this.writer = new Writer(startThread, onUnusable);
	}

	/** Changes are in memory alone (the ledger's own waiting calls aside): a restart undoes them. */
	get hasUnwritten(): boolean {
		return this.#waiting.size > 0 || (this.#db !== undefined && !this.#isOnDisk());
	}

	/** Another number after each change by another process. 0 where there is no database. */
	version(): number {
		const [version = 0] = this.read((from) => from.query("PRAGMA data_version").values() as [number][])[0] ?? [];
		const { id, sent } = this.writer;
		// What the thread writes changes it, too. An older router, or whoever writes by hand, counts nothing: it is seen while the thread is idle.
		const isIdle = sent === this.#seen.sent && this.#seen.underWay === 0;
		if (version !== this.#seen.version && isIdle) this.#uncounted++;
		this.#seen = { version, sent, underWay: this.#underWay };
		const [counted = 0] = this.read((from) => from.query(CHANGES_BY_OTHERS).values(id) as [number][])[0] ?? [];
		return this.#generation * GENERATION + this.#uncounted + counted;
	}

	read<T>(query: (db: Database) => T[]): T[] {
		return this.tryRead(query) ?? [];
	}

	tryRead<T>(query: (db: Database) => T[]): T[] | undefined {
		const from = this.#db ?? this.#opened(false);
		try {
			return from ? query(from) : [];
		} catch (error) {
			this.#reportProblem(error);
			return undefined;
		}
	}

	fault(): string {
		return this.#fault?.message ?? "";
	}

	change(change: Change, pages = CHANGE_PAGES): WriteResult {
		const to = this.#opened(true)!;
		try {
			const counted = to.transaction(() => {
				change(to);
				countChange(to, this.writer.id);
			});
			counted.immediate();
		} catch (error) {
			// The row is wrong, not the file: its author reports it.
			if (isRowFault(error)) {
				this.#fault = error as Error;
				return "refused";
			}
			this.#reportProblem(error);
			this.#lastWasWritten = false;
			return "waits";
		}
		this.#noteWritten(pages);
		return "written";
	}

	async writeLedger(write: Write): Promise<WriteResult> {
		const result = await this.changeInThread(write);
		this.#ledgerWaits = result === "waits";
		if (result === "written") {
			this.#writeWaiting();
			this.#checkRecovered();
		}
		return result;
	}

	async changeInThread(write: Write): Promise<WriteResult> {
		const here = () => this.change(write.apply, write.pages);
		const to = this.#opened(true);
		// A database in memory is this thread's alone; what was deleted is soon replaced, when nothing may be under way.
		if (this.isInMemory || this.#isGone || !this.writer.isUsable || this.writer.isUnsure) return here();
		this.#underWay++;
		try {
			const answer = await this.writer.write(this.#file, this.#inode!, write.message());
			if (typeof answer === "number") {
				const result = await this.#writeOnce(answer, write, to);
				this.writer.isUnsure = false;
				return result;
			}
			if (answer.result === "gone") return here();
			if (answer.result === "written") this.#noteWritten(write.pages);
			else if (answer.result === "refused") this.#fault = answer.problem;
			else {
				this.#reportProblem(answer.problem);
				this.#lastWasWritten = false;
			}
			return answer.result;
		} catch (error) {
			// A value that can't be sent.
			this.#fault = error as Error;
			return "refused";
		} finally {
			this.#underWay--;
		}
	}

	/**
	 * Makes a write here whose thread ended without a word, unless it is made. Until that can be found out it is neither written nor waits: it
	 * might be made twice.
	 */
	async #writeOnce(number: number, { apply, pages }: Write, to: Database | undefined): Promise<WriteResult> {
		for (;;) {
			// Closed meanwhile.
			if (this.#db !== to) return "waits";
			const result = this.change((db) => {
				if (lastBatch(db, this.writer.id) < number) apply(db);
			}, pages);
			if (result !== "waits") return result;
			await Bun.sleep(RETRY_MS);
		}
	}

	#noteWritten(pages: number): void {
		this.#lastWasWritten = true;
		if (!this.isInMemory && !this.#isOnDisk()) this.#reportGone();
		this.#logPages += pages;
		if (this.#logPages < CHECKPOINT_PAGES || this.isInMemory) return;
		this.#logPages = 0;
		this.#checkpoints.start();
	}

	/** Makes changes, by the row they change, or has them wait. Whether all data is on the disk, where the next start finds it. */
	protected write(changes: Iterable<readonly [row: string, change: Change]>): boolean {
		for (const [row, change] of changes) this.#waiting.set(row, change);
		const isWritten = this.#writeWaiting() && this.#isOnDisk();
		this.#checkRecovered();
		return isWritten;
	}

	/** Whether a change of this row waits. */
	protected isWaiting(row: string): boolean {
		return this.#waiting.has(row);
	}

	/** Flushes the write-ahead log to the disk. */
	async sync(): Promise<void> {
		if (this.#db?.filename !== this.#file) return;
		try {
			await syncLog(this.#file);
		} catch (error) {
			this.#reportProblem(error);
		}
	}

	/** Uses the file again where it could not be used, makes it anew where it was deleted, and writes the changes that wait. */
	recover(): void {
		const open = this.#opened(false);
		if (!open) {
			const reason = unwritable(this.dataDir);
			if (reason) this.#reportProblem({ code: reason });
			else this.#reportRecovered();
			return;
		}
		if (!this.#isOnDisk()) {
			if (!this.isInMemory) this.#reportGone();
			// What the thread still writes to the deleted one would not be merged.
			if (this.#underWay === 0) this.#reopen(open);
			if (!this.#isOnDisk()) return;
		}
		if (this.#waiting.size > 0) this.#writeWaiting();
		// A write that changes nothing shows whether writing is possible.
		else if (this.problem !== undefined) {
			this.change((to) => to.query(`PRAGMA user_version = ${MIGRATIONS.length}`).run());
		} else return;
		if (this.#lastWasWritten) this.#checkRecovered();
	}

	async finishLog(): Promise<void> {
		if (this.#isOnDisk()) await this.#checkpoints.finish();
	}

	close(): void {
		this.#checkpoints.close();
		this.writer.close();
		this.#db?.close();
		this.#db = undefined;
		this.isInMemory = false;
		this.#isGone = false;
	}

	/** Undefined where there is no file yet and nothing to write. */
	#opened(isWrite: boolean): Database | undefined {
		if (this.#db || !(isWrite || existsSync(this.#file))) return this.#db;
		try {
			this.#db = openDatabase(this.#file);
			this.#inode = inodeOf(this.#file);
		} catch (error) {
			this.#reportProblem(error);
			this.#db = prepared(new Database(":memory:"));
			this.isInMemory = true;
			this.isUnreadable = existsSync(this.#file) && !takeOver(this.#file, this.#db);
			rememberBase(this.#db);
		}
		return this.#db;
	}

	/** Whether the next start finds what is written: not so where the open file has no name any more. */
	#isOnDisk(): boolean {
		return this.#db !== undefined && !this.isInMemory && inodeOf(this.#file) === this.#inode;
	}

	/** Writes the changes that wait. Whether none waits any more. */
	#writeWaiting(): boolean {
		if (this.#waiting.size === 0) return true;
		const result = this.change((to) => {
			for (const change of this.#waiting.values()) change(to);
		});
		if (result === "waits") return false;
		if (result === "refused") {
			// One of them: the others must not wait for it.
			for (const [row, change] of this.#waiting) {
				const alone = this.change(change);
				if (alone === "refused") this.#reportProblem(this.#fault);
				if (alone !== "waits") this.#waiting.delete(row);
			}
			return false;
		}
		this.#waiting.clear();
		return true;
	}

	/** Replaces a database that is not on the disk by the file, and adds to the file what that one alone holds. */
	#reopen(from: Database): void {
		let next: Database | undefined;
		try {
			next = openDatabase(this.#file);
			const inode = inodeOf(this.#file);
			mergeInto(next, from);
			this.#db = next;
			this.isInMemory = false;
			this.#isGone = false;
			this.#inode = inode;
			this.#generation++;
			this.isUnreadable = false;
		} catch (error) {
			next?.close();
			this.#reportProblem(error);
			return;
		}
		// SQLite leaves the files alone that now have its names.
		from.close();
	}

	#reportGone(): void {
		this.#isGone = true;
		this.#reportProblem({ message: DELETED });
	}

	#reportProblem(error: unknown): void {
		const { code, message } = error as { code?: string; message: string };
		const isNew = this.problem === undefined;
		this.problem = `${this.#file} can't be used (${code ?? message})`;
		if (isNew) this.onProblem(`${this.problem}: what is new waits in memory, and it is tried again every 5 s.`);
	}

	#checkRecovered(): void {
		if (this.problem !== undefined && this.#waiting.size === 0 && !this.#ledgerWaits && this.#isOnDisk()) {
			this.#reportRecovered();
		}
	}

	#reportRecovered(): void {
		if (this.problem === undefined) return;
		this.problem = undefined;
		this.onRecovered(`${this.#file} can be used again: what waited in memory is written.`);
	}
}
