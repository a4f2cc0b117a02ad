/** URLs of Redis: a single server, Sentinel or Cluster. */

/** One server. */
export interface RedisNode {
	readonly host: string;
	readonly port: number;
}

/** The servers and the login. */
export interface RedisAddress {
	readonly kind: "single" | "sentinel" | "cluster";
	/** Several for Sentinel and Cluster; any of them that answers lists the others. */
	readonly nodes: readonly [RedisNode, ...RedisNode[]];
	readonly tls: boolean;
	readonly username?: string | undefined;
	readonly password?: string | undefined;
	/** 0 in a cluster, which has no others. */
	readonly database: number;
	/** The name under which Sentinel knows the master. */
	readonly master?: string | undefined;
	readonly sentinelPassword?: string | undefined;
}

/** For the schema. */
export const REDIS_FORMS = {
	pattern: "^rediss?(\\+(sentinel|cluster))?://\\S+$",
	expects: "a URL such as redis://:password@host:6379/0, rediss://…, redis+sentinel://…/master or redis+cluster://…",
	description:
		"`redis://user:password@host:6379/0`, `rediss://` for TLS, `redis+sentinel://host,host/master/0` (`?sentinel_password=`), `redis+cluster://host,host`.",
};

const PORTS = { single: 6379, sentinel: 26379, cluster: 6379 };

/** Parses a URL; where it is invalid, a message without the URL, which contains a password. */
export function parseRedisUrl(text: string): RedisAddress | string {
	const [, secure, suffix, user, hosts = "", path = "", query = ""] =
		/^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^/?]+)((?:\/[^?]*)?)(?:\?(.*))?$/.exec(text) ?? [];
	const kind = (suffix ?? "single") as RedisAddress["kind"];
	const nodes = hosts.split(",").map((host) => nodeOf(host, PORTS[kind]));
	const [first, ...others] = nodes;
	if (!first || others.includes(undefined)) return "names no host that can be one";
	if (kind === "single" && others.length > 0)
		return "names several hosts: begin it with redis+sentinel or redis+cluster";
	const parts = path.split("/").slice(1);
	const master = kind === "sentinel" ? parts.shift() : undefined;
	if (kind === "sentinel" && !master) return "lacks the master's name: redis+sentinel://host/NAME";
	const [database = "", ...more] = parts;
	if (!/^\d{0,4}$/.test(database) || more.some(Boolean)) return "ends with something that is no database number";
	if (kind === "cluster" && Number(database) > 0) return "names a database, and a cluster has none but 0";
	const login = loginOf(user);
	const parameters = new URLSearchParams(query);
	const sentinelPassword = parameters.get("sentinel_password") ?? undefined;
	const unknown = [...parameters.keys()].find((name) => name !== "sentinel_password" || kind !== "sentinel");
	if (!login) return "has a user or password that is not percent-encoded as it must be";
	if (unknown !== undefined) return `has a parameter that is not known: ${unknown.slice(0, 32)}`;
	return {
		kind,
		nodes: [first, ...(others as RedisNode[])],
		tls: secure === "s",
		...login,
		database: Number(database),
		master,
		sentinelPassword,
	};
}

/** `host`, `host:port`, `[::1]:port`. */
function nodeOf(text: string, port: number): RedisNode | undefined {
	const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
	const host = bracketed ?? plain;
	const wanted = digits === undefined ? port : Number(digits);
	return host === undefined || wanted < 1 || wanted > 65535 ? undefined : { host, port: wanted };
}

/** `user:password`, `:password`; percent-encoded. */
function loginOf(text: string | undefined): Pick<RedisAddress, "username" | "password"> | undefined {
	if (!text) return {};
	const colon = text.indexOf(":");
	try {
		const username = decodeURIComponent(colon === -1 ? text : text.slice(0, colon));
		const password = colon === -1 ? undefined : decodeURIComponent(text.slice(colon + 1));
		return { username: username || undefined, password: password || undefined };
	} catch {
		return undefined;
	}
}
