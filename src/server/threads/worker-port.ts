/** How connections come to workers: they listen on one port, or the main thread does, and passes on what it accepts. */
import { type Backend, ConnectionBalancer } from "../../http/connection-balancer.ts";
import { listeningUrl, type PortPlace } from "../../http/listen.ts";
import { makePeerAddresses, PeerAddresses } from "../../http/peer-addresses.ts";
import type { WorkerStart } from "./link.ts";

/** Where somebody listens. */
export interface PortAddress {
	readonly url: string;
	readonly port: number;
}

/** What a worker that is to start is told of it. */
type WorkerPlace = Pick<WorkerStart, "port" | "isFirst" | "peers" | "inherited">;

/** A worker that listens. */
type ListeningWorker = Omit<Backend, "peers">;

/** The port of all workers. */
export interface WorkerPort {
	/** Where clients connect to, once the first worker listens. */
	readonly at: PortAddress;
	place(): WorkerPlace;
	/** The worker listens. @param at where, by its own word */
	took(worker: ListeningWorker, place: WorkerPlace, at: PortAddress): void;
	/** A worker that listened has ended. */
	left(worker: ListeningWorker): void;
	/** Resolves once no connection is on its way to a worker. Workers are told themselves to stop listening. */
	stop(): Promise<void>;
	/** Resolves when clients have all that workers had sent them. */
	drained(): Promise<void>;
	/** Ends what the main thread has of it. */
	cut(): void;
}

/** All workers listen on it, and the system spreads its connections; or on one socket, where whoever is first gets them. */
export class SharedPort implements WorkerPort {
	#at: PortAddress | undefined;

	readonly #place: PortPlace;

	/** @param place `first`: the first worker finds out that nobody has the port, and picks one where it is 0 */
	constructor(place: PortPlace) {
		this.#place = place;
	}

	get at(): PortAddress {
		return this.#at!;
	}

	place(): WorkerPlace {
		const { port, sharing, inherited } = this.#place;
		const isFirst = this.#at === undefined && sharing !== "further";
		return { port: this.#at?.port ?? port, isFirst, peers: undefined, inherited };
	}

	took(_worker: ListeningWorker, _place: WorkerPlace, at: PortAddress): void {
		this.#at ??= at;
	}

	left(): void {}

	async stop(): Promise<void> {}

	async drained(): Promise<void> {}

	cut(): void {}
}

/** The main thread listens. */
export class BalancedPort implements WorkerPort {
	readonly at: PortAddress;
	readonly #balancer: ConnectionBalancer;
	readonly #backends = new Map<ListeningWorker, Backend>();

	/** @param port 0 picks one @throws {StartError} as `listen` does */
	constructor(host: string, port: number, isTls: boolean) {
		this.#balancer = new ConnectionBalancer(host, port);
		this.at = { url: listeningUrl(host, this.#balancer.port, isTls), port: this.#balancer.port };
	}

	place(): WorkerPlace {
		return { port: this.at.port, isFirst: false, peers: makePeerAddresses(), inherited: undefined };
	}

	took(worker: ListeningWorker, { peers }: WorkerPlace): void {
		const backend: Backend = {
			peers: new PeerAddresses(peers!),
			get port() {
				return worker.port;
			},
			get isRunning() {
				return worker.isRunning;
			},
			confirm: () => worker.confirm(),
		};
		this.#backends.set(worker, backend);
		this.#balancer.add(backend);
	}

	left(worker: ListeningWorker): void {
		const backend = this.#backends.get(worker);
		this.#backends.delete(worker);
		if (backend) this.#balancer.remove(backend);
	}

	stop(): Promise<void> {
		return this.#balancer.stop();
	}

	drained(): Promise<void> {
		return this.#balancer.drained();
	}

	cut(): void {
		this.#balancer.cut();
	}
}
