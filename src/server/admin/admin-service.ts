/** What an administrator can ask for, over HTTP or on the command line. Answers are as JSON shows them; what can't be is a RouterError. */
import type { StoredKey } from "../../accounts/auth/key-store.ts";
import { focusCsv, isDaily } from "../../accounts/usage/focus-report.ts";
import { byHour } from "../../accounts/usage/hourly-usage.ts";
import { periodsOf, type SpendStore } from "../../accounts/usage/spend.ts";
import { type ShownUsage, usageBy } from "../../accounts/usage/usage-report.ts";
import type { Config } from "../../config/schema.ts";
import { parseDuration } from "../../config/units.ts";
import { RouterError } from "../../errors.ts";
import type { Store } from "../../store/store.ts";
import type { RouterState } from "../router-state.ts";
import { type CallSearch, callSearch, type ShownCalls, shownCalls } from "./call-list.ts";
import type { KeyChangeBody, NewKeyBody } from "./key-bodies.ts";
import { withChange } from "./key-change.ts";
import { type LimitUse, limitUses } from "./limit-use.ts";
import type { PastCalls } from "./past-calls.ts";
import { shownRunaways } from "./runaway-list.ts";
import { type ShadowReport, shadowReport } from "./shadow-report.ts";
import type { FocusExport, Granularity, UsageQuery } from "./usage-query.ts";

/** A key as it is shown: never its secret, nor the hash of it. */
export type ShownKey = ReturnType<typeof shownKey>;
/** A new secret, shown this once. */
export interface ShownSecret {
	readonly key: ShownKey;
	readonly secret: string;
	/** Why it is not on the disk yet, and what a restart before that would undo. */
	readonly warning?: string;
}
/** What was changed, or taken back. */
export type Warned<Shown> = Shown & Pick<ShownSecret, "warning">;
/** A key in the list. */
export type KeyWithUse = (ShownKey | ReturnType<typeof configuredKeys>[number]) & {
	/** How much of its limits is taken now; absent where it has none, or nobody counts. */
	readonly use?: LimitUse;
};
/** An invitation that agents can come with. */
export interface ShownInvitation {
	readonly id: string;
	readonly created_at: string;
}

/** Carries out what an administrator asks for, by one configuration. */
export type AdminService = ReturnType<typeof adminService>;

const DAY_MS = 86_400_000;
const LONGEST_OVERLAP_MS = 365 * DAY_MS;
/** What is shown of an invitation's hash. */
const ID_LENGTH = 12;

/** Hears of every change: `key.create`, and what of it may be logged. */
type Audit = (action: string, what: object) => void;

/** The service of an administrator, by one configuration. */
export function adminService(state: RouterState, calls: PastCalls, config: Config, audit: Audit) {
	return {
		...keyOperations(state, config, audit),
		...ledgerQueries(state, calls, config),
		...invitationOperations(state.store, audit),
		runaways: () => shownRunaways(state.runaways),
	};
}

function keyOperations(state: RouterState, config: Config, audit: Audit) {
	const { keys, store, spend } = state;
	const shown = (key: StoredKey) =>
		shownKey(key, key.budget && spend.spent(key.id, periodsOf(Date.now())[key.budget.per]));
	return {
		async keys() {
			const listed = [...configuredKeys(config, spend), ...keys.list().map(shown)];
			const uses = await limitUses(
				listed.filter((key) => !("revoked_at" in key)),
				(limits) => state.limitsTaken(limits),
			);
			return listed.map((key): KeyWithUse => {
				const use = uses.get(key.id);
				return use ? { ...key, use } : key;
			});
		},
		createKey(body: NewKeyBody): ShownSecret {
			const { name, team, role, models = ["*"], budget, engine_fields, trace_contents, ...limits } = body;
			if (role) refuseCallersFields(body);
			if (role) refuseFirstKey(keys, config);
			const { rpm, tpm, concurrency, input, session_usd } = limits;
			const asked = {
				name,
				team,
				models: role ? [] : models,
				...(role && { role }),
				limits: defined({ rpm, tpm, concurrency, input, session_usd }),
				budget: budget && { usd: budget.usd, per: budget.per ?? ("month" as const) },
				...(engine_fields && { engineFields: true }),
				...(trace_contents && { tracesContents: true }),
			};
			const inUse = [...config.keys, ...config.admin.keys].map((key) => key.name);
			const { key, secret } = keys.create(asked, inUse);
			audit("key.create", { key: key.id, name, ...(trace_contents && { trace_contents }) });
			return { key: shown(key), secret, ...warningOf(store, "a restart before that forgets the key") };
		},
		changeKey(which: string, body: KeyChangeBody): Warned<ShownKey> {
			const key = keys.edit(which, (before) => withChange(before, body));
			if (!key) throw noKey(which, config);
			const { trace_contents } = body;
			const audited = trace_contents === undefined ? {} : { trace_contents };
			audit("key.change", { key: key.id, name: key.name, changed: Object.keys(body), ...audited });
			return { ...shown(key), ...warningOf(store, "a restart before that undoes the change") };
		},
		revokeKey(which: string): Warned<ShownKey> {
			const key = keys.revoke(which);
			if (!key) throw noKey(which, config);
			audit("key.revoke", { key: key.id, name: key.name });
			return { ...shown(key), ...warningOf(store, "a restart before that makes the key good again") };
		},
		rotateKey(which: string, overlap = "0s"): ShownSecret {
			const rotated = keys.rotate(which, overlapMs(overlap));
			if (!rotated) throw noKey(which, config);
			audit("key.rotate", { key: rotated.key.id, name: rotated.key.name, overlap });
			const undone = "a restart before that makes the old secret good again, and forgets the new one";
			return { key: shown(rotated.key), secret: rotated.secret, ...warningOf(store, undone) };
		},
	};
}

/** A viewer makes no calls, which could be limited. Throws `invalid_value`, naming the field. */
function refuseCallersFields(body: NewKeyBody): void {
	const field = CALLERS_FIELDS.find((name) => body[name] !== undefined);
	if (field === undefined) return;
	const message = `${field} is for keys that make calls, and a viewer's makes none: leave it out.`;
	throw new RouterError("invalid_value", message, { param: field });
}

/** A router without keys lets everyone call. With a viewer's as its only one it would let nobody. Throws `invalid_value`. */
function refuseFirstKey(keys: RouterState["keys"], { keys: configured, server }: Config): void {
	if (configured.length > 0 || server.generate_key || !keys.isEmpty) return;
	const message =
		"This router has no key yet, and whoever reaches it may call; with a viewer's key alone nobody could. " +
		"Make a key that makes calls first: `router keys create --name me`.";
	throw new RouterError("invalid_value", message, { param: "role" });
}

const CALLERS_FIELDS = [
	"models",
	"rpm",
	"tpm",
	"concurrency",
	"input",
	"session_usd",
	"engine_fields",
	"trace_contents",
	"budget",
] as const;

function ledgerQueries(state: RouterState, calls: PastCalls, config: Config) {
	return {
		async usage({ by, from, to }: UsageQuery): Promise<{ data: ShownUsage[]; partial?: true }> {
			const { own, others, isPartial } = await state.usage(from, to);
			return { data: usageBy([...own, ...others], by), ...(isPartial ? { partial: true as const } : {}) };
		},
		/** @param signal of whoever asks: rejects with `cancelled` once it is aborted */
		async focus(
			{ from, to }: Pick<UsageQuery, "from" | "to">,
			granularity: Granularity,
			signal?: AbortSignal,
		): Promise<FocusExport> {
			const hours = granularity === "hour" ? await state.hours.read({ from, to }, Date.now, signal) : undefined;
			const { own, others, isPartial } = await state.usage(from, to);
			const rows = [...(hours ? byHour(own, hours) : own), ...others];
			return {
				csv: focusCsv(rows, config),
				granularity,
				...(isPartial && { partial: true as const }),
				...(hours && rows.some(isDaily) && { daily: true as const }),
			};
		},
		call: (id: string) => calls.find(id),
		/** @param signal as for `focus` */
		async calls(search: CallSearch, signal?: AbortSignal): Promise<ShownCalls> {
			await state.ledger.flush();
			// Beside a load there is always one that has ended since.
			const waiting = state.ledger.isStuck ? state.ledger.waiting : 0;
			return shownCalls(search, state.store.ledger, waiting, signal);
		},
		/** Copies of these days, of this router's ledger. @param signal as for `focus` */
		async shadow({ from, to }: Pick<UsageQuery, "from" | "to">, signal?: AbortSignal): Promise<ShadowReport> {
			await state.ledger.flush();
			const { ledger } = state.store;
			const days = { from, to };
			return shadowReport(callSearch(days), days, ledger, config.models, state.spend, Date.now(), signal);
		},
	};
}

function invitationOperations(store: Store, audit: Audit) {
	return {
		invitations: (): ShownInvitation[] =>
			store.agentTokens().map(({ hash, createdAt }) => ({
				id: idOf(hash),
				created_at: new Date(createdAt).toISOString(),
			})),
		revokeInvitation(id: string): Warned<ShownInvitation> {
			const token = store.agentTokens().find(({ hash }) => idOf(hash) === id);
			if (!token) {
				throw new RouterError("invitation_not_found", `There is no invitation "${id.slice(0, 100)}".`, { param: "id" });
			}
			store.revokeAgentToken(token.hash);
			audit("invitation.revoke", { invitation: id });
			const created_at = new Date(token.createdAt).toISOString();
			return { id, created_at, ...warningOf(store, "a restart before that makes the invitation good again") };
		},
	};
}

/** For a change that is not on the disk yet. @param undone what a restart does before it is */
function warningOf(store: Pick<Store, "hasUnwritten" | "problem">, undone: string): { warning?: string } {
	if (!store.hasUnwritten) return {};
	return { warning: `${store.problem}: the change waits in memory until it can; ${undone}` };
}

/** The keys of the configuration as they are shown, with what they have spent. */
function configuredKeys(config: Config, spend: SpendStore) {
	return config.keys.map(
		({ name, team, models, rpm, tpm, concurrency, input, session_usd, budget, engine_fields, trace_contents }) => ({
			id: `config:${name}`,
			name,
			...(team === undefined ? {} : { team }),
			models,
			limits: defined({ rpm, tpm, concurrency, input, session_usd }),
			...(engine_fields ? { engine_fields } : {}),
			...(trace_contents ? { trace_contents } : {}),
			...(budget
				? { budget: { ...budget, spent: spend.spent(`config:${name}`, periodsOf(Date.now())[budget.per]) } }
				: {}),
			source: "config" as const,
		}),
	);
}

/** Throws `invalid_value` for what is no duration, or so long that the old secret might as well stay. */
function overlapMs(text: string): number {
	const ms = parseDuration(text);
	if (ms !== undefined && ms <= LONGEST_OVERLAP_MS) return ms;
	throw new RouterError("invalid_value", "overlap must be a duration such as 24h, 365d at most.", { param: "overlap" });
}

const idOf = (hash: Buffer): string => hash.toString("hex").slice(0, ID_LENGTH);

function shownKey({ id, name, team, prefix, models, limits, budget, ...rest }: StoredKey, spent: number | undefined) {
	const { createdAt, previous, revokedAt, engineFields, tracesContents, role } = rest;
	return {
		id,
		name,
		...(team === undefined ? {} : { team }),
		...(prefix === undefined ? {} : { prefix }),
		models,
		limits,
		...(engineFields ? { engine_fields: true } : {}),
		...(tracesContents ? { trace_contents: true } : {}),
		...(role ? { role } : {}),
		...(budget ? { budget: { ...budget, spent: spent ?? 0 } } : {}),
		source: "made" as const,
		created_at: new Date(createdAt).toISOString(),
		...(previous && previous.until > Date.now() ? { old_secret_until: new Date(previous.until).toISOString() } : {}),
		...(revokedAt === undefined ? {} : { revoked_at: new Date(revokedAt).toISOString() }),
	};
}

function noKey(which: string, config: Config): RouterError {
	const name = which.slice(0, 100);
	const isConfigured = config.keys.some((key) => key.name === which || `config:${key.name}` === which);
	const message = isConfigured
		? `The key "${name}" stands in the configuration: change it there.`
		: `There is no key "${name}" that is in use.`;
	return new RouterError("key_not_found", message, { param: "key" });
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
	return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
