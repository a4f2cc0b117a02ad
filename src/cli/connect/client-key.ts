/** The router that a client is pointed at: whether it wants a key, which models it has, and a key made for the client. */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import type { Config } from "../../config/schema.ts";
import { StartError } from "../../errors.ts";
import { administer, throwIfUnsaved } from "../admin.ts";
import { askRouter, callerKey, plainKey, UnreachableRouter } from "../ask-router.ts";
import type { ListedName } from "./client-models.ts";
import type { ClientName } from "./connect-args.ts";
import type { MadeKey } from "./connect-record.ts";

/** A router as it was found. */
export interface FoundRouter {
	/** Without `/v1` and without a closing slash. */
	readonly url: string;
	readonly isReached: boolean;
	/** Undefined where that is not known. */
	readonly needsKey: boolean | undefined;
	/** Undefined where they are not known. */
	readonly models: readonly ListedName[] | undefined;
}

/** Longest name that a key may have. */
const LONGEST_NAME = 64;

/** Asks the router at `url`, by default the one of this configuration, with `key` if there is one. Throws StartError where it refuses that. */
export async function findRouter(
	url: string | undefined,
	key: string | undefined,
	config: Config,
): Promise<FoundRouter> {
	const router = askRouter(url, config);
	try {
		const open = await router.list<ListedName>("/v1/models", undefined, true);
		if (open) return { url: router.url, isReached: true, needsKey: false, models: open };
		const known = key ?? callerKey(config);
		const models = known === undefined ? undefined : await router.list<ListedName>("/v1/models", known, true);
		if (key !== undefined && !models) throw new StartError(`${router.url} refuses the key of --key`);
		return { url: router.url, isReached: true, needsKey: true, models };
	} catch (error) {
		if (!(error instanceof UnreachableRouter)) throw error;
		const needsKey = url === undefined ? await hasKeys(config) : undefined;
		return { url: router.url, isReached: false, needsKey, models: undefined };
	}
}

/** The models that a key may use; undefined where the router refuses it. Throws StartError where it can't be reached. */
export async function modelsFor(
	url: string | undefined,
	key: string,
	config: Config,
): Promise<readonly ListedName[] | undefined> {
	return askRouter(url, config).list<ListedName>("/v1/models", key, true);
}

/** Whether a router with this configuration wants keys: it has some, or had. */
async function hasKeys(config: Config): Promise<boolean> {
	if (config.keys.length > 0) return true;
	if (!existsSync(config.data_dir)) return false;
	return administer(undefined, config, [], async (service) => (await service.keys()).length > 0);
}

/** Makes a key that is called after the client and this host. `notes` gets what the user should know. Throws StartError. */
export async function makeClientKey(
	client: ClientName,
	url: string | undefined,
	config: Config,
	notes: string[],
): Promise<{ readonly secret: string; readonly made: MadeKey }> {
	if (url !== undefined && plainKey(config.admin.keys) === undefined) {
		throw new StartError(
			`${url} wants a key: give one with --key, or set ROUTER_ADMIN_KEYS to an admin key, which makes one`,
		);
	}
	return administer(url, config, notes, async (service) => {
		const inUse = (await service.keys()).filter((each) => !("revoked_at" in each));
		const name = freeName(keyName(client), new Set(inUse.map((each) => each.name)));
		const { key, secret, warning } = await service.createKey({ name });
		throwIfUnsaved("No key is made", service);
		if (warning) notes.push(`The key is not made for good yet: ${warning}.`);
		return { secret, made: { id: key.id, name, ...(url !== undefined && { url }) } };
	});
}

/** Takes back a key that was made. Throws StartError. */
export async function revokeClientKey({ id, url }: MadeKey, config: Config, notes: string[]): Promise<void> {
	await administer(url, config, notes, async (service) => {
		await service.revokeKey(id);
		throwIfUnsaved("The key is not revoked", service);
	});
}

/** The name of a client's key on this host. */
export function keyName(client: ClientName): string {
	const host = hostname().replace(/[^\w.-]+/g, "-");
	return `${client}-${host}`.slice(0, LONGEST_NAME - 4);
}

function freeName(name: string, taken: ReadonlySet<string>): string {
	if (!taken.has(name)) return name;
	let number = 2;
	while (taken.has(`${name}-${number}`)) number++;
	return `${name}-${number}`;
}
