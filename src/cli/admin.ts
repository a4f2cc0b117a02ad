/** `router keys`, `router usage`, `router why`: on the data directory of this machine, or over HTTP where a router is named. */
import { existsSync } from "node:fs";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { usageCsv } from "../accounts/usage/usage-report.ts";
import type { Config } from "../config/schema.ts";
import { RouterError, StartError } from "../errors.ts";
import { describe } from "../openai/validation.ts";
import {
	type AdminService,
	NewKeyBody,
	openOffice,
	type ShownInvitation,
	type ShownSecret,
	usageQuery,
} from "../server/admin/admin-service.ts";
import type { ShownCall } from "../server/admin/call-view.ts";
import { createRouterState } from "../server/router-state.ts";
import type { KeyOptions, Order } from "./admin-args.ts";
import { callText, invitationsTable, keysTable, secretText, usageTable } from "./admin-tables.ts";
import { askRouter, plainKey } from "./ask-router.ts";
import { auditLine } from "./audit-line.ts";

/** What to print: for stdout, and what a person should know, for stderr. */
export interface Delivered {
	readonly text: string;
	readonly note?: string | undefined;
}

/** An office, here or elsewhere. */
type Counter = {
	/** Here: why what was done is on no disk, so that nobody but this process knows of it. */
	readonly unkept?: () => string | undefined;
} & {
	[K in keyof AdminService]: (
		...args: Parameters<AdminService[K]>
	) => ReturnType<AdminService[K]> | Promise<Awaited<ReturnType<AdminService[K]>>>;
};

/** Carries an order out. Throws StartError. */
export async function takeOrder(order: Order, url: string | undefined, config: Config): Promise<Delivered> {
	try {
		if (url !== undefined) return await deliver(order, remote(url, config));
		const notes: string[] = madeAnew(order, config);
		const house = createRouterState(config);
		try {
			const { store } = house;
			const unkept = () => (store.hasUnwritten ? (store.problem ?? "the data directory can't be written") : undefined);
			const audit = auditLine(config, notes);
			const office = openOffice(house, config, (...change) => void (unkept() === undefined && audit(...change)));
			const { text, note } = await deliver(order, { ...office, unkept });
			return { text, note: [note, ...notes].filter((each) => each !== undefined).join("\n") || undefined };
		} finally {
			house.store.close();
		}
	} catch (thrown) {
		if (thrown instanceof RouterError) throw new StartError(thrown.message);
		throw thrown;
	}
}

/** A running router whose data directory was deleted goes on with what it has open, until it has looked into the new one. */
function madeAnew(order: Order, { data_dir }: Config): string[] {
	if (order.what !== "create-key" || existsSync(data_dir)) return [];
	return [
		`There was no ${data_dir}: it is made now. A router that was started before knows the key a few seconds later.`,
	];
}

async function deliver(order: Order, office: Counter): Promise<Delivered> {
	switch (order.what) {
		case "list-keys":
			return { text: keysTable(await office.keys()) };
		case "create-key":
			return secretOf("No key is made", await office.createKey(newKey(order.options)), office);
		case "rotate-key":
			return secretOf("The key is not rotated", await office.rotateKey(order.which, order.overlap), office);
		case "revoke-key": {
			const { name, warning } = await office.revokeKey(order.which);
			keptOrThrow("The key is not revoked", office);
			return { text: `The key "${name}" is revoked.\n`, note: warning && `Not for good yet: ${warning}.` };
		}
		case "usage": {
			const { csv, ...asked } = order.options;
			const query = usageQuery(asked);
			const { data, partial } = await office.usage(query);
			const text = csv ? usageCsv(data, query.by) : usageTable(data, query);
			return { text, note: partial && "Redis could not be asked: other routers' usage is not in this." };
		}
		case "why":
			return { text: callText(await office.call(order.which)) };
		case "list-invitations":
			return { text: invitationsTable(await office.invitations()) };
		case "revoke-invitation": {
			const { id, warning } = await office.revokeInvitation(order.which);
			keptOrThrow("The invitation is not revoked", office);
			return { text: `The invitation ${id} is revoked.\n`, note: warning && `Not for good yet: ${warning}.` };
		}
	}
}

function secretOf(outcome: string, made: ShownSecret, office: Counter): Delivered {
	keptOrThrow(outcome, office);
	return secretText(made);
}

/** What this process alone knows is undone as it ends, and no router that runs hears of it. */
function keptOrThrow(outcome: string, { unkept }: Counter): void {
	const problem = unkept?.();
	if (problem === undefined) return;
	throw new StartError(`${outcome}: ${problem}. --url and an admin key tell a router that runs all the same.`);
}

const NEW_KEY = TypeCompiler.Compile(NewKeyBody);

/** The flags as the body that HTTP would bring. Throws StartError naming the flag. */
function newKey({ name, team, models, budget, ...limits }: KeyOptions): NewKeyBody {
	const numbers = Object.entries(limits).flatMap(([flag, value]) => {
		if (value === undefined) return [];
		if (!/^\d+$/.test(value)) throw new StartError(`--${flag} must be a whole number, but is "${value.slice(0, 40)}"`);
		return [[flag, Number(value)]];
	});
	const [usd, per = "month"] = budget?.split("/") ?? [];
	const body = {
		name,
		...(team !== undefined && { team }),
		...(models !== undefined && { models: models.split(",").map((each) => each.trim()) }),
		...Object.fromEntries(numbers),
		...(usd !== undefined && { budget: { usd: /^(\d+\.?\d*|\.\d+)$/.test(usd) ? Number(usd) : Number.NaN, per } }),
	};
	if (NEW_KEY.Check(body)) return body;
	const error = NEW_KEY.Errors(body).First();
	const { param, message } = error ? describe(error) : { param: "", message: "A flag has a wrong value." };
	const flag = param.split(/[.[]/)[0];
	if (flag === "budget") throw new StartError("--budget must be USD, a slash, and day, month or total: 50/month");
	throw new StartError(message.replace(/The field "[^"]*"/, `--${flag}`));
}

/** The office of another router, over HTTP. */
function remote(url: string, config: Config): Counter {
	const router = askRouter(url, config);
	const key = plainKey(config.admin.keys);
	if (key === undefined) throw new StartError("--url needs an admin key: set ROUTER_ADMIN_KEYS to one");
	const at = (...parts: string[]) => `/admin/${parts.map(encodeURIComponent).join("/")}`;
	const list = async <Item>(path: string) => (await router.list<Item>(path, key)) ?? [];
	return {
		keys: () => list(at("keys")),
		createKey: (body) => router.ask(at("keys"), key, JSON.stringify(body)),
		revokeKey: (which) => router.ask(at("keys", which, "revoke"), key, "{}"),
		rotateKey: (which, overlap) => router.ask(at("keys", which, "rotate"), key, JSON.stringify({ overlap })),
		usage: ({ by, from, to }) => router.ask(`/admin/usage?by=${by.join(",")}&from=${from}&to=${to}`, key),
		call: (id) => router.ask<ShownCall>(at("calls", id), key),
		invitations: () => list<ShownInvitation>(at("invitations")),
		revokeInvitation: (id) => router.ask(at("invitations", id, "revoke"), key, "{}"),
	};
}
