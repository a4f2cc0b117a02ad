/** What `/metrics` shows of the ledger: that it is written, what waits, and what is lost. */
import { Counter, Gauge, type Registry } from "prom-client";

/** How the ledger stands. `stopped`: calls wait. `memory`: what is new is in memory alone. Both are tried again, until it is on the disk. */
export type LedgerState = "ok" | "stopped" | "memory";

/** Asked at each scrape. */
export interface LedgerCounts {
	readonly state: LedgerState;
	/** Calls that wait to be written. */
	readonly waiting: number;
}

/** The hands that write to it. */
export interface LedgerMetrics {
	/** Rows are in no ledger, and never will be. */
	ledgerLost(reason: string, count: number): void;
	/** Where it is asked how the ledger stands. */
	watchLedger(counts: () => LedgerCounts): void;
}

/** Adds them to a registry. */
export function addLedgerMetrics(registry: Registry): LedgerMetrics {
	const registers = [registry];
	let counts: (() => LedgerCounts) | undefined;
	const gauge = (name: string, help: string, read: (counts: LedgerCounts) => number) =>
		new Gauge({
			name: `router_ledger_${name}`,
			help,
			registers,
			collect() {
				if (counts) this.set(read(counts()));
			},
		});
	gauge("up", "1 while the ledger can be written to the disk.", ({ state }) => Number(state === "ok"));
	gauge("waiting_calls", "Calls that wait to be written.", ({ waiting }) => waiting);
	const lost = new Counter({
		name: "router_ledger_lost_rows_total",
		help: "Calls and attempts that are in no ledger: refused by the database, or no room (full) while it could not be written.",
		labelNames: ["reason"],
		registers,
	});
	return {
		ledgerLost: (reason, count) => lost.inc({ reason }, count),
		watchLedger(watched) {
			counts = watched;
		},
	};
}
