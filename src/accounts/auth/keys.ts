/** Authentication by API key, and what each key may do. Keys are held as SHA-256 hashes and compared in constant time. */
import { timingSafeEqual } from "node:crypto";
import type { KeyConfig, RunawayReaction } from "../../config/access.ts";
import { cleanValue } from "../../config/clean-value.ts";
import { type NameMatcher, nameMatcher } from "../../config/name-pattern.ts";
import type { Config } from "../../config/schema.ts";
import { RouterError } from "../../errors.ts";
import { crossSiteRefusal } from "./csrf.ts";
import type { Budget, KeyLimits, KeyStore, StoredKey } from "./key-store.ts";

/** A key that was recognised. One object a key, until the key is changed. */
export interface Caller {
	/** Whose limits and spending it is: stays the same when the secret is replaced. */
	readonly id: string;
	readonly name: string;
	readonly team?: string | undefined;
	/** It may use some models only. */
	readonly isRestricted: boolean;
	/** Its calls' priority in a queue; 0 where nothing is said. */
	readonly priority?: number | undefined;
	readonly limits: KeyLimits;
	readonly budget?: Budget | undefined;
	/** It may send what steers an inference server itself (`engine_fields`). */
	readonly engineFields?: boolean | undefined;
	/** What its calls ask and are answered stands in their spans (`trace_contents`). */
	readonly tracesContents?: boolean | undefined;
	/** What is done about its agents that run away; undefined: as `runaway:` says. */
	readonly runaway?: RunawayReaction | undefined;
	/** Whether it may use a model of that name. */
	readonly mayUse: NameMatcher;
	/** Whether one of the patterns of its models has this text in it. Absent: none has. */
	mentions?(text: string): boolean;
}

/** Authentication by API key. */
export interface KeyAuth {
	/** There never was a key: everyone may call who passes the checks against other sites (`csrf.ts`). */
	readonly isKeyless: boolean;
	/** The caller; undefined where there are no keys. Throws `invalid_api_key`. */
	authenticate(headers: Headers): Caller | undefined;
}

/**
 * The caller behind a request; undefined where there are no keys. Throws `invalid_api_key`; without keys `foreign_host` and `foreign_origin`.
 */
export function authenticate(auth: KeyAuth, request: Request, config: Config): Caller | undefined {
	const caller = auth.authenticate(request.headers);
	if (caller) return caller;
	const refusal = crossSiteRefusal(auth, request, config);
	if (refusal) throw refusal;
	return undefined;
}

/** Looks up keys that were created at run time. */
export interface StoredKeyLookup extends Pick<KeyStore, "find"> {
	/** None was ever created. */
	readonly isEmpty: boolean;
}

interface ConfiguredKey extends Caller {
	readonly hash: Buffer;
}

/** Bytes of a SHA-256. */
const HASH_BYTES = 32;

/** SHA-256 of a secret, as stored. Hashed into a buffer of its own: to ask for that of a typed array costs several times the hash. */
export function hashKey(secret: string): Buffer {
	return hashInto(Buffer.alloc(HASH_BYTES), secret);
}

function hashInto(hash: Buffer, secret: string): Buffer {
	Bun.SHA256.hash(secret, hash);
	return hash;
}

/** The hash of the secret that is being looked at: nothing keeps it. */
const presented = Buffer.alloc(HASH_BYTES);

/** A secret of the configuration, which may be given by its hash. */
export function hashOf(secret: string): Buffer {
	return /^sha256:/i.test(secret) ? Buffer.from(secret.slice(7), "hex") : hashKey(secret);
}

/** The secrets that a router may show its agent, as they are at this moment: they come and change while the agent runs. */
export type AgentCredential = () => { readonly name: string; readonly hashes: readonly Buffer[] } | undefined;

/**
 * Authentication by the configured keys, the generated key, the credential of an agent's router, and keys that were created at run time.
 * @param generated the generated key's hash, where there is one
 */
export function createKeyAuth(
	keys: readonly KeyConfig[],
	generated?: Buffer,
	agentCredential?: AgentCredential,
	storedKeys?: StoredKeyLookup,
): KeyAuth {
	const configured: ConfiguredKey[] = keys.map(
		({ name, key, models, team, priority, budget, engine_fields, trace_contents, runaway, session_usd, ...rest }) => ({
			id: `config:${name}`,
			name,
			team,
			hash: hashOf(key),
			...ofModels(models),
			priority,
			engineFields: engine_fields,
			tracesContents: trace_contents,
			runaway,
			limits: { rpm: rest.rpm, tpm: rest.tpm, concurrency: rest.concurrency, input: rest.input, session_usd },
			budget,
		}),
	);
	if (generated) {
		configured.push({ id: "generated", name: "generated", hash: generated, ...ofModels(["*"]), limits: {} });
	}
	return {
		// A key that was revoked still counts: to revoke the last one must let nobody in.
		get isKeyless() {
			return configured.length === 0 && (storedKeys?.isEmpty ?? true);
		},
		authenticate(headers) {
			if (this.isKeyless) return undefined;
			const secret = presentedSecret(headers);
			if (secret === undefined) {
				throw new RouterError("invalid_api_key", "No API key: send one as `Authorization: Bearer …`.");
			}
			const hash = hashInto(presented, secret);
			let caller: Caller | undefined;
			// Every key is compared, whether or not one has matched, so that the time does not depend on the secret.
			for (const key of configured) if (timingSafeEqual(key.hash, hash)) caller = key;
			const credential = agentCredential?.();
			if (credential) {
				for (const each of credential.hashes) {
					if (!timingSafeEqual(each, hash)) continue;
					caller = { id: `agent:${credential.name}`, name: credential.name, ...ofModels(["*"]), limits: {} };
				}
			}
			if (caller) return caller;
			// Looked up by its hash: what the time gives away of a hash leads to no secret.
			const found = storedKeys?.find(hash.toString("hex"));
			if (!found) throw new RouterError("invalid_api_key", `This API key is not known here${whyUnknown(headers)}.`);
			if (found.role === "viewer") throw new RouterError("invalid_api_key", VIEWERS);
			return callerOf(found);
		},
	};
}

const VIEWERS =
	"This key sees the console and /admin, and makes no calls: its role is viewer. Call with a key of another kind.";

const callers = new WeakMap<StoredKey, Caller>();

/** The key as a caller. */
function callerOf(key: StoredKey): Caller {
	let caller = callers.get(key);
	if (!caller) {
		const { id, name, team, models, limits, budget, engineFields, tracesContents } = key;
		caller = { id, name, team, ...ofModels(models), limits, budget, engineFields, tracesContents };
		callers.set(key, caller);
	}
	return caller;
}

function ofModels(models: readonly string[]): Pick<Caller, "isRestricted" | "mayUse" | "mentions"> {
	return {
		isRestricted: !models.includes("*"),
		mayUse: nameMatcher(models),
		mentions: (text) => models.some((model) => model.includes(text)),
	};
}

/**
 * The key or token that a request carries: `Authorization: Bearer …`, else `x-api-key`, else `api-key` (Azure's), else
 * `x-goog-api-key`. The first that is there counts, and no other is looked at: of two that differ, a wrong one is refused although
 * a right one stands behind it.
 */
export function presentedSecret(headers: Headers): string | undefined {
	const authorization = headers.get("authorization");
	if (authorization !== null) {
		// As nearly all write it: to look for a space takes less than to take the header apart.
		const plain = authorization.startsWith(PLAIN_BEARER) ? authorization.slice(PLAIN_BEARER.length) : "";
		if (plain !== "" && !SPACE.test(plain)) return plain;
		const bearer = BEARER.exec(authorization)?.[1];
		if (bearer !== undefined) return bearer;
	}
	for (const name of BARE) {
		const secret = headers.get(name);
		if (secret) return secret;
	}
	return undefined;
}

const PLAIN_BEARER = "Bearer ";
const SPACE = /\s/;
const BEARER = /^Bearer\s+(\S+)\s*$/i;
/** The headers that hold a key as it is. */
const BARE = ["x-api-key", "api-key", "x-goog-api-key"];
/** Longer secrets are answered without a hint: to look at them takes time. */
const LONGEST_HINTED = 512;

/** For the refusal of a secret: what is wrong with it, or that another one was not looked at, where that is known. Repeats nothing of it. */
export function whyUnknown(headers: Headers): string {
	const secret = presentedSecret(headers) ?? "";
	const { problem, removed } = secret.length > LONGEST_HINTED ? {} : cleanValue(secret, "secret");
	const hint = problem ?? removed;
	if (hint !== undefined) return `: it ${hint}`;
	const given = BARE.filter((name) => headers.get(name));
	if (BEARER.test(headers.get("authorization") ?? "")) given.unshift("authorization");
	return given.length > 1 ? ` (of ${given.join(", ")} the first counts)` : "";
}
