/**
 * Files and batches, which a provider keeps: each belongs to the key that made it, and no other key reaches it. Which provider has it and whose it is
 * stands in the store; what it says is asked of the provider, but for lists.
 */
import { authenticate, type Caller } from "../accounts/auth/keys.ts";
import { CallCost } from "../accounts/usage/call-cost.ts";
import { openAiChat } from "../dialects/openai-chat.ts";
import { asRouterError, RouterError } from "../errors.ts";
import { FormBody } from "../http/form-body.ts";
import { IDLE_SECONDS } from "../http/listen.ts";
import { readRequestBody } from "../http/request-body.ts";
import { urlOf } from "../http/request-url.ts";
import type { Detail } from "../http/route-docs.ts";
import type { PassedRequest } from "../openai/call.ts";
import { objectIn } from "../openai/usage.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { relayPassed } from "../proxy/relay-passed.ts";
import type { ObjectKind, ObjectStore, StoredObject } from "../store/object-table.ts";
import { checkBatch } from "./batch-models.ts";
import type { CallContext } from "./call-context.ts";
import { type CallServer, failedCall, limitCall } from "./handler.ts";
import { IncomingCall } from "./incoming-call.ts";
import { askObject, objectTarget, providerForFiles } from "./object-provider.ts";
import { openCall } from "./open-call.ts";
import { parsedJson, storedRequest } from "./passed-request-body.ts";

/** What is done with a file or a batch. */
export type ObjectAction = "create" | "list" | "get" | "content" | "delete" | "cancel";

/** A route of files or of batches. An agent has none. */
export interface ObjectRoute {
	readonly method: "GET" | "POST" | "DELETE";
	readonly path: `/${string}`;
	readonly kind: ObjectKind;
	readonly action: ObjectAction;
	/** Its entry in `/swagger`. */
	readonly detail: Detail;
}

/** A call of such a route. */
export interface ObjectCall {
	readonly kind: ObjectKind;
	readonly context: CallContext;
	readonly request: Request;
	readonly call: IncomingCall;
	readonly record: CallRecord;
	readonly caller: Caller | undefined;
	/** Whose objects it sees: the id of its key; "" where there are no keys. */
	readonly owner: string;
	readonly objects: ObjectStore;
	/** Of the object that its path names; "" where it names none. */
	readonly id: string;
}

/** Longest answer about an object that is read, bytes. */
const MAX_OBJECT = 4 * 1024 * 1024;
/** Longest id that is kept, characters. */
const MAX_ID = 200;

/** Answers one call. Never rejects: every error is answered and settled here. */
export async function objectCall(
	{ kind, action, path }: Pick<ObjectRoute, "kind" | "action" | "path">,
	context: CallContext,
	request: Request,
	server: CallServer,
	id: string,
): Promise<Response> {
	const operation = OPERATION_OF[kind];
	const record = openCall(operation, context, request, path);
	let call: IncomingCall | undefined;
	try {
		const { config, auth, accounts } = context.current.snapshot;
		const caller = authenticate(auth, request, config);
		record.caller = caller;
		if (server) record.connection = { server, request, idleSeconds: IDLE_SECONDS };
		const handling = { operation, dialect: openAiChat };
		call = new IncomingCall(request, record, handling, caller, context.instance, config.usage.user_headers);
		Object.assign(call, storedRequest(operation));
		record.user = call.user;
		record.requested = operation;
		record.named({ label: operation, reason: undefined }, true);
		const route = { targets: [], reason: operation, label: operation };
		if (accounts) await limitCall(accounts, { call, caller, route, record, request, server });
		else record.cost = new CallCost(call, caller, route, undefined);
		const { objects } = context;
		if (!objects) throw new RouterError("internal_error", "There is no store for files and batches.");
		const owner = caller?.id ?? "";
		return await ACTIONS[action]({ kind, context, request, call, record, caller, owner, objects, id });
	} catch (thrown) {
		return failedCall(asRouterError(thrown), openAiChat, record, call);
	}
}

const OPERATION_OF = { file: "files", batch: "batches" } as const;

const ACTIONS: Readonly<Record<ObjectAction, (of: ObjectCall) => Promise<Response>>> = {
	create: (of) => (of.kind === "file" ? createFile(of) : createBatch(of)),
	list,
	get: (of) => about(of, "GET", ""),
	content: (of) => passed(of, owned(of), "GET", "/content"),
	cancel: (of) => about(of, "POST", "/cancel"),
	async delete(of) {
		const object = owned(of);
		const answer = await wholeOf(await passed(of, object, "DELETE", ""));
		of.objects.removeObject(object);
		await of.objects.objectsTold();
		return answer.response;
	},
};

async function createFile(of: ObjectCall): Promise<Response> {
	const { request, context, record } = of;
	const { config, catalog } = context.current.snapshot;
	const url = urlOf(request);
	const provider = providerForFiles(
		catalog,
		request.headers.get("x-router-provider") ?? url.searchParams.get("provider"),
	);
	const form = await FormBody.read(request, config.server.body_limit, "nothing");
	if (!form) {
		throw new RouterError("unsupported_media_type", "The content-type must be multipart/form-data, with its boundary.");
	}
	record.atEnd(() => void form.close());
	const sent: PassedRequest = {
		method: "POST",
		contentType: request.headers.get("content-type")!,
		isFree: true,
		get isSpent() {
			return form.isSpent;
		},
		body: () => form.stream("model", undefined),
	};
	return remembered(of, await relayed(of, provider, sent), provider);
}

/** What its calls will come to nobody knows before they are made, so their models are all that is looked at. */
async function createBatch(of: ObjectCall): Promise<Response> {
	const { request, context, caller, objects, owner, call, record } = of;
	const { config } = context.current.snapshot;
	const runaway = context.runaways?.check(call, caller, config.runaway, record);
	const bytes = await readRequestBody(request, config.server.body_limit);
	const { value } = parsedJson(bytes);
	const input = value["input_file_id"];
	if (typeof input !== "string" || input === "") {
		throw new RouterError("invalid_value", '"input_file_id" must be the id of a file.', { param: "input_file_id" });
	}
	const file = objects.object(owner, "file", input);
	if (!file) throw unknownObject("file", input, "input_file_id");
	await checkBatch(of, caller, file);
	if (runaway) await context.runaways!.hold(runaway, call, record);
	// Where it is not known whether it was made it is not made again: it would run twice.
	const sent = { method: "POST", contentType: "application/json", isSpent: true, body: () => [bytes] } as const;
	return remembered(of, await relayed(of, file.provider, sent), file.provider);
}

/** The object that the path names. Throws `object_not_found`, also where it is another key's. */
function owned({ objects, owner, kind, id }: ObjectCall): StoredObject {
	const object = objects.object(owner, kind, id);
	if (!object) throw unknownObject(kind, id);
	return object;
}

function unknownObject(kind: ObjectKind, id: string, param = "id"): RouterError {
	return new RouterError("object_not_found", `This key has no ${kind} "${id.slice(0, 100)}".`, { param });
}

/** A request whose answer is the object. */
async function about(of: ObjectCall, method: PassedRequest["method"], suffix: string): Promise<Response> {
	const object = owned(of);
	return remembered(of, await passed(of, object, method, suffix), object.provider);
}

/** A request about an object, passed on. */
function passed(
	of: ObjectCall,
	object: StoredObject,
	method: PassedRequest["method"],
	suffix: string,
): Promise<Response> {
	const path = `${pathOf(object)}${suffix}`;
	const body = method === "POST" ? "" : undefined;
	const sent = { method, path, contentType: undefined, isSpent: false, isFree: true, body: () => body };
	return relayed(of, object.provider, sent);
}

const pathOf = ({ kind, id }: StoredObject): string => `/${OPERATION_OF[kind]}/${encodeURIComponent(id)}`;

async function relayed(
	{ kind, context, call, record, id }: ObjectCall,
	provider: string,
	sent: PassedRequest,
): Promise<Response> {
	const { config, catalog } = context.current.snapshot;
	const target = objectTarget(catalog, provider, OPERATION_OF[kind]);
	record.reason = `${OPERATION_OF[kind]} at ${provider}`;
	Object.assign(call, { passed: sent });
	const plan = { targets: [target], attemptsMs: config.timeouts.attempts, noWaiting: context.isBehindRouter };
	try {
		return await relayPassed(call, plan, record, context.state);
	} catch (thrown) {
		// No model is at fault: the provider has no such object any more, or none at all.
		if (!(thrown instanceof RouterError) || thrown.errorCode !== "model_not_found") throw thrown;
		throw new RouterError(id === "" ? "operation_not_served" : "object_not_found", thrown.message);
	}
}

/** An answer that is an object, read whole, with what it says kept in the store. */
async function remembered(of: ObjectCall, response: Response, provider: string): Promise<Response> {
	const { response: answer, value, text } = await wholeOf(response);
	// It may have been deleted meanwhile.
	const isGone = of.id !== "" && !of.objects.object(of.owner, of.kind, of.id);
	if (!isGone) save(of, provider, value, text);
	await of.objects.objectsTold();
	return answer;
}

/** Puts an object into the store, and with a batch the files that it has made. */
function save(
	{ objects, owner, kind }: Pick<ObjectCall, "objects" | "owner" | "kind">,
	provider: string,
	value: Readonly<Record<string, unknown>> | undefined,
	text: string,
): void {
	const id = value?.["id"];
	if (typeof id !== "string" || id === "" || id.length > MAX_ID) return;
	if (objects.object(owner, kind, id)?.value === text) return;
	const seconds = Number(value!["created_at"]);
	const createdAt = Number.isSafeInteger(seconds) && seconds > 0 ? seconds * 1000 : 0;
	objects.saveObject({ owner, kind, id, provider, createdAt, value: text });
	if (kind !== "batch") return;
	for (const name of ["output_file_id", "error_file_id"]) {
		const made = value![name];
		if (typeof made !== "string" || made === "" || made.length > MAX_ID || objects.object(owner, "file", made))
			continue;
		objects.saveObject({ owner, kind: "file", id: made, provider, createdAt, value: undefined });
	}
}

/** Throws `upstream_error` where it is too long, and `upstream_truncated` where it breaks off. */
async function wholeOf(response: Response) {
	let text = "";
	const decoder = new TextDecoder();
	try {
		for await (const chunk of response.body ?? []) {
			text += decoder.decode(chunk, { stream: true });
			if (text.length > MAX_OBJECT) throw new RouterError("upstream_error", "The provider's answer is too long.");
		}
	} catch (thrown) {
		if (thrown instanceof RouterError) throw thrown;
		throw new RouterError("upstream_truncated", "The provider's answer broke off.");
	}
	text += decoder.decode();
	const { status, headers } = response;
	return { text, value: jsonOf(text), response: new Response(text, { status, headers }) };
}

function jsonOf(text: string): Readonly<Record<string, unknown>> | undefined {
	try {
		return objectIn(JSON.parse(text));
	} catch {
		return undefined;
	}
}

/** Objects of a page where nothing is said, and at most. */
const PAGE = 20;
const LARGEST_PAGE = 100;
/** Objects that are asked for at a time. */
const AT_ONCE = 10;
/** Batches in these states stay as they are. */
const FINAL = ["completed", "failed", "expired", "cancelled"];

/** The key's own objects, the newest first, as the provider would list them. */
async function list(of: ObjectCall): Promise<Response> {
	const { request, objects, owner, kind, record } = of;
	const { searchParams } = urlOf(request);
	const limit = limitIn(searchParams.get("limit"));
	const after = searchParams.get("after") ?? undefined;
	const purpose = searchParams.get("purpose");
	const rows = objects.objects(owner, kind, after, limit + 1);
	const page = rows.slice(0, limit);
	const data: Readonly<Record<string, unknown>>[] = [];
	record.liftIdleTimeout();
	for (let at = 0; at < page.length; at += AT_ONCE) {
		const some = await Promise.all(page.slice(at, at + AT_ONCE).map((row) => current(of, row)));
		for (const each of some) if (each && (purpose === null || each["purpose"] === purpose)) data.push(each);
	}
	await objects.objectsTold();
	record.settle(200);
	const list = {
		object: "list",
		data,
		first_id: page[0]?.id ?? null,
		last_id: page.at(-1)?.id ?? null,
		has_more: rows.length > limit,
	};
	return Response.json(list, { headers: { ...record.headers, "x-request-id": record.id } });
}

/** Throws `invalid_value`. */
function limitIn(text: string | null): number {
	if (text === null) return PAGE;
	const limit = Number(text);
	if (!/^\d{1,6}$/.test(text) || limit < 1) {
		throw new RouterError("invalid_value", '"limit" must be a whole number from 1 on.', { param: "limit" });
	}
	return Math.min(limit, LARGEST_PAGE);
}

/** What an object says now; what it last said where nothing changes any more, or its provider can't be asked. */
async function current(of: ObjectCall, row: StoredObject): Promise<Readonly<Record<string, unknown>> | undefined> {
	const known = row.value === undefined ? undefined : jsonOf(row.value);
	if (known && (row.kind === "file" || FINAL.includes(String(known["status"])))) return known;
	const text = await askObject(of, row.provider, OPERATION_OF[row.kind], pathOf(row), MAX_OBJECT);
	const value = text === undefined ? undefined : jsonOf(text);
	if (value?.["id"] !== row.id) return known;
	save({ ...of, kind: row.kind }, row.provider, value, text!);
	return value;
}
