/** `router agents invite`: a token of its own for agents, and the line that starts one with it. */
import { isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import { hashKey } from "../accounts/auth/keys.ts";
import type { Config } from "../config/schema.ts";
import { StartError } from "../errors.ts";
import { sqliteStore } from "../store/sqlite.ts";
import { localUrl } from "./local-url.ts";

/** The line for stdout, and a note for the user, for stderr. */
export interface Invitation {
	readonly text: string;
	readonly note?: string;
}

/**
 * Creates a token and stores its hash in the data directory, where a running router finds it. The token itself is in the text
 * and nowhere else.
 * @param url the router, as the GPU host reaches it; by default this machine's own address
 * @throws {StartError} where the hash can't be stored
 */
export function invite(url: string | undefined, config: Config): Invitation {
	const address = url?.replace(/\/+$/, "").replace(/\/v1$/, "");
	if (address !== undefined && !/^https?:\/\/[^\s'"`$;&|<>\\/]+(\/[\w./-]*)?$/.test(address)) {
		throw new StartError(`--url ${address} is no http(s) address: http://router:8000`);
	}
	const token = `ra-${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url")}`;
	const store = sqliteStore(config.data_dir, () => {});
	const isKept = store.addAgentToken(hashKey(token));
	const { problem } = store;
	store.close();
	if (!isKept) throw new StartError(`The token can't be kept: ${problem ?? "the data directory can't be written"}.`);

	const { host, tls } = config.server;
	const own = ownUrl(config);
	const text = `ROUTER_AGENT_TOKEN=${token} router --agent --router ${address ?? own}\n`;
	const isLoopback = /^(?:localhost|127\..*|::1)$/.test(host);
	if (address === undefined && isLoopback) {
		const note = `This router listens on ${host} only, which no other host reaches: set HOST=0.0.0.0 for it, and --url here.`;
		return { text, note };
	}
	return address === undefined && tls ? { text, note: "--url names the router as its certificate does." } : { text };
}

/** The router's address for other hosts, as far as this machine knows it. */
function ownUrl({ server }: Config): string {
	const isEverywhere = server.host === "0.0.0.0" || server.host === "::";
	const outside = Object.values(networkInterfaces())
		.flatMap((addresses) => addresses ?? [])
		.find(({ internal, address }) => !internal && !isIPv6(address));
	const host = isEverywhere && outside ? outside.address : server.host;
	const url = localUrl({ host, port: server.port });
	return server.tls ? url.replace("http:", "https:") : url;
}
