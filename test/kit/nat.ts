/**
 * A host behind NAT: a network namespace whose way out leads through another one, which puts its own address in the place of the host's
 * (masquerade). Nothing outside knows a way in.
 */
import { capable as mayAdminister } from "./docker.ts";
import { lines } from "./lines.ts";

/** The host and the way to it. */
export interface NatHost {
	/** Where the host reaches this machine. */
	readonly outside: string;
	/** Starts a program on the host, in its own process group. */
	spawn(command: readonly string[], env?: Record<string, string>): HostProgram;
	/** Takes the cable out: nothing passes, and nobody is told. */
	unplug(): Promise<void>;
	/** The gateway forgets all connections: what comes for one is refused with a reset. */
	reset(): Promise<void>;
	/** All passes again. */
	restore(): Promise<void>;
	stop(): Promise<void>;
}

/** A program on the host. */
export interface HostProgram {
	/** Resolves once a line that it prints matches, with the line; rejects where it ends first, with all it said. */
	printed(pattern: RegExp): Promise<string>;
	output(): string;
	/** Closes its stdin, and waits for its end. */
	stop(): Promise<void>;
}

/** Why no such host can be made here; `undefined` where one can. */
export function natProblem(): string | undefined {
	if (process.platform !== "linux") return "network namespaces are Linux's only";
	if (process.getuid?.() !== 0) return "network namespaces need root";
	if (!mayAdminister()) return "root may not make network namespaces here (a container may with --privileged)";
	const missing = ["ip", "nft", "nsenter"].filter((program) => !Bun.which(program));
	return missing.length > 0 ? `${missing.join(", ")} is not installed` : undefined;
}

/** Makes it. Needs root, `ip`, `nft` and `nsenter`. */
export async function startNatHost(): Promise<NatHost> {
	const id = crypto.randomUUID().slice(0, 6);
	const [host, gateway, uplink] = [`nh${id}`, `ng${id}`, `nu${id}`];
	const [a, b] = crypto.getRandomValues(new Uint8Array(2));
	// The kit's Docker Engines take 10.64 to 10.127.
	const [wan, lan] = [`10.${128 + (a! % 64)}.${b}`, `10.${192 + (a! % 64)}.${b}`];
	const at = (name: string, ...command: string[]) => run(["nsenter", `--net=/run/netns/${name}`, ...command]);
	const nft = (...rule: string[]) => at(gateway, "nft", ...rule);
	const programs: HostProgram[] = [];
	const stop = async () => {
		await Promise.all(programs.map((program) => program.stop()));
		for (const name of [host, gateway]) await run(["ip", "netns", "del", name]).catch(() => undefined);
	};
	try {
		for (const name of [host, gateway]) await run(["ip", "netns", "add", name]);
		await run(["ip", "link", "add", uplink, "type", "veth", "peer", "name", "wan", "netns", gateway]);
		await run(["ip", "-n", gateway, "link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", host]);
		await run(["ip", "addr", "add", `${wan}.1/24`, "dev", uplink]);
		await run(["ip", "link", "set", uplink, "up"]);
		await run(["ip", "-n", gateway, "addr", "add", `${wan}.2/24`, "dev", "wan"]);
		await run(["ip", "-n", gateway, "addr", "add", `${lan}.1/24`, "dev", "lan"]);
		await run(["ip", "-n", host, "addr", "add", `${lan}.2/24`, "dev", "eth0"]);
		for (const device of ["lo", "wan", "lan"]) await run(["ip", "-n", gateway, "link", "set", device, "up"]);
		for (const device of ["lo", "eth0"]) await run(["ip", "-n", host, "link", "set", device, "up"]);
		await run(["ip", "-n", host, "route", "add", "default", "via", `${lan}.1`]);
		await at(gateway, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward");
		await nft("add table ip router");
		await nft("add chain ip router masked { type nat hook postrouting priority 100 ; }");
		await nft("add rule ip router masked oifname wan masquerade");
		await nft("add chain ip router passing { type filter hook forward priority 0 ; }");
	} catch (error) {
		await stop();
		throw error;
	}
	return {
		outside: `${wan}.1`,
		spawn(command, env = {}) {
			const program = spawn(["nsenter", `--net=/run/netns/${host}`, ...command], env);
			programs.push(program);
			return program;
		},
		unplug: () => run(["ip", "-n", gateway, "link", "set", "wan", "down"]),
		reset: () => nft("add rule ip router passing ip protocol tcp reject with tcp reset"),
		async restore() {
			await nft("flush chain ip router passing");
			await run(["ip", "-n", gateway, "link", "set", "wan", "up"]);
		},
		stop,
	};
}

function spawn(command: readonly string[], env: Record<string, string>): HostProgram {
	const child = Bun.spawn([...command], {
		env: { PATH: process.env["PATH"] ?? "", HOME: "/tmp", ...env },
		stdin: "pipe",
		stdout: "pipe",
		stderr: "pipe",
	});
	let output = "";
	const waiting = new Set<() => void>();
	const read = (line: string) => {
		output += `${line}\n`;
		for (const look of waiting) look();
	};
	void lines(child.stdout, read);
	void lines(child.stderr, read);
	return {
		printed(pattern) {
			const { promise, resolve, reject } = Promise.withResolvers<string>();
			const look = () => {
				const line = output.split("\n").find((each) => pattern.test(each));
				if (line !== undefined) resolve(line);
			};
			waiting.add(look);
			look();
			void child.exited.then((code) => reject(new Error(`it ended with ${code} before ${pattern}:\n${output}`)));
			return promise.finally(() => waiting.delete(look));
		},
		output: () => output,
		async stop() {
			child.stdin.end();
			const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
			await child.exited;
			clearTimeout(timer);
		},
	};
}

async function run(command: string[]): Promise<void> {
	const child = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
	const [said, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
	if (code !== 0) throw new Error(`${command.join(" ")}: ${said.trim()}`);
}
