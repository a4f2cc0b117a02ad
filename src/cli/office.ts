/** `router keys`, `router usage`, `router why`: on the data directory of this machine, or over HTTP where a router is named. */
import { existsSync } from "node:fs";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import type { Config } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import { usageCsv } from "../gate/usage.ts";
import { describe } from "../openai/validation.ts";
import { createHouse } from "../server/house.ts";
import {
	NewKeyBody,
	type Office,
	openOffice,
	type ShownInvitation,
	type ShownSecret,
	usageQuery,
} from "../server/office.ts";
import type { ShownCall } from "../server/shown-call.ts";
import { StartError } from "../start-error.ts";
import { askRouter, plainKey } from "./ask-router.ts";
import { auditLine } from "./audit-line.ts";
import { callText, invitationsTable, keysTable, secretText, usageTable } from "./office-text.ts";
import type { KeyOptions, Order } from "./order.ts";

/** What to print: for stdout, and what a person should know, for stderr. */
export interface Delivered {
	readonly text: string;
	readonly note?: string | undefined;
}

/** An office, here or elsewhere. */
type Counter = { readonly isRemote?: boolean } & {
	[K in keyof Office]: (
		...args: Parameters<Office[K]>
	) => ReturnType<Office[K]> | Promise<Awaited<ReturnType<Office[K]>>>;
};

/** Carries an order out. Throws StartError. */
export async function takeOrder(order: Order, url: string | undefined, config: Config): Promise<Delivered> {
	try {
		if (url !== undefined) return await deliver(order, remote(url, config));
		const notes: string[] = madeAnew(order, config);
		const house = createHouse(config);
		try {
			const { text, note } = await deliver(order, openOffice(house, config, auditLine(config, notes)));
			return { text, note: [note, ...notes].filter((each) => each !== undefined).join("\n") || undefined };
		} finally {
			house.store.close();
		}
	} catch (thrown) {
		if (thrown instanceof RouterError) throw new StartError(thrown.message);
		throw thrown;
	}
}

/** A running router whose data directory was deleted goes on with what it has open, and never looks into a new one. */
function madeAnew(order: Order, { data_dir }: Config): string[] {
	if (order.what !== "create-key" || existsSync(data_dir)) return [];
	return [
		`There was no ${data_dir}: it is made now. A router that was started before does not know the key until it is restarted.`,
	];
}

async function deliver(order: Order, office: Counter): Promise<Delivered> {
	switch (order.what) {
		case "list-keys":
			return { text: keysTable(await office.keys()) };
		case "create-key":
			return secretOf(await office.createKey(newKey(order.options)), office);
		case "rotate-key":
			return secretOf(await office.rotateKey(order.which, order.overlap), office);
		case "revoke-key": {
			const { name } = await office.revokeKey(order.which);
			return { text: `The key "${name}" is revoked.\n` };
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
			const { id } = await office.revokeInvitation(order.which);
			return { text: `The invitation ${id} is revoked.\n` };
		}
	}
}

/** A key that only this process would know is none. */
function secretOf(made: ShownSecret, office: Counter): Delivered {
	if (made.warning !== undefined && !office.isRemote) throw new StartError(`The key can't be kept: ${made.warning}.`);
	return secretText(made);
}

const NEW_KEY = TypeCompiler.Compile(NewKeyBody);

/** The flags as the body that HTTP would bring. Throws StartError naming the flag. */
function newKey({ name, team, models, budget, ...limits }: KeyOptions): NewKeyBody {
	const numbers = Object.entries(limits).flatMap(([flag, value]) =>
		value === undefined ? [] : [[flag, Number(value)]],
	);
	const [usd, per = "month"] = budget?.split("/") ?? [];
	const body = {
		name,
		...(team !== undefined && { team }),
		...(models !== undefined && { models: models.split(",").map((each) => each.trim()) }),
		...Object.fromEntries(numbers),
		...(usd !== undefined && { budget: { usd: usd === "" ? Number.NaN : Number(usd), per } }),
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
		isRemote: true,
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
