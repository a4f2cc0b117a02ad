/** `router replay`: what another policy would have made of calls that are in the ledger of this machine's data directory. Calls nobody. */
import type { Config } from "../config/schema.ts";
import { RouterError, StartError } from "../errors.ts";
import { decimal } from "../openai/usage-edits.ts";
import type { Policy } from "../routing/route.ts";
import { callSearch } from "../server/admin/call-list.ts";
import { type LedgerTraffic, ledgerTraffic } from "../server/replay/ledger-traffic.ts";
import { type Compared, changeOf, type ReplayReport, replayReport } from "../server/replay/report.ts";
import { RouterState } from "../server/router-state.ts";
import type { ReplayOptions } from "./admin-args.ts";
import { missingDatabaseNote } from "./missing-database.ts";
import { plainText, table } from "./table.ts";

const POLICIES: readonly Policy[] = ["balanced", "cheapest", "fastest", "order"];

/** The report, as a table or as JSON; and what the user should know of it besides. Throws StartError. */
export function replayOutput(
	options: ReplayOptions,
	config: Config,
): { readonly text: string; readonly note?: string | undefined } {
	const { policy, model, json } = options;
	if (policy !== undefined && !POLICIES.includes(policy as Policy)) {
		throw new StartError(`--policy must be one of ${POLICIES.join(", ")}, but is "${plainText(policy.slice(0, 40))}"`);
	}
	const missing = missingDatabaseNote(config);
	const { traffic, cutAt } = trafficOf(options, config);
	const report = replayReport(traffic, { policy: policy as Policy | undefined, model });
	const note =
		cutAt === undefined
			? missing
			: `These are the latest ${traffic.calls.length} calls only, from ${new Date(cutAt).toISOString()} on: an earlier --to replays those before.`;
	return { text: json ? `${JSON.stringify(report, undefined, 2)}\n` : replayText(report), note };
}

function trafficOf({ from, to }: ReplayOptions, config: Config): LedgerTraffic {
	const state = new RouterState(config);
	try {
		const { store } = state;
		const range = callSearch({ from, to });
		const read = ledgerTraffic(store.ledger, range);
		if (store.isUnreadable) throw new StartError(store.problem ?? "the data directory can't be read");
		return read;
	} catch (thrown) {
		if (thrown instanceof RouterError) throw new StartError(`--${thrown.message}`);
		throw thrown;
	} finally {
		state.store.close();
	}
}

/** The report as a table for people, with a line end. */
export function replayText(report: ReplayReport): string {
	const { policy, model, calls, cost_usd, wait_ms, targets, error } = report;
	const of = model === undefined ? "" : ` of ${plainText(model)}`;
	const { unexplained } = calls;
	const rest = unexplained === 0 ? "" : `; ${unexplained} more have rows that don't say what was known`;
	const about = `${calls.all} calls, ${calls.decided}${of} with several targets${rest}`;
	if (calls.decided === 0) return `${about}: there is nothing to decide again.\n`;
	const by = policy ?? "the policies as they were";
	const share = percent(calls.moved / calls.decided);
	const lines = [
		["", "AS IT WAS", `BY ${by}`.toUpperCase(), "CHANGE"],
		["calls elsewhere", "", String(calls.moved), share],
		["cost", ...compared(cost_usd, usd)],
		["median wait", ...compared(wait_ms.median, milliseconds)],
		["95 % wait less than", ...compared(wait_ms.p95, milliseconds)],
	];
	const rows = targets.map(({ target, calls: its, cost_usd: cost, median_wait_ms: wait }) => [
		target,
		...[String(its.live), String(its.replay), usd(cost.live), usd(cost.replay)],
		...[milliseconds(wait.live), milliseconds(wait.replay)],
	]);
	const head = ["TARGET", "CALLS", "BY REPLAY", "USD", "BY REPLAY", "MEDIAN WAIT", "BY REPLAY"];
	return [
		about,
		"",
		table(lines),
		table([head, ...rows].map((row) => row.map(plainText))),
		errorText(error),
		...(calls.guessed > 0
			? [
					`${calls.guessed} calls would have gone to targets that answered none in that time: what those take is a guess.`,
				]
			: []),
		...(calls.extrapolated > 0
			? [
					`${calls.extrapolated} calls would have gone to targets that answered less than half as many: how those bear that is not seen.`,
				]
			: []),
		...(cost_usd.unknown > 0
			? [`${cost_usd.unknown} calls have no known cost on both sides and are in neither sum.`]
			: []),
		"",
	].join("\n");
}

function errorText({ same_targets, cost, median_wait }: ReplayReport["error"]): string {
	const parts = [
		`${percent(same_targets ?? 0)} of calls at the targets that they had`,
		`cost ${signed(cost)}`,
		`median wait ${signed(median_wait)}`,
	];
	return `error, by replaying what was: ${parts.join(", ")}`;
}

function compared(both: Compared, text: (value: number | null) => string): [string, string, string] {
	return [text(both.live), text(both.replay), signed(changeOf(both))];
}

const usd = (value: number | null): string => (value === null ? "–" : `${decimal(Number(value.toPrecision(4)))} USD`);
const milliseconds = (value: number | null): string => (value === null ? "–" : `${Math.round(value)} ms`);
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
const signed = (share: number | null): string => (share === null ? "–" : `${share < 0 ? "" : "+"}${percent(share)}`);
