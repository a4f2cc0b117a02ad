/** Four replicas, the routers in front of them and their clients in simulated time: the same numbers on every machine. */
import type { Provider } from "../../src/providers/provider.ts";
import { BLOCK, type Prompt, promptOf } from "../../src/routing/affinity.ts";
import { LocalRoutingState } from "../../src/routing/local-routing-state.ts";
import { plan } from "../../src/routing/plan.ts";
import { RoutingExchange } from "../../src/routing/routing-exchange.ts";
import type { Chat } from "../bench/routing-workloads.ts";
import { random } from "./random.ts";
import { call, replica, route } from "./routes.ts";
import { SimulatedTime } from "./simulated-time.ts";

const REPLICAS = 4;
/** A replica computes a prompt's token so fast, ms, and begins each prompt with so much. */
const TOKEN_MS = 0.1;
const PROMPT_MS = 10;
/** From an answer's first token to its last, ms. */
const ANSWER_MS = 250;
/** Characters a token. */
const PER_TOKEN = 5;
/** Blocks in a replica's cache: 28,000 tokens. */
const CACHED_BLOCKS = Math.floor((28_000 * PER_TOKEN) / BLOCK);

/** How they are set up. */
export interface Simulation {
	readonly chats: readonly Chat[];
	/** Calls are sent to them in turn. */
	readonly routers: number;
	/** How long a message between routers takes, ms; undefined: they tell each other nothing. */
	readonly messageMs: number | undefined;
	/** Of whom chance is. */
	readonly seed: number;
}

/** One replica: it computes one prompt after the other, and has the blocks used last. */
class SimulatedReplica {
	#freeAt = 0;
	readonly #cached = new Set<number>();

	/** Takes a prompt: when its first token is there. */
	take({ blocks, characters }: Prompt, now: number): number {
		const known = blocks.findIndex((block) => !this.#cached.has(block));
		const uncached = characters - (known === -1 ? blocks.length : known) * BLOCK;
		for (const block of blocks.toReversed()) {
			this.#cached.delete(block);
			this.#cached.add(block);
		}
		for (const block of this.#cached) {
			if (this.#cached.size <= CACHED_BLOCKS) break;
			this.#cached.delete(block);
		}
		this.#freeAt = Math.max(now, this.#freeAt) + PROMPT_MS + (uncached / PER_TOKEN) * TOKEN_MS;
		return this.#freeAt;
	}
}

/** The routers, which tell each other what they know. */
function routersOf({ routers, messageMs }: Simulation, time: SimulatedTime): LocalRoutingState[] {
	const receivers: ((text: string) => void)[] = [];
	const states = Array.from({ length: routers }, () => new LocalRoutingState(() => time.now));
	if (messageMs === undefined) return states;
	for (const [at, state] of states.entries()) {
		const bus = {
			listen: (_: string, receive: (text: string) => void) => void receivers.push(receive),
			onResumed: () => {},
			publish: async (_: string, text: string) => {
				time.after(messageMs, () => {
					for (const receive of receivers) receive(text);
				});
				return true;
			},
		};
		const clock = { now: () => time.now, after: time.after };
		new RoutingExchange({ isUp: true, onUp: () => {} }, bus, `router-${at}`, state, clock).open();
	}
	return states;
}

/** Plays the chats: the times to the first token, ms. */
export async function simulate(simulation: Simulation): Promise<number[]> {
	const time = new SimulatedTime();
	const { below } = random(simulation.seed);
	const states = routersOf(simulation, time);
	const replicas = Array.from({ length: REPLICAS }, () => new SimulatedReplica());
	const targets = replicas.map((_, at) => replica(`box${at}/m`, { provider: { name: `box${at}` } as Provider }));
	const way = route(targets);
	const times: number[] = [];
	let calls = 0;
	let left = 0;
	const turn = (chat: Chat, nth: number, said: string): void => {
		const text = `${said}${chat.turns[nth]!}`;
		const prompt = promptOf("", [text]);
		const state = states[calls++ % states.length]!;
		const made = plan({ ...call(text), prompt: () => prompt }, way, state, time.now, () => below(1e6) / 1e6);
		const { id } = made.targets[0]!;
		const attempt = state.opened(id, true, made.work);
		const from = time.now;
		const firstAt = replicas[targets.findIndex((each) => each.id === id)]!.take(prompt, from);
		time.after(firstAt - from, () => {
			times.push(time.now - from);
			attempt.firstToken();
		});
		time.after(firstAt - from + ANSWER_MS, () => {
			attempt.closed({});
			left--;
			const next = `${text}${"a".repeat(32 * PER_TOKEN)}`;
			if (nth + 1 < chat.turns.length) time.after(chat.thinkMs, () => turn(chat, nth + 1, next));
		});
	};
	for (const chat of simulation.chats) {
		left += chat.turns.length;
		time.after(chat.at, () => turn(chat, 0, chat.system ?? ""));
	}
	await time.run(() => left === 0);
	return times;
}
