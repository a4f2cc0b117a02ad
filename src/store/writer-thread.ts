/** The thread that writes to the database: `writer.ts` starts it, and sends it what is to be written. It answers each message with one. */
import { isRowFault, runAll } from "./connection.ts";
import { decode, insert } from "./ledger-batch.ts";
import { openAgain } from "./open-database.ts";
import type { WriteAnswer, WriteRequest } from "./writer.ts";
import { countChange } from "./writer-table.ts";

declare const self: Worker;

type OpenDatabase = NonNullable<ReturnType<typeof openAgain>>;

let open: { readonly file: string; readonly inode: number; readonly db: OpenDatabase } | undefined;

self.onmessage = ({ data }: MessageEvent<WriteRequest>) => {
	self.postMessage(write(data));
};

function write({ file, inode, writer, number, message }: WriteRequest): WriteAnswer {
	try {
		const db = databaseOf(file, inode);
		if (!db) return { number, result: "gone" };
		// Before the transaction: others wait for its end.
		const batch = message instanceof ArrayBuffer ? decode(message) : undefined;
		const change = db.transaction(() => {
			if (batch) insert(db, batch);
			else runAll(db, message as Exclude<typeof message, ArrayBuffer>);
			countChange(db, writer, number);
		});
		change.immediate();
		return { number, result: "written" };
	} catch (error) {
		const { code, message: text } = error as { code?: string; message: string };
		return { number, result: isRowFault(error) ? "refused" : "waits", problem: { code, message: text } };
	}
}

/** The database, opened anew where another file was meant before. Undefined where the file of that name is not the one that is meant. */
function databaseOf(file: string, inode: number): OpenDatabase | undefined {
	if (open?.file === file && open.inode === inode) return open.db;
	open?.db.close();
	open = undefined;
	const db = openAgain(file, inode);
	if (db) open = { file, inode, db };
	return db;
}
