/** What administration answers, as tables and texts for people. Pure. */
import type { ShownUsage } from "../accounts/usage/usage-report.ts";
import { decimal } from "../openai/usage-edits.ts";
import type { Explanation } from "../routing/explain.ts";
import type { KeyWithUse, ShownInvitation, ShownSecret } from "../server/admin/admin-service.ts";
import type { ShownCall } from "../server/admin/call-view.ts";
import type { FoundCall } from "../server/admin/past-calls.ts";
import type { UsageQuery } from "../server/admin/usage-query.ts";
import { explanationText } from "./explain-command.ts";
import { plainText, table } from "./table.ts";

/** A secret alone on its line, so that `$(router keys create …)` is the key; the note names the key. */
export function secretText({ key, secret, warning }: ShownSecret): { text: string; note: string } {
	const about = [`The secret of "${key.name}" (${key.id}); it is shown only this once.`];
	if (warning !== undefined) about.push(`It is not kept yet: ${warning}.`);
	const traced = tracedNote(key);
	return { text: `${secret}\n`, note: [about.join(" "), ...(traced === undefined ? [] : [traced])].join("\n") };
}

/** Of a key whose calls' contents are sent: what that means for who uses it; undefined of others. */
export const tracedNote = ({
	name,
	trace_contents,
}: Pick<KeyWithUse, "name" | "trace_contents">): string | undefined =>
	trace_contents
		? `What calls with "${name}" ask and are answered goes to whoever collects the router's traces (trace_contents): tell those who use it.`
		: undefined;

/** The keys, those that are in use first. */
export function keysTable(keys: readonly KeyWithUse[]): string {
	if (keys.length === 0) return "There is no key. `router keys create --name NAME` makes one.\n";
	const head = ["KEY", "ID", "TEAM", "MODELS", "LIMITS", "BUDGET", "STATE"];
	const isRevoked = (key: KeyWithUse) => "revoked_at" in key;
	const rows = [...keys].sort((a, b) => Number(isRevoked(a)) - Number(isRevoked(b))).map(keyRow);
	return table([head, ...rows].map((row) => row.map(plainText)));
}

function keyRow(key: KeyWithUse): string[] {
	const { rpm, tpm, concurrency, input, session_usd } = key.limits;
	const limits = [
		limitText(key.use?.rpm, rpm, "rpm"),
		limitText(key.use?.tpm, tpm, "tpm"),
		limitText(key.use?.concurrency, concurrency, "at once"),
		input === undefined ? "" : `${input} tokens`,
		session_usd === undefined ? "" : `${session_usd} USD a session`,
		key.engine_fields ? "engine fields" : "",
		key.trace_contents ? "contents traced" : "",
		"role" in key ? "viewer: makes no calls" : "",
	];
	const { budget } = key;
	const spent = budget ? `${round(budget.spent)} of ${budget.usd} USD ${PER[budget.per]}` : "";
	return [
		key.name,
		key.id,
		key.team ?? "",
		key.models.join(","),
		limits.filter(Boolean).join(", "),
		spent,
		stateOf(key),
	];
}

/** @param used absent where nobody counts */
function limitText(used: number | undefined, most: number | undefined, unit: string): string {
	if (most === undefined) return "";
	return used === undefined ? `${most} ${unit}` : `${used} of ${most} ${unit}`;
}

const PER = { day: "a day", month: "a month", total: "in all" } as const;

function stateOf(key: KeyWithUse): string {
	if ("revoked_at" in key && key.revoked_at) return `revoked ${key.revoked_at.slice(0, 10)}`;
	if ("old_secret_until" in key && key.old_secret_until) return `old secret good until ${key.old_secret_until}`;
	return key.source === "config" ? "in the configuration" : "in use";
}

/** The usage. */
export function usageTable(groups: readonly ShownUsage[], { by, from, to }: UsageQuery): string {
	if (groups.length === 0) return `No calls from ${from} to ${to}.\n`;
	const isMeasured = groups.some(({ energy_wh }) => energy_wh > 0);
	const sums = ["CALLS", "FAILED", "IN", "CACHED", "OUT", "USD", "UNPRICED", ...(isMeasured ? ["WH"] : [])];
	const head = [...by.map((field) => field.toUpperCase()), ...sums];
	const rows = groups.map((group) => [
		...by.map((field) => group[field] || "–"),
		String(group.calls),
		String(group.failed),
		String(group.tokens_in),
		String(group.tokens_cached),
		String(group.tokens_out),
		`${decimal(round(group.cost_usd))}${group.estimated > 0 ? " (about)" : ""}`,
		String(group.unpriced),
		...(isMeasured ? [decimal(round(group.energy_wh))] : []),
	]);
	return table([head, ...rows].map((row) => row.map(plainText)));
}

/** The invitations. */
export function invitationsTable(invitations: readonly ShownInvitation[]): string {
	if (invitations.length === 0) return "There is no invitation. `router agents invite` makes one.\n";
	return table([["INVITATION", "MADE"], ...invitations.map(({ id, created_at }) => [id, created_at])]);
}

/** A past call: what became of it, why it went where it went, its attempts, and what it cost. */
export function callText(call: FoundCall): string {
	const { id, at, status, ms, first_token_ms, key, team, user, attempts } = call;
	const who = [key && `key ${key}`, team && `team ${team}`, user && `user ${user}`].filter(Boolean).join(", ");
	const first = first_token_ms === undefined ? "" : `, first token after ${first_token_ms} ms`;
	const error = call.error === undefined ? "" : ` ${call.error}`;
	const rows = attempts.map(({ number, target, outcome, status: its, ms: took, hedge, paid_by, cost }) => [
		`attempt ${number}`,
		target,
		outcome,
		its === undefined ? "" : String(its),
		`${took} ms`,
		[hedge && "hedge", paid_by && `paid by the ${paid_by}${cost ? `: ${cost} USD` : ""}`].filter(Boolean).join(", "),
	]);
	return [
		`${id}, ${at}: ${status}${error} in ${ms} ms${first}`,
		...(who === "" ? [] : [who]),
		...(call.trace === undefined ? [] : [plainText(`trace ${call.trace}`)]),
		...(call.router ? [plainText(`router ${call.router.replica} on ${call.router.host}`)] : []),
		...(call.refusal === undefined ? [] : [plainText(call.refusal)]),
		"",
		decisionText(call),
		...(call.dropped_fields
			? [`left out ${call.dropped_fields.map(plainText).join(", ")}: its upstream has no form for it\n`]
			: []),
		// A table of candidates says it itself.
		...("policy" in call.decision
			? []
			: (call.skipped ?? []).map(({ target, reason }) => `${plainText(`not sent to ${target}: ${reason}`)}\n`)),
		...(rows.length > 0 ? [table(rows.map((row) => row.map(plainText)))] : []),
		costText(call),
	]
		.map((line) => line.replace(/[^\S\n]+$/gm, ""))
		.join("\n");
}

function decisionText({ decision, requested, model, operation, stream, target, cache }: ShownCall): string {
	if ("policy" in decision) return explanationText(decision as Explanation);
	const { route } = decision as { route?: string };
	const request = `${plainText(requested ?? model)}: ${operation}${stream ? ", streamed" : ""}`;
	const by = cache === "hit" ? ", from the cache" : target === undefined ? "" : ` → ${target}, the only one`;
	return `${request}${route === undefined ? "" : `, ${route}`}${by}\n`;
}

const SOURCES = {
	upstream: "as the upstream says",
	prices: "by `prices:`",
	list: "by the list price",
	own: "on our own hardware",
	none: "nobody knows the price",
} as const;

function costText({ tokens, cost_usd, price, ...call }: ShownCall): string {
	const joules = "energy_j" in call && call.energy_j !== undefined ? `energy   ${decimal(call.energy_j)} J\n` : "";
	if (!tokens || !price) return joules;
	const counts = Object.entries(tokens).map(([kind, count]) => `${kind} ${count}`);
	const rates = Object.entries((price.rates ?? {}) as Record<string, unknown>).map(
		([kind, rate]) => `${kind} ${typeof rate === "object" ? JSON.stringify(rate) : rate}`,
	);
	const cost = cost_usd === undefined ? "cost unknown" : `${decimal(cost_usd)} USD`;
	const by = rates.length > 0 ? `: ${rates.join(", ")} (USD per million)` : "";
	const about = "estimated" in call && call.estimated ? " (estimated)" : "";
	return `tokens   ${counts.join(", ")}${about}\ncost     ${cost}, ${SOURCES[price.source]}${by}\n${joules}`;
}

/** Rounded to four significant digits. */
const round = (sum: number): number => Number(sum.toPrecision(4));
