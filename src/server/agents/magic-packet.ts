/** Wake-on-LAN: the magic packet that a sleeping host's network card hears (AMD, "Magic Packet Technology", publication 20213), and how it is sent. */
import { createSocket } from "node:dgram";
import { isIPv4 } from "node:net";
import { networkInterfaces } from "node:os";

/** Discard, to which such packets go by custom. Cards look at no port. */
const PORT = 9;
const REPEATS = 16;

/** How a host is woken: an entry of `agents.wake`. */
export interface WakeSettings {
	/** `52:54:00:12:34:56`, or with dashes. */
	readonly mac: string;
	/** SecureOn, in the same form. */
	readonly password?: string | undefined;
	/** An IPv4 address in whose network the host is heard, with a port where it is not 9; default: each of this machine's networks. */
	readonly broadcast?: string | undefined;
}

/** Six bytes of 255, sixteen times the address, and the password: 102 or 108 bytes. Pure. */
export function magicPacket({ mac, password }: Pick<WakeSettings, "mac" | "password">): Buffer {
	const address = bytesOf(mac);
	const parts = [Buffer.alloc(6, 0xff), ...Array.from({ length: REPEATS }, () => address)];
	return Buffer.concat(password === undefined ? parts : [...parts, bytesOf(password)]);
}

const bytesOf = (text: string): Buffer => Buffer.from(text.replace(/[:-]/g, ""), "hex");

/** Where a packet is sent. */
export interface PacketTarget {
	readonly address: string;
	readonly port: number;
}

/** An address of this machine. */
interface InterfaceAddress {
	readonly address: string;
	readonly netmask: string;
	readonly family: string;
	readonly internal: boolean;
}

/**
 * Where packets for a host go: to all hosts of a network, since one that sleeps answers no question for its address, and to where it was last
 * seen, for switches and relays that know it still. Pure.
 * @param endpoint of its agent @param own addresses of this machine
 */
export function packetTargets(
	{ broadcast }: Pick<WakeSettings, "broadcast">,
	endpoint: string,
	own: readonly InterfaceAddress[],
): PacketTarget[] {
	const [address, port] = broadcast?.split(":") ?? [];
	const networks = own.filter(({ family, internal }) => family === "IPv4" && !internal).map(broadcastOf);
	const all = address === undefined ? [...networks, "255.255.255.255"] : [address];
	const targets = all.map((each) => ({ address: each, port: Number(port ?? PORT) }));
	const { hostname } = new URL(endpoint);
	if (isIPv4(hostname) && !all.includes(hostname)) targets.push({ address: hostname, port: PORT });
	return targets.filter((each, at) => targets.findIndex((other) => other.address === each.address) === at);
}

/** The last address of an IPv4 network. */
function broadcastOf({ address, netmask }: InterfaceAddress): string {
	const mask = netmask.split(".").map(Number);
	return address
		.split(".")
		.map((part, at) => Number(part) | (255 & ~mask[at]!))
		.join(".");
}

/** Sends it everywhere. Resolves with why none could be sent, a code such as `ENETUNREACH`; undefined where one was. Never rejects. */
export async function sendMagicPacket(settings: WakeSettings, endpoint: string): Promise<string | undefined> {
	let socket: ReturnType<typeof createSocket> | undefined;
	try {
		const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
		const packet = magicPacket(settings);
		const opened = createSocket("udp4");
		socket = opened;
		await new Promise<void>((bound, failed) => {
			opened.once("error", failed);
			opened.bind(0, bound);
		});
		opened.setBroadcast(true);
		const sent = await Promise.all(packetTargets(settings, endpoint, own).map((to) => send(opened, packet, to)));
		return sent.includes(undefined) ? undefined : sent[0];
	} catch (thrown) {
		return codeOf(thrown);
	} finally {
		socket?.close();
	}
}

function send(socket: ReturnType<typeof createSocket>, packet: Buffer, { address, port }: PacketTarget) {
	return new Promise<string | undefined>((done) => {
		socket.send(packet, port, address, (error) => done(error ? codeOf(error) : undefined));
	});
}

const codeOf = (thrown: unknown): string =>
	thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown";
