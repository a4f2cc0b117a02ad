/**
 * The fleet of `CHAOS_AGENTS=2 make chaos`: real `router --agent` processes over a Docker Engine of its own, each with replicas of the look-alike of
 * vLLM. The router calls one by its address, the next through its tunnel, and so on; every way is a relay that cuts. Containers are killed, frozen and
 * hung, agents as well, ways break for a while, and the model is rolled again and again, by `router models roll`, to images that are good and that are not.
 */
import { type DockerEngine, startDockerEngine } from "../kit/docker.ts";
import type { Json } from "../kit/exchange.ts";
import { lines } from "../kit/lines.ts";
import type { Random } from "../kit/random.ts";
import { command, type RunningRouter } from "../kit/router.ts";
import { until } from "../kit/until.ts";
import { ChaosAgent, IMAGE, NAME, OF_AGENTS, OF_REPLICAS, OF_WAYS, REPLICAS } from "./chaos-agent.ts";
import type { ChaosFleet, Misfortune } from "./chaos-fleet.ts";

const ADMIN_KEY = "the-key-of-the-administrator";
const SIM = { SIM_SPEED: "1", SIM_START_MS: "300", SIM_PACK: "8", SIM_DEVICE: "any" };
/** What a model can be rolled to. The good ones differ by their names alone. */
const IMAGES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
	[IMAGE]: {},
	"vllm-sim:better": {},
	"vllm-sim:best": {},
	"vllm-sim:dying": { SIM_CRASH_AFTER_REQUESTS: "3", SIM_CRASH: "exit" },
	"vllm-sim:slow": { SIM_SPEED: "0.1" },
	"vllm-sim:failing": { SIM_FAIL: "unsupported" },
};

/** Of an agent's, as the command prints them. */
const START_OF_ROLL = new RegExp(`^(\\S+): ${NAME} is to be rolled`);
const END_OF_ROLL = new RegExp(`: ${NAME} (promoted|taken back)`);

/** Those of ways twice: an agent has one, and several replicas. Rolls, too: while one is under way no other begins. */
const MISHAPS = [...OF_REPLICAS, ...OF_AGENTS, ...OF_WAYS, ...OF_WAYS, "roll", "roll"] as const;
/** How long all replicas are waited for before an image that is not good is rolled, ms. */
const WHOLE_MS = 15_000;

/** All agents, and their engine. */
export class ChaosAgents implements ChaosFleet {
	readonly config: Json = { admin: { keys: [{ name: "chaos", key: ADMIN_KEY }] } };
	readonly targets = [`local/${NAME}`];
	readonly direct = [];
	#agents: ChaosAgent[] = [];
	#events: Bun.Subprocess | undefined;
	/** Of `router models roll`. */
	#roll: Bun.Subprocess | undefined;
	/**
	 * Whether something may be done to an agent of this name, or its containers, besides its way. An image that is not good is the next one where nothing else
	 * serves, so its agent is left alone while it is rolled.
	 */
	#mayHarm: (name: string) => boolean = () => true;
	#router: RunningRouter | undefined;
	#note: (what: string) => void = () => {};
	#isOver = false;
	/** What became of the rolls of each agent, as the command says it, behind the image. */
	readonly #rolls: string[] = [];

	private constructor(
		private readonly engine: DockerEngine,
		private readonly count: number,
		private readonly source: "source" | "binary",
	) {}

	/** Starts the engine. @param count of agents @param source what they run from */
	static async start(count: number, source: "source" | "binary"): Promise<ChaosAgents> {
		const engine = await startDockerEngine();
		try {
			for (const [image, switches] of Object.entries(IMAGES)) await engine.importSim(image, { ...SIM, ...switches });
		} catch (error) {
			await engine.stop();
			throw error;
		}
		return new ChaosAgents(engine, count, source);
	}

	async join(routers: readonly RunningRouter[], address: string, note: (what: string) => void): Promise<void> {
		this.#router = routers[0];
		this.#note = note;
		this.#watchEngine();
		this.#agents = await Promise.all(
			Array.from({ length: this.count }, (_, at) =>
				ChaosAgent.start({
					name: `agent${at}`,
					isTunnelled: at % 2 === 1,
					...{ engine: this.engine, router: address, source: this.source },
				}),
			),
		);
		for (const router of routers) await until(() => this.#isWhole(router), "all replicas");
	}

	/** Whether a router can call all replicas. */
	async #isWhole({ url }: RunningRouter): Promise<boolean> {
		const { data } = (await (await fetch(`${url}/agents`)).json()) as {
			data: { reachable: boolean; models: { replicas?: { state: string }[] }[] }[];
		};
		const states = data.flatMap(({ models }) => models[0]?.replicas ?? []).map(({ state }) => state);
		const areReady = states.length === this.count * REPLICAS && states.every((state) => state === "ready");
		return areReady && data.every(({ reachable }) => reachable);
	}

	async befall(draw: Random): Promise<Misfortune | undefined> {
		const mishap = draw.pick(MISHAPS);
		if (mishap === "roll") return this.#rolled(draw);
		const agent = draw.pick(this.#agents);
		const lastsMs = 500 + draw.below(6000);
		const { name: who } = agent;
		if (isOf(OF_WAYS, mishap)) {
			if (mishap === "no way" && !(await this.#canLose(agent))) return undefined;
			return { who, what: mishap, over: agent.loseWay(mishap, lastsMs) };
		}
		if (!this.#mayHarm(who)) return undefined;
		if (isOf(OF_AGENTS, mishap)) {
			if (!(await this.#canLose(agent))) return undefined;
			return { who, what: mishap, over: agent.suffer(mishap, lastsMs) };
		}
		const ready = await agent.ready();
		if (ready.length === 0) return undefined;
		const replica = draw.pick(ready);
		if (mishap !== "abort" && !(await this.#canLose(agent, replica.container))) return undefined;
		return { who: `${who}#${replica.replica}`, what: mishap, over: agent.harm(replica, mishap, lastsMs) };
	}

	get summary(): string {
		const promoted = this.#rolls.filter((each) => END_OF_ROLL.exec(each)![1] === "promoted").length;
		const told = this.#rolls.map((each) => `\n  ${each}`).join("");
		return `rolls of one agent each: ${promoted} promoted, ${this.#rolls.length - promoted} taken back${told}`;
	}

	end(): void {
		this.#isOver = true;
		this.#roll?.kill("SIGKILL");
	}

	async stop(): Promise<void> {
		this.end();
		this.#events?.kill("SIGKILL");
		await Promise.all(this.#agents.map((agent) => agent.stop()));
		await this.engine.stop();
	}

	/** Whether nothing is done to this agent, and a replica is left that takes calls, and to which nothing is done, besides all of this agent or the one in this container. */
	async #canLose(lost: ChaosAgent, container?: string): Promise<boolean> {
		if (!lost.isWell) return false;
		const others = this.#agents.filter((agent) => (agent === lost ? container !== undefined : agent.isSettled));
		const ready = (await Promise.all(others.map((agent) => agent.ready()))).flat();
		return ready.some((replica) => replica.container !== container);
	}

	/** Orders a roll where none is under way. */
	async #rolled(draw: Random): Promise<Misfortune | undefined> {
		const image = draw.pick(Object.keys(IMAGES));
		if (this.#roll || this.#isOver) return undefined;
		const isHealthy = Object.keys(IMAGES[image]!).length === 0;
		if (!isHealthy && !(await this.#becomesWhole())) return undefined;
		const args = ["models", "roll", NAME, "--image", image, "--canary", "30%", "--url", this.#router!.url];
		const child = Bun.spawn([...command(this.source), ...args], {
			cwd: this.#router!.directory,
			env: { PATH: process.env["PATH"] ?? "", ROUTER_ADMIN_KEYS: ADMIN_KEY },
			stdout: "pipe",
			stderr: "pipe",
		});
		this.#roll = child;
		const told = (line: string) => {
			this.#note(`roll: ${line}`);
			const [, rolled] = START_OF_ROLL.exec(line) ?? [];
			if (!isHealthy && rolled !== undefined) this.#mayHarm = (name) => name !== rolled;
			if (END_OF_ROLL.test(line)) this.#rolls.push(`${image}: ${line}`);
		};
		const over = Promise.all([lines(child.stdout, told), lines(child.stderr, told), child.exited]).then(() => {
			this.#roll = undefined;
			this.#mayHarm = () => true;
			return true;
		});
		return { who: image, what: "roll", over };
	}

	/** Nothing more befalls agents and replicas, and all come back. False where that takes too long: then it goes on. */
	async #becomesWhole(): Promise<boolean> {
		this.#mayHarm = () => false;
		for (const until = performance.now() + WHOLE_MS; performance.now() < until && !this.#isOver; ) {
			const ready = await Promise.all(this.#agents.map((agent) => agent.ready()));
			if (ready.every(({ length }) => length === REPLICAS)) return true;
			await Bun.sleep(100);
		}
		this.#mayHarm = () => true;
		return false;
	}

	/** Notes the ends of containers: of one that somebody told to end no call is the cause. */
	#watchEngine(): void {
		const filters = ["type=container", "event=kill", "event=die"].flatMap((filter) => ["--filter", filter]);
		this.#events = Bun.spawn(["docker", "events", ...filters, "--format", "{{json .}}"], {
			env: { PATH: process.env["PATH"] ?? "", ...this.engine.env },
			stdout: "pipe",
			stderr: "ignore",
		});
		const told = new Set<string>();
		void lines(this.#events.stdout as ReadableStream<Uint8Array>, (line) => {
			const { Action, Actor } = JSON.parse(line) as {
				Action: string;
				Actor: { ID: string; Attributes: Record<string, string> };
			};
			if (Action === "kill") told.add(Actor.ID);
			if (Action !== "die") return;
			const { name, exitCode } = Actor.Attributes;
			this.#note(`${name} ended with ${exitCode}${told.has(Actor.ID) ? "" : ": engine dies"}`);
		});
	}
}

const isOf = <Of extends readonly string[]>(list: Of, mishap: string): mishap is Of[number] => list.includes(mishap);
