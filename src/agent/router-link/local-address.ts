/** The address of this host that a router sees: the one a connection to it goes out from. */
import { connect, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";

/** Longest that the connection may take, ms. */
const CONNECT_TIMEOUT_MS = 3_000;

/** Opens a connection to the URL's host, closes it, and resolves with its local address. Rejects where none comes about. */
export function localAddressTo(url: string): Promise<string> {
	const { hostname, port, protocol } = new URL(url);
	const { promise, resolve, reject } = Promise.withResolvers<string>();
	const socket = connect({
		host: hostname.replace(/^\[|\]$/g, ""),
		port: Number(port || (protocol === "https:" ? 443 : 80)),
	});
	socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy(new Error("no connection in time")));
	socket.once("error", reject);
	socket.once("close", () => reject(new Error("the connection was closed")));
	socket.once("connect", () => {
		const { localAddress } = socket;
		if (localAddress) resolve(localAddress);
		socket.destroy();
	});
	return promise;
}

/** `http://10.0.0.7:5000`: where an agent on this address and port is reached. */
export function httpOrigin(address: string, port: number): string {
	const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
	return `http://${isIPv6(plain) ? `[${plain}]` : plain}:${port}`;
}

/** Changes when the host's addresses do; not with each container, whose interface has a link-local one only. */
export function localAddresses(): string {
	const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses?.map(({ address }) => address) ?? []);
	return all
		.filter((address) => !address.startsWith("fe80:"))
		.sort()
		.join(" ");
}
