/** The replicas of `make chaos`, and what befalls them: plain processes on fixed ports, half of them behind a relay that cuts. */
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import type { Random } from "../kit/random.ts";
import { type Sim, type SimOrder, startSim } from "../kit/vllm-sim-process.ts";

/** What all replicas are started with. */
export const MODEL = "Qwen/Qwen3-0.6B";
export const SIM_ARGS =
	"--served-model-name m --enable-auto-tool-choice --tool-call-parser hermes --reasoning-parser qwen3".split(" ");
const ENV = { SIM_SPEED: "1", SIM_START_MS: "300", SIM_PACK: "8" };

/** What may happen. Most lasts a while; what does not is over at once. */
export const MISHAPS = ["kill", "terminate", "engine dies", "hang", "freeze", "slow", "cut", "abort"] as const;
export type Mishap = (typeof MISHAPS)[number];

/** One replica: a sim that is started again and again on the same port. */
export class Replica {
	/** Nothing is being done to it. */
	isWell = true;
	readonly #sockets = new Set<Socket>();
	#relay: Server | undefined;

	private constructor(
		private sim: Sim,
		private readonly port: number,
	) {}

	/** Starts one. */
	static async start(isRelayed: boolean): Promise<Replica> {
		const sim = await startSim({ model: MODEL, args: SIM_ARGS, env: ENV, compiled: true });
		const replica = new Replica(sim, Number(new URL(sim.origin).port));
		if (isRelayed) await replica.#startRelay();
		return replica;
	}

	/** Where the router finds it. */
	get origin(): string {
		const address = this.#relay?.address();
		return `http://127.0.0.1:${typeof address === "object" && address ? address.port : this.port}`;
	}

	/** Where it is itself. */
	get direct(): string {
		return `http://127.0.0.1:${this.port}`;
	}

	/** Does it, and has it well again afterwards. False where it can't be done to this one. */
	async suffer(mishap: Mishap, draw: Random): Promise<boolean> {
		const lastsMs = 500 + draw.below(6000);
		if (mishap === "cut") return this.#cut();
		if (mishap === "abort") return this.#told({ abort: true });
		this.isWell = false;
		try {
			if (mishap === "hang") {
				await this.#told({ hang: true });
				await Bun.sleep(lastsMs);
				await this.#told({ hang: false });
			} else if (mishap === "slow") {
				await this.#told({ speed: 0.05 });
				await Bun.sleep(lastsMs);
				await this.#told({ speed: Number(ENV.SIM_SPEED) });
			} else if (mishap === "freeze") {
				process.kill(this.sim.pid, "SIGSTOP");
				await Bun.sleep(lastsMs);
				process.kill(this.sim.pid, "SIGCONT");
			} else {
				if (mishap === "engine dies") await this.#told({ crash: "engine" });
				else await this.sim.kill(mishap === "kill" ? "SIGKILL" : "SIGTERM");
				await this.sim.exited;
				await Bun.sleep(lastsMs);
				this.sim = await startSim({ model: MODEL, args: SIM_ARGS, env: ENV, compiled: true, port: this.port });
			}
		} finally {
			this.isWell = true;
		}
		return true;
	}

	async stop(): Promise<void> {
		this.#cut();
		this.#relay?.close();
		await this.sim.stop();
	}

	async #told(order: SimOrder): Promise<boolean> {
		await this.sim.control(order);
		return true;
	}

	#cut(): boolean {
		for (const socket of this.#sockets) socket.resetAndDestroy();
		return this.#relay !== undefined;
	}

	#startRelay(): Promise<void> {
		const relay = createServer((client) => {
			const upstream = dial(this.port, "127.0.0.1");
			for (const [socket, other] of [
				[client, upstream],
				[upstream, client],
			] as const) {
				this.#sockets.add(socket);
				socket.setNoDelay(true);
				socket.on("error", () => other.destroy());
				socket.on("close", () => {
					this.#sockets.delete(socket);
					other.destroySoon();
				});
				socket.pipe(other);
			}
		});
		this.#relay = relay;
		return new Promise((resolve) => relay.listen(0, "127.0.0.1", resolve));
	}
}
