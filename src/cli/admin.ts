/** `router keys`, `router usage`, `router why`, `router replay`: on the data directory of this machine, or over HTTP where a router is named. */
import { existsSync } from "node:fs";
import { usageCsv } from "../accounts/usage/usage-report.ts";
import type { Config } from "../config/schema.ts";
import { RouterError, StartError } from "../errors.ts";
import {
	type AdminService,
	adminService,
	type ShownInvitation,
	type ShownSecret,
} from "../server/admin/admin-service.ts";
import { type FoundCall, PastCalls } from "../server/admin/past-calls.ts";
import { DAILY_HEADER, GRANULARITY_HEADER, PARTIAL_HEADER, usageQuery } from "../server/admin/usage-query.ts";
import { RouterState } from "../server/router-state.ts";
import type { AdminCommand } from "./admin-args.ts";
import { callText, invitationsTable, keysTable, secretText, tracedNote, usageTable } from "./admin-tables.ts";
import { askRouter, plainKey } from "./ask-router.ts";
import { auditLine } from "./audit-line.ts";
import { keyChange, newKey } from "./key-flags.ts";
import { missingDatabaseNote } from "./missing-database.ts";
import { replayOutput } from "./replay-command.ts";

/** The output: for stdout, and a note for the user, for stderr. */
export interface AdminOutput {
	readonly text: string;
	readonly note?: string | undefined;
}

/** The administration of this machine's data directory, or of another router over HTTP. */
export type AdminClient = {
	/** Of the data directory: why a change is on no disk, so that nobody but this process knows of it. */
	readonly unsavedReason?: () => string | undefined;
	/** Of the data directory: why what is in it can't be read, so that nothing is known of it. */
	readonly unreadReason?: () => string | undefined;
} & {
	[K in Exclude<keyof AdminService, "calls" | "runaways" | "shadow">]: (
		...args: Parameters<AdminService[K]>
	) => ReturnType<AdminService[K]> | Promise<Awaited<ReturnType<AdminService[K]>>>;
};

/** Carries a command out. Throws StartError. */
export async function runAdminCommand(
	command: AdminCommand,
	url: string | undefined,
	config: Config,
): Promise<AdminOutput> {
	if (command.what === "replay") return replayOutput(command.options, config);
	const missing = command.what === "why" && url === undefined ? missingDatabaseNote(config) : undefined;
	if (missing !== undefined) throw new StartError(missing);
	const notes = url === undefined ? directoryNotes(command, config) : [];
	const { text, note } = await administer(url, config, notes, (client) => execute(command, client));
	return { text, note: [note, ...notes].filter((each) => each !== undefined).join("\n") || undefined };
}

/**
 * Runs `work` with the administration of this machine's data directory, or of the router at `url`, and resolves with its result.
 * `notes` gets what the user should know besides. Throws StartError.
 */
export async function administer<Result>(
	url: string | undefined,
	config: Config,
	notes: string[],
	work: (client: AdminClient) => Promise<Result>,
): Promise<Result> {
	try {
		if (url !== undefined) return await work(remote(url, config));
		const state = new RouterState(config);
		try {
			const { store } = state;
			const unsavedReason = () =>
				store.hasUnwritten ? (store.problem ?? "the data directory can't be written") : undefined;
			const unreadReason = () => {
				store.keys();
				return store.isUnreadable ? (store.problem ?? "the data directory can't be read") : undefined;
			};
			const audit = auditLine(config, notes);
			const service = adminService(
				state,
				new PastCalls(state.ledger),
				config,
				(...change) => void (unsavedReason() === undefined && audit(...change)),
			);
			return await work({ ...service, unsavedReason, unreadReason });
		} finally {
			state.store.close();
		}
	} catch (thrown) {
		if (thrown instanceof RouterError) throw new StartError(thrown.message);
		throw thrown;
	}
}

/** A running router whose data directory was deleted goes on with the file it has open, until it has looked into the new one. */
function directoryNotes(command: AdminCommand, { data_dir }: Config): string[] {
	if (command.what === "usage") return [missingDatabaseNote({ data_dir })].filter((note) => note !== undefined);
	if (command.what !== "create-key" || existsSync(data_dir)) return [];
	return [
		`There was no ${data_dir}: it is made now. A router that was started before knows the key a few seconds later.`,
	];
}

async function execute(
	command: Exclude<AdminCommand, { readonly what: "replay" }>,
	service: AdminClient,
): Promise<AdminOutput> {
	const unread = command.what === "create-key" ? undefined : service.unreadReason?.();
	if (unread !== undefined) throw new StartError(`${unread}. ${ASK_A_ROUTER}`);
	switch (command.what) {
		case "list-keys":
			return { text: keysTable(await service.keys()) };
		case "create-key":
			return createdSecret("No key is made", await service.createKey(newKey(command.options)), service);
		case "rotate-key":
			return createdSecret("The key is not rotated", await service.rotateKey(command.which, command.overlap), service);
		case "change-key": {
			const { warning, ...key } = await service.changeKey(command.which, keyChange(command.options));
			throwIfUnsaved("The key is not changed", service);
			const notes = [
				warning && `Not for good yet: ${warning}.`,
				command.options.traceContents ? tracedNote(key) : undefined,
			].filter((note) => note !== undefined);
			return { text: `The key "${key.name}" is changed.\n`, note: notes.length > 0 ? notes.join("\n") : undefined };
		}
		case "revoke-key": {
			const { name, warning } = await service.revokeKey(command.which);
			throwIfUnsaved("The key is not revoked", service);
			return { text: `The key "${name}" is revoked.\n`, note: warning && `Not for good yet: ${warning}.` };
		}
		case "usage": {
			const { csv, focus, hourly, ...grouping } = command.options;
			const query = usageQuery(grouping);
			if (focus) {
				const { csv: text, granularity, partial, daily } = await service.focus(query, hourly ? "hour" : "day");
				const noHours = hourly && granularity === "day" ? NO_HOURS : undefined;
				const notes = [partial && PARTIAL, daily && DAILY, noHours].filter((note) => note !== undefined);
				return { text, note: notes.length > 0 ? notes.join("\n") : undefined };
			}
			const { data, partial } = await service.usage(query);
			const text = csv ? usageCsv(data, query.by) : usageTable(data, query);
			return { text, note: partial && PARTIAL };
		}
		case "why":
			return { text: callText(await service.call(command.which)) };
		case "list-invitations":
			return { text: invitationsTable(await service.invitations()) };
		case "revoke-invitation": {
			const { id, warning } = await service.revokeInvitation(command.which);
			throwIfUnsaved("The invitation is not revoked", service);
			return { text: `The invitation ${id} is revoked.\n`, note: warning && `Not for good yet: ${warning}.` };
		}
	}
}

const NO_HOURS = "All rows are by day: this router's version has none by the hour.";
const DAILY =
	"Some rows are by day: single calls of theirs are kept no more (usage.keep, usage.size), have only just settled, or are another router's.";
const PARTIAL = "Redis could not be asked: other routers' usage is not in this.";

function createdSecret(outcome: string, made: ShownSecret, service: AdminClient): AdminOutput {
	throwIfUnsaved(outcome, service);
	return secretText(made);
}

const ASK_A_ROUTER = "--url and an admin key tell a router that runs all the same.";

/** A change that is only in the memory of this process is lost when it ends, and no running router hears of it. Throws StartError then. */
export function throwIfUnsaved(outcome: string, { unsavedReason }: AdminClient): void {
	const problem = unsavedReason?.();
	if (problem === undefined) return;
	throw new StartError(`${outcome}: ${problem}. ${ASK_A_ROUTER}`);
}

/** The administration of another router, over HTTP. */
function remote(url: string, config: Config): AdminClient {
	const router = askRouter(url, config);
	const key = plainKey(config.admin.keys);
	if (key === undefined) throw new StartError("--url needs an admin key: set ROUTER_ADMIN_KEYS to one");
	const at = (...parts: string[]) => `/admin/${parts.map(encodeURIComponent).join("/")}`;
	const list = async <Item>(path: string) => (await router.list<Item>(path, key)) ?? [];
	return {
		keys: () => list(at("keys")),
		createKey: (body) => router.ask(at("keys"), key, JSON.stringify(body)),
		changeKey: (which, body) => router.ask(at("keys", which, "change"), key, JSON.stringify(body)),
		revokeKey: (which) => router.ask(at("keys", which, "revoke"), key, "{}"),
		rotateKey: (which, overlap) => router.ask(at("keys", which, "rotate"), key, JSON.stringify({ overlap })),
		usage: ({ by, from, to }) => router.ask(`/admin/usage?by=${by.join(",")}&from=${from}&to=${to}`, key),
		async focus({ from, to }, granularity) {
			const asked = `format=focus&granularity=${granularity}&from=${from}&to=${to}`;
			const { text, headers } = await router.text(`/admin/usage?${asked}`, key);
			return {
				csv: text,
				granularity: headers.get(GRANULARITY_HEADER) === "hour" ? "hour" : "day",
				...(headers.get(PARTIAL_HEADER) !== null && { partial: true as const }),
				...(headers.get(DAILY_HEADER) !== null && { daily: true as const }),
			};
		},
		call: (id) => router.ask<FoundCall>(at("calls", id), key),
		invitations: () => list<ShownInvitation>(at("invitations")),
		revokeInvitation: (id) => router.ask(at("invitations", id, "revoke"), key, "{}"),
	};
}
