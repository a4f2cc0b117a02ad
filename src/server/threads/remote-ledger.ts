/** The ledger's tables, as a worker has them: its rows are written by the main thread. */
import { encode, type UsageRow } from "../../store/ledger-batch.ts";
import { type LedgerStore, rowsIn } from "../../store/ledger-table.ts";
import type { Questions, ToMain, ToWorker, WrittenUsage } from "./link.ts";

/** What became of rows. */
export type RowsAnswer = Pick<Extract<ToWorker, { type: "written" }>, "result" | "fault">;

/** What the ledger of a worker writes to: rows stay with it until the main thread has answered. */
export type RemoteLedger = Pick<LedgerStore, "write" | "fault" | "sync" | "call" | "trim">;

/** The tables. @param rows asks for rows to be written @param syncs asks for what was written to survive a loss of power */
export function remoteLedger(
	rows: Pick<Questions<ToMain, RowsAnswer>, "ask">,
	syncs: Pick<Questions<ToMain, true>, "ask">,
): RemoteLedger {
	let fault = "";
	return {
		async write(batch) {
			let bytes: ArrayBuffer;
			try {
				bytes = encode(batch);
			} catch (error) {
				fault = (error as Error).message;
				return "refused";
			}
			const spent = batch.usage.map(writtenUsage);
			const answer = await rows.ask({ type: "rows", bytes, rows: rowsIn(batch), spent }, [bytes]);
			if (!answer) return "waits";
			fault = answer.fault;
			return answer.result;
		},
		fault: () => fault,
		async sync() {
			await syncs.ask({ type: "sync" });
		},
		// Only the main thread reads the ledger, and deletes from it with each batch.
		call: () => undefined,
		trim: async () => 0,
	};
}

function writtenUsage({ day, keyId, key, team, user, model, provider, cost }: UsageRow): WrittenUsage {
	return { day, keyId, key, team, user, model, provider, cost };
}
