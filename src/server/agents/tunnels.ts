/**
 * Tunnels of agents, as a thread has them. A tunnel is a WebSocket, which lives in the thread that its agent happened to reach; the others
 * send their frames there. See "Tunnels" in design.md.
 */
import {
	FRAME,
	frame,
	type Hello,
	helloFrame,
	openerOf,
	parseFrame,
	streamIn,
	streamNumber,
	TUNNEL_PREFIX,
	TunnelFault,
	tunnelEndpoint,
} from "../../protocol/tunnel.ts";
import type { Transport } from "../../providers/provider.ts";
import { TunnelStreams } from "../../proxy/net/tunnel-streams.ts";
import { AgentTunnel } from "./agent-tunnel.ts";
import { ReopeningTunnels } from "./reopening-tunnels.ts";

/** An open tunnel. */
export interface TunnelName {
	readonly agent: string;
	/** Of its agent's installation; "" where it has none. */
	readonly instance: string;
	/** Of its agent's start; "" where an older agent says none. */
	readonly process: string;
	/** One for each WebSocket. */
	readonly id: string;
}

/** What an agent has, in the place of a tunnel that is lost: another one; none as yet; none, and it had none. */
export type TunnelState = "open" | "closed" | "none";

/** What a thread says of tunnels to whoever knows them all. */
export interface TunnelExchange {
	opened(tunnel: TunnelName): void;
	closed(tunnel: TunnelName): void;
	/** The thread has had its last call. */
	drained(): void;
	/** A frame for an agent, wherever its tunnel is. */
	toAgent(agent: string, message: Buffer): void;
	/** A frame of an agent's, for the thread that has opened its stream. */
	toThread(thread: number, agent: string, message: Buffer): void;
}

/** What a thread is told of tunnels. */
export interface TunnelPort {
	/** A frame for an agent whose tunnel is here. */
	toAgent(agent: string, message: Buffer): void;
	/** A frame of an agent's, for a stream of this thread. */
	fromAgent(agent: string, message: Buffer): void;
	/** Streams to the agent that were open are over: see TunnelState. */
	lost(agent: string, now: TunnelState): void;
	/** Another one has taken the place of this tunnel. */
	replaced(tunnel: TunnelName): void;
	/** A thread has ended, and its streams with it. */
	ended(thread: number): void;
	/** No thread has calls any more: tunnels that are here end. */
	end(): void;
	/** Which router this is, and which others agents are to have tunnels to. */
	know(hello: Hello): void;
}

/** The tunnels of a thread: those whose WebSockets it has, and its streams over all. */
export class ThreadTunnels implements TunnelPort {
	/** By agent, from the first stream until its tunnel is lost. */
	readonly #streams = new Map<string, TunnelStreams>();
	/** Numbers streams, those of all agents: what an earlier tunnel still brings is for none of a later one. */
	#count = 0;
	readonly #reopening = new ReopeningTunnels();
	readonly #open = new Map<string, AgentTunnel>();
	#isDrained = false;
	#hello: Hello | undefined;

	/**
	 * @param thread this one; frames of its streams bear its number
	 * @param epoch differs from that of the worker before which had this number
	 */
	constructor(
		private readonly thread: number,
		private readonly exchange: TunnelExchange,
		private readonly epoch = 0,
	) {}

	/** How this router is called among those of one Redis, and by agents; undefined until the thread has been told. */
	get router(): string | undefined {
		return this.#hello?.router;
	}

	/** How many WebSockets of tunnels are open here. */
	get size(): number {
		return this.#open.size;
	}

	/** How an address is called that begins with an agent's endpoint. */
	transportTo(address: string): Transport {
		const end = address.indexOf("/", TUNNEL_PREFIX.length);
		const agent = address.slice(TUNNEL_PREFIX.length, end === -1 ? undefined : end);
		if (!this.#reopening.has(agent)) return this.#streamsOf(agent);
		return {
			send: async (request, signal, connectMs) => {
				await this.#reopening.wait(agent, signal, connectMs);
				return this.#streamsOf(agent).send(request, signal, connectMs);
			},
		};
	}

	/** The data of a WebSocket that an agent opens. @param known routers that it has tunnels to: another one here is closed at once */
	accept(whose: Omit<TunnelName, "id">, known: readonly string[] = []): AgentTunnel {
		const { agent } = whose;
		if (this.#hello && known.includes(this.#hello.router)) {
			const duplicate: AgentTunnel = new AgentTunnel({
				opened: () => duplicate.end("duplicate"),
				received() {},
				closed() {},
			});
			return duplicate;
		}
		const name: TunnelName = { ...whose, id: crypto.randomUUID() };
		const tunnel: AgentTunnel = new AgentTunnel({
			opened: () => {
				this.#open.get(agent)?.end("replaced");
				this.#open.set(agent, tunnel);
				if (this.#hello) tunnel.send(helloFrame(this.#hello));
				this.exchange.opened(name);
			},
			received: (message) => this.#received(agent, message),
			closed: () => {
				if (this.#open.get(agent) === tunnel) this.#open.delete(agent);
				this.exchange.closed(name);
			},
		});
		tunnel.id = name.id;
		return tunnel;
	}

	toAgent(agent: string, message: Buffer): void {
		this.#open.get(agent)?.send(message);
	}

	fromAgent(agent: string, message: Buffer): void {
		const streams = this.#streams.get(agent);
		try {
			streams?.take(message);
		} catch (thrown) {
			if (!(thrown instanceof TunnelFault)) throw thrown;
			this.#lose(agent);
		}
	}

	lost(agent: string, now: TunnelState): void {
		if (now === "closed") this.#reopening.closed(agent);
		else if (now === "open") this.#reopening.opened(agent);
		this.#lose(agent);
	}

	#lose(agent: string): void {
		const streams = this.#streams.get(agent);
		// What is asked from here on, by whoever hears that they are over, goes over others.
		this.#streams.delete(agent);
		streams?.lost();
	}

	/** The thread has had its last call: once all have, tunnels end. */
	drained(): void {
		if (!this.#isDrained) this.exchange.drained();
		this.#isDrained = true;
	}

	end(): void {
		for (const tunnel of this.#open.values()) tunnel.end("stopping");
	}

	replaced({ agent, id }: TunnelName): void {
		const tunnel = this.#open.get(agent);
		if (tunnel?.id === id) tunnel.end("replaced");
	}

	know(hello: Hello): void {
		this.#hello = hello;
		const message = helloFrame(hello);
		for (const tunnel of this.#open.values()) tunnel.send(message);
	}

	ended(thread: number): void {
		const message = frame(FRAME.gone, thread * 2 ** 24);
		for (const tunnel of this.#open.values()) tunnel.send(message);
	}

	#received(agent: string, message: Buffer): void {
		const thread = openerOf(streamIn(message));
		if (message[0] === FRAME.ping) this.#open.get(agent)?.send(frame(FRAME.pong, 0));
		else if (thread === this.thread) (this.#streams.get(agent) ?? NO_STREAMS).take(message);
		else {
			// What is no frame is found out where the tunnel can be closed.
			parseFrame(message);
			this.exchange.toThread(thread, agent, message);
		}
	}

	#streamsOf(agent: string): TunnelStreams {
		let streams = this.#streams.get(agent);
		if (!streams) {
			const transmit = (message: Buffer) => {
				const tunnel = this.#open.get(agent);
				if (tunnel) tunnel.send(message);
				else this.exchange.toAgent(agent, message);
			};
			const next = () => streamNumber(this.thread, this.epoch, ++this.#count);
			streams = new TunnelStreams(next, tunnelEndpoint(agent), transmit);
			this.#streams.set(agent, streams);
		}
		return streams;
	}
}

/** Where nothing was asked of the agent: what is no frame is found out all the same. */
const NO_STREAMS = { take: (message: Buffer) => void parseFrame(message) };

/** Knows which thread has which tunnel: the main thread's, or the only one's. */
export class TunnelHub {
	readonly #ports = new Map<number, TunnelPort>();
	/** Threads that have had their last call. */
	readonly #drained = new Set<number>();
	/** By agent, the newest. */
	readonly #open = new Map<string, { readonly tunnel: TunnelName; readonly thread: number }>();
	/** What agents are told of this router, and of others. */
	#hello: Hello;
	/** Hears that an agent has a tunnel, or none any more. */
	onChange: ((agent: string, isOpen: boolean) => void) | undefined;

	/** @param router names it among the routers of one Redis, and to agents */
	constructor(readonly router: string = crypto.randomUUID()) {
		this.#hello = { router, routers: [router], takesBatches: true };
	}

	/** Which other routers there are: agents open a tunnel to each. */
	know(others: Iterable<string>): void {
		const routers = [this.router, ...[...others].sort()];
		if (routers.join() === this.#hello.routers.join()) return;
		this.#hello = { router: this.router, routers, takesBatches: true };
		for (const port of this.#ports.values()) port.know(this.#hello);
	}

	/** How many agents have one. */
	get size(): number {
		return this.#open.size;
	}

	/** An agent that has none is about to open one, as after one that has closed. */
	expect(agent: string): void {
		this.#tellLost(agent, "closed");
	}

	/** Whether this installation has a tunnel. */
	isOpen(agent: string, instance = ""): boolean {
		return this.#open.get(agent)?.tunnel.instance === instance;
	}

	/** Which start of this installation has its tunnel; undefined where it has none, or an older agent has it. */
	processOf(agent: string, instance = ""): string | undefined {
		const tunnel = this.#open.get(agent)?.tunnel;
		return tunnel?.instance === instance && tunnel.process !== "" ? tunnel.process : undefined;
	}

	/** The tunnels of a thread of this hub's own. */
	thread(number: number): ThreadTunnels {
		const tunnels = new ThreadTunnels(number, this.exchangeOf(number));
		this.addThread(number, tunnels);
		return tunnels;
	}

	/** A thread's side. */
	addThread(thread: number, port: TunnelPort): void {
		this.#ports.set(thread, port);
		port.know(this.#hello);
	}

	/** A thread has ended, and the tunnels with it that it had. */
	endThread(thread: number): void {
		this.#ports.delete(thread);
		for (const open of [...this.#open.values()]) if (open.thread === thread) this.#closed(open.tunnel);
		for (const port of this.#ports.values()) port.ended(thread);
		this.#drained.delete(thread);
		if (this.#drained.size > 0) this.#endIfDrained();
	}

	#endIfDrained(): void {
		if (this.#drained.size < this.#ports.size) return;
		for (const port of this.#ports.values()) port.end();
	}

	/** What a thread asks. */
	exchangeOf(thread: number): TunnelExchange {
		return {
			opened: (tunnel) => {
				const before = this.#open.get(tunnel.agent);
				this.#open.set(tunnel.agent, { tunnel, thread });
				if (before) this.#ports.get(before.thread)?.replaced(before.tunnel);
				this.#tellLost(tunnel.agent, "open");
				this.onChange?.(tunnel.agent, true);
			},
			closed: (tunnel) => this.#closed(tunnel),
			drained: () => {
				this.#drained.add(thread);
				this.#endIfDrained();
			},
			toAgent: (agent, message) => {
				const holder = this.#open.get(agent);
				if (holder) this.#ports.get(holder.thread)?.toAgent(agent, message);
				// A frame that ends a stream needs no answer: it may be said because of one.
				else if (message[0] !== FRAME.reset && message[0] !== FRAME.end) this.#ports.get(thread)?.lost(agent, "none");
			},
			toThread: (to, agent, message) => this.#ports.get(to)?.fromAgent(agent, message),
		};
	}

	#closed({ agent, id }: TunnelName): void {
		if (this.#open.get(agent)?.tunnel.id !== id) return;
		this.#open.delete(agent);
		this.#tellLost(agent, "closed");
		this.onChange?.(agent, false);
	}

	#tellLost(agent: string, now: TunnelState): void {
		for (const port of this.#ports.values()) port.lost(agent, now);
	}
}
