/** The replicas of `make chaos`, and what befalls them: plain processes on fixed ports, half of them behind a relay that cuts. */
import type { Json } from "../kit/exchange.ts";
import type { Random } from "../kit/random.ts";
import { type Sim, type SimOrder, startSim } from "../kit/vllm-sim-process.ts";
import type { ChaosFleet, Misfortune } from "./chaos-fleet.ts";
import { ChaosRelay } from "./chaos-relay.ts";

/** What all replicas are started with. */
export const MODEL = "Qwen/Qwen3-0.6B";
export const SIM_ARGS =
	"--served-model-name m --enable-auto-tool-choice --tool-call-parser hermes --reasoning-parser qwen3".split(" ");
const ENV = { SIM_SPEED: "1", SIM_START_MS: "300", SIM_PACK: "8" };
const REPLICAS = 4;

/** What may happen. Most lasts a while; what does not is over at once. */
const MISHAPS = ["kill", "terminate", "engine dies", "hang", "freeze", "slow", "cut", "abort"] as const;
type Mishap = (typeof MISHAPS)[number];

/** Four of them, each an upstream of its own. At each moment one at least is left alone, but for cuts. */
export class ChaosReplicas implements ChaosFleet {
	private constructor(private readonly replicas: readonly Replica[]) {}

	static async start(): Promise<ChaosReplicas> {
		return new ChaosReplicas(
			await Promise.all(Array.from({ length: REPLICAS }, (_, at) => Replica.start(at % 2 === 1))),
		);
	}

	get config(): Json {
		return {
			providers: Object.fromEntries(
				this.replicas.map(({ origin }, at) => [`sim${at}`, { type: "vllm", base_url: `${origin}/v1` }]),
			),
		};
	}

	get targets(): readonly string[] {
		return this.replicas.map((_, at) => `sim${at}/m`);
	}

	get direct(): readonly string[] {
		return this.replicas.map(({ direct }) => direct);
	}

	async join(): Promise<void> {}

	async befall(draw: Random): Promise<Misfortune | undefined> {
		const well = this.replicas.filter(({ isWell }) => isWell);
		const mishap = draw.pick(MISHAPS);
		const replica = draw.pick(well);
		if (well.length === 1 && mishap !== "cut") return undefined;
		return { who: `sim${this.replicas.indexOf(replica)}`, what: mishap, over: replica.suffer(mishap, draw) };
	}

	end(): void {}

	async stop(): Promise<void> {
		await Promise.all(this.replicas.map((replica) => replica.stop()));
	}
}

/** One replica: a sim that is started again and again on the same port. */
class Replica {
	/** Nothing is being done to it. */
	isWell = true;
	#relay: ChaosRelay | undefined;

	private constructor(
		private sim: Sim,
		private readonly port: number,
	) {}

	/** Starts one. */
	static async start(isRelayed: boolean): Promise<Replica> {
		const sim = await startSim({ model: MODEL, args: SIM_ARGS, env: ENV, compiled: true });
		const replica = new Replica(sim, Number(new URL(sim.origin).port));
		if (isRelayed) replica.#relay = await ChaosRelay.start(replica.port);
		return replica;
	}

	/** Where the router finds it. */
	get origin(): string {
		return this.#relay?.origin ?? this.direct;
	}

	/** Where it is itself. */
	get direct(): string {
		return `http://127.0.0.1:${this.port}`;
	}

	/** Does it, and has it well again afterwards. False where it can't be done to this one. */
	async suffer(mishap: Mishap, draw: Random): Promise<boolean> {
		const lastsMs = 500 + draw.below(6000);
		if (mishap === "cut") {
			this.#relay?.cut();
			return this.#relay !== undefined;
		}
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
		this.#relay?.stop();
		await this.sim.stop();
	}

	async #told(order: SimOrder): Promise<boolean> {
		await this.sim.control(order);
		return true;
	}
}
