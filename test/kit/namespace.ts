/** A host's network of the tests' own: a network namespace with loopback and one link to this machine's, as a host has one to its neighbours. Needs root. */

/** The namespace. */
export interface Namespace {
	readonly name: string;
	/** The host's address on the link. */
	readonly address: string;
	/** Put before a command: it then runs on that host. */
	readonly enter: readonly string[];
	[Symbol.asyncDispose](): Promise<void>;
}

/** Makes one. Its name and its addresses are its own. */
export async function createNamespace(): Promise<Namespace> {
	const id = crypto.randomUUID().slice(0, 8);
	const [name, outer, inner] = [`rn${id}`, `rv${id}`, `rw${id}`];
	const [a, b] = crypto.getRandomValues(new Uint8Array(2));
	const net = `10.${192 + (a! % 32)}.${b}`;
	const remove = async () => {
		await ip("link", "delete", outer).catch(() => {});
		await ip("netns", "delete", name);
	};
	await ip("netns", "add", name);
	try {
		await ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name);
		await ip("addr", "add", `${net}.1/30`, "dev", outer);
		await ip("link", "set", outer, "up");
		await ip("-n", name, "addr", "add", `${net}.2/30`, "dev", inner);
		await ip("-n", name, "link", "set", inner, "up");
		await ip("-n", name, "link", "set", "lo", "up");
		await ip("-n", name, "route", "add", "default", "via", `${net}.1`);
	} catch (error) {
		await remove();
		throw error;
	}
	return {
		name,
		address: `${net}.2`,
		enter: ["nsenter", `--net=/run/netns/${name}`],
		[Symbol.asyncDispose]: remove,
	};
}

async function ip(...args: readonly string[]): Promise<void> {
	const child = Bun.spawn(["ip", ...args], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
	const [errors, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
	if (code !== 0) throw new Error(`ip ${args.join(" ")} ended with ${code}: ${errors.trim()}`);
}

/** Ports of an address that are open to this machine, of all there are. */
export async function openPorts(hostname: string): Promise<number[]> {
	const open: number[] = [];
	let next = 1;
	const scan = async () => {
		while (next <= 65_535) {
			const port = next++;
			if (await isOpen(hostname, port)) open.push(port);
		}
	};
	await Promise.all(Array.from({ length: 256 }, scan));
	return open.sort((one, other) => one - other);
}

/** Whether a connection is taken there. Where nothing at all comes back for 2 s it is not. */
export async function isOpen(hostname: string, port: number): Promise<boolean> {
	const { promise, resolve } = Promise.withResolvers<boolean>();
	const timer = setTimeout(() => resolve(false), 2000);
	const connecting = Bun.connect({ hostname, port, socket: { data() {} } }).then(
		(socket) => {
			socket.terminate();
			resolve(true);
		},
		() => resolve(false),
	);
	const is = await promise;
	clearTimeout(timer);
	void connecting;
	return is;
}
