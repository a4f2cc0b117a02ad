/** `router connect`: prints what a client needs to use this router, or writes it. */
import { existsSync } from "node:fs";
import type { Environment } from "../../config/interpolate.ts";
import type { Config } from "../../config/schema.ts";
import { StartError } from "../../errors.ts";
import { fragment, type PreparedFile, prepare, takeOut, writePrepared, writtenSecret } from "./client-files.ts";
import { type FoundRouter, findRouter, keyName, makeClientKey, modelsFor, revokeClientKey } from "./client-key.ts";
import { type ClientModels, chosenModels, type ListedName } from "./client-models.ts";
import { CLIENTS, type ClientPlan } from "./clients.ts";
import type { ConnectOptions } from "./connect-args.ts";
import { type ConnectRecord, type MadeKey, readRecord, recordPath, writeRecord } from "./connect-record.ts";
import { withoutSecret } from "./line-diff.ts";
import type { Conflict, FileSettings } from "./settings-merge.ts";

/** The output: for stdout, and a note for the user, for stderr. */
export interface ConnectOutput {
	readonly text: string;
	readonly note?: string | undefined;
}

/** Where the command runs. */
export interface Surroundings {
	readonly config: Config;
	readonly env: Environment;
	readonly cwd: string;
}

/** What is shown for a key that is not made yet. */
const SHOWN_KEY = "YOUR-KEY";
const NOTHING_WRITTEN: ConnectRecord = { files: [] };
/** Longest value that is shown, characters. */
const LONGEST_SHOWN = 80;

/** Carries the command out for the router at `url`, by default the one of this configuration. Throws StartError. */
export async function connectClient(
	options: ConnectOptions,
	url: string | undefined,
	surroundings: Surroundings,
): Promise<ConnectOutput> {
	if (options.action === "undo") return await undo(options, surroundings);
	const given = await givenKey(options.key);
	const router = await findRouter(url, given, surroundings.config);
	const notes = notesOf(router, url, given, surroundings.config);
	const run = { options, url, router, given, notes, ...surroundings };
	const text = options.action === "write" ? await written(run) : printed(run);
	return { text, note: notes.join("\n") || undefined };
}

/** One run of the command. */
interface Run extends Surroundings {
	readonly options: ConnectOptions;
	readonly url: string | undefined;
	readonly router: FoundRouter;
	/** The key of the command line. */
	readonly given: string | undefined;
	/** For stderr; grows. */
	readonly notes: string[];
}

async function givenKey(key: string | undefined): Promise<string | undefined> {
	const text = key === "-" ? (await Bun.stdin.text()).trim() : key;
	if (text === undefined || /^[\x21-\x7e]{1,500}$/.test(text)) return text;
	throw new StartError("--key must be one word without spaces");
}

function notesOf(
	{ url, isReached, needsKey }: FoundRouter,
	asked: string | undefined,
	given: string | undefined,
	{ server }: Config,
): string[] {
	const notes: string[] = [];
	if (!isReached) notes.push(`Nothing answers at ${url}: this is good once the router runs there.`);
	if (needsKey === undefined && given === undefined) {
		notes.push("Whether it wants a key could not be asked: run this again then, or give one with --key.");
	}
	if (needsKey === false && given === undefined) notes.push("This router needs no keys, so none is made.");
	if (asked === undefined && server.tls) notes.push("--url names the router as its certificate does.");
	return notes;
}

/** What the client needs with this key and these models. */
function planOf({ options, router, env, cwd }: Run, key: string | undefined, models: readonly string[]): ClientPlan {
	return CLIENTS[options.client].plan({ url: router.url, key, models, env, cwd, exists: existsSync });
}

function modelsOf(
	{ options, router }: Run,
	listed: readonly ListedName[] | undefined = router.models,
): ClientModels | undefined {
	return chosenModels(options, CLIENTS[options.client].family, listed);
}

function printed(run: Run): string {
	const { options, router, given, notes } = run;
	const key = given ?? (router.needsKey === false ? undefined : SHOWN_KEY);
	const chosen = modelsOf(run);
	const plan = planOf(run, key, chosen?.names ?? []);
	notes.push(...conflictNotes(run, plan, key), ...(plan.notes ?? []));
	if (chosen?.note) notes.push(chosen.note);
	if (!chosen) notes.push("MODEL stands for a model: --model names one, `router models` lists them.");
	const made = key === SHOWN_KEY ? `, with a key of its own called ${keyName(options.client)}` : "";
	notes.push(`\`router connect ${options.client} --write\` writes this${made}; --undo takes it out again.`);
	const files = plan.files.map((file) => `${file.path}\n\n${indented(fragment(file))}\n`);
	const exports = Object.entries(plan.variables ?? {}).map(([name, value]) => `export ${name}=${value}\n`);
	const shell = exports.length > 0 ? `Or for one shell:\n\n${indented(exports.join(""))}\n` : "";
	return `${files.join("")}${shell}Then start ${plan.start}\n`;
}

function indented(text: string): string {
	return text.replace(/^(?=.)/gm, "  ");
}

/** What a write would leave to its owner, or could not read. */
function conflictNotes({ options, env }: Run, plan: ClientPlan, secret: string | undefined): string[] {
	try {
		const record = readRecord(recordPath(options.client, env)) ?? NOTHING_WRITTEN;
		const files = plan.files.map((file) => prepare(file, record, { isOverwriting: false, secret }));
		// A key that is shown as such differs from every key.
		const differs = ({ setting }: Conflict) => !JSON.stringify(setting.value).includes(SHOWN_KEY);
		return files.flatMap(({ file, conflicts, rivals }) => [
			...conflicts.filter(differs).map((conflict) => `${foundText(file, conflict)}.`),
			...rivals,
		]);
	} catch (error) {
		if (error instanceof StartError) return [error.message];
		throw error;
	}
}

async function written(run: Run): Promise<string> {
	const { options, notes, config, env } = run;
	const recordFile = recordPath(options.client, env);
	const record = readRecord(recordFile) ?? NOTHING_WRITTEN;
	const old = writtenSecret(record);
	// Before a key is made it is sure that it can be written.
	const likely = run.given ?? (run.router.needsKey === false ? undefined : (old ?? SHOWN_KEY));
	preparedFiles(run, record, planOf(run, likely, modelsOf(run)?.names ?? []), likely);
	const { key, made, isNew, listed } = await keyOf(run, record, old);
	let latest = record;
	try {
		const chosen = modelsOf(run, listed);
		if (!chosen) throw new StartError("which model? Name one with --model; `router models` lists them");
		if (chosen.note) notes.push(chosen.note);
		const plan = planOf(run, key, chosen.names);
		const files = preparedFiles(run, record, plan, key);
		const lines = isNew ? [`Made the key ${made?.name}.\n`] : [];
		for (const file of files) {
			const result = writePrepared(file, latest, key !== undefined && file.text.includes(key));
			latest = { ...result.record, ...(made && { key: made }) };
			writeRecord(recordFile, latest);
			lines.push(...result.lines);
			notes.push(...file.conflicts.map((conflict) => leftText(file.file, conflict)), ...file.rivals);
		}
		notes.push(...(plan.notes ?? []));
		return `${lines.join("\n")}\nStart ${plan.start}\n`;
	} catch (error) {
		if (isNew && made && latest === record) await revokeClientKey(made, config, []).catch(() => {});
		throw error;
	}
}

/** All files of a plan, none of them written. Throws StartError where the router's address or key would have to replace somebody else's. */
function preparedFiles(
	{ options }: Run,
	record: ConnectRecord,
	plan: ClientPlan,
	secret: string | undefined,
): PreparedFile[] {
	const { isOverwriting } = options;
	const files = plan.files.map((file) => prepare(file, record, { isOverwriting, secret }));
	const foreign = files.flatMap(({ file, conflicts }) =>
		conflicts.filter(({ setting }) => setting.isEssential).map((conflict) => foundText(file, conflict)),
	);
	if (foreign.length === 0) return files;
	throw new StartError(
		`nothing was written: ${foreign.join("; ")}. --overwrite replaces it, and --undo brings it back`,
	);
}

interface ClientKey {
	/** Undefined where the router needs none. */
	readonly key: string | undefined;
	readonly made?: MadeKey;
	/** It was made just now. */
	readonly isNew: boolean;
	readonly listed: readonly ListedName[] | undefined;
}

/** The key of the command line, else the one that was written before and is still good, else a new one where the router wants keys. */
async function keyOf(run: Run, record: ConnectRecord, old: string | undefined): Promise<ClientKey> {
	const { options, url, router, given, notes, config } = run;
	const earlier = { ...(record.key && { made: record.key }), isNew: false };
	if (given !== undefined) return { key: given, listed: router.models, ...earlier };
	if (router.needsKey === false) return { key: undefined, listed: router.models, ...earlier };
	if (old !== undefined) {
		const listed = router.isReached ? await modelsFor(url, old, config) : undefined;
		if (listed || !router.isReached) return { key: old, listed, ...earlier };
	}
	if (router.needsKey === undefined) return { key: undefined, listed: undefined, ...earlier };
	const { secret, made } = await makeClientKey(options.client, url, config, notes);
	const listed = router.isReached ? await modelsFor(url, secret, config) : undefined;
	if (listed || !router.isReached) return { key: secret, made, isNew: true, listed };
	await revokeClientKey(made, config, []).catch(() => {});
	throw new StartError(
		`the router at ${router.url} does not know the key that was made in ${config.data_dir}: it runs with another data directory. Give a key with --key, or --url and an admin key`,
	);
}

/** Somebody else's value, for the user. */
function foundText({ path }: FileSettings, { setting, found }: Conflict): string {
	const name = setting.path.join(".");
	if (typeof found === "object") return `${path} has ${name} already`;
	const shown = withoutSecret(`${name} = ${JSON.stringify(found)}`);
	return `${path} has ${shown.length > LONGEST_SHOWN ? `${shown.slice(0, LONGEST_SHOWN)}…` : shown} already`;
}

function leftText(file: FileSettings, conflict: Conflict): string {
	const { instead } = conflict.setting;
	return `${foundText(file, conflict)}, which is left: --overwrite replaces it${instead ? `; else ${instead}` : ""}.`;
}

async function undo({ client }: ConnectOptions, { config, env }: Surroundings): Promise<ConnectOutput> {
	const recordFile = recordPath(client, env);
	const record = readRecord(recordFile);
	if (!record) return { text: `Nothing was written for ${client} (${recordFile} would say what).\n` };
	const lines: string[] = [];
	const notes: string[] = [];
	let { files } = record;
	// Folders go with the file that they were made for, the last of all.
	for (const file of files.toReversed()) {
		const done = takeOut(file);
		lines.push(...done.lines);
		notes.push(...done.notes);
		files = files.filter((each) => each !== file);
		if (files.length > 0) writeRecord(recordFile, { ...record, files });
	}
	if (record.key) {
		const { name } = record.key;
		try {
			await revokeClientKey(record.key, config, notes);
			lines.push(`The key ${name} is revoked.\n`);
		} catch (error) {
			if (!(error instanceof StartError)) throw error;
			notes.push(`The key ${name} is not revoked: ${error.message}`);
		}
	}
	writeRecord(recordFile, NOTHING_WRITTEN);
	return { text: lines.join("\n"), note: notes.join("\n") || undefined };
}
