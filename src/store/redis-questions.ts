/** Questions to all routers of one Redis, of what each of them alone knows. An answer is on its way through Redis, and is kept nowhere. */
import type { SharedRedis } from "./redis.ts";
import type { RedisBus } from "./redis-bus.ts";

/** How long the others have to answer, ms. */
const ANSWER_MS = 1_000;
/** Questions that may wait for answers at once. */
const MOST_WAITING = 100;
/** Questions of others that may be looked into at once: the others wait as long, and hear nothing. */
const MOST_ASKED = 20;
/** Characters of a question, and of an answer. */
const MOST_QUESTION = 1_000;
const MOST_ANSWER = 1_000_000;

/** Looks into a question; undefined where this router has nothing to say. */
export type AnswerQuestion = (text: string) => Promise<string | undefined>;

/** What came of a question. */
export interface Answers {
	/** The first that had something to say. */
	readonly found: string | undefined;
	/** Routers that had nothing to say. */
	readonly without: number;
	/** Routers that did not answer in time; undefined where a Cluster does not tell how many there are. */
	readonly silent: number | undefined;
	/** Redis took the question. */
	readonly isAsked: boolean;
}

const NOT_ASKED: Answers = { found: undefined, without: 0, silent: 0, isAsked: false };
/** How many listen to a channel, where nobody says. */
const UNKNOWN = -1;

/** A question that waits. */
interface Waiting {
	/** How many may answer; undefined: it is not known. */
	asked: number | undefined;
	without: number;
	readonly done: (found: string | undefined) => void;
}

/** One kind of question. To be made before the bus is opened. */
export class RedisQuestions {
	readonly #waiting = new Map<string, Waiting>();
	readonly #channel: string;
	#count = 0;
	#asked = 0;

	/**
	 * @param router names this process among those that share the Redis
	 * @param kind unique among the channels of a prefix
	 */
	constructor(
		private readonly redis: Pick<SharedRedis, "key" | "run">,
		private readonly bus: Pick<RedisBus, "listen" | "publish">,
		private readonly router: string,
		kind: string,
		private readonly answer: AnswerQuestion,
		private readonly answerMs = ANSWER_MS,
	) {
		this.#channel = kind;
		bus.listen(kind, (text) => void this.#look(text));
		bus.listen(this.#answersTo(router), (text) => this.#take(text));
	}

	/** Asks all other routers. Resolves with the first that has something to say, or when none has. Never rejects. */
	async ask(text: string): Promise<Answers> {
		if (text.length > MOST_QUESTION || this.#waiting.size >= MOST_WAITING) return NOT_ASKED;
		const { promise, resolve } = Promise.withResolvers<string | undefined>();
		const id = String(this.#count++);
		const waiting: Waiting = { asked: undefined, without: 0, done: resolve };
		this.#waiting.set(id, waiting);
		const timer = setTimeout(resolve, this.answerMs, undefined);
		try {
			const listeners = await this.#publish({ from: this.router, id, text });
			if (listeners === undefined) return NOT_ASKED;
			// Itself, too.
			if (listeners !== UNKNOWN) waiting.asked = listeners - 1;
			settle(waiting);
			const found = await promise;
			const { asked, without } = waiting;
			return { found, without, silent: asked === undefined ? undefined : Math.max(0, asked - without), isAsked: true };
		} finally {
			clearTimeout(timer);
			this.#waiting.delete(id);
		}
	}

	/** How many routers get a question; undefined where Redis did not take it. */
	#publish(question: object): Promise<number | undefined> {
		const channel = this.redis.key(this.#channel);
		return this.redis.run(async (client) => {
			const count = await client.publish(channel, JSON.stringify(question));
			// Of a Cluster each node counts those alone that listen there.
			return client.isCluster ? UNKNOWN : count;
		});
	}

	/** Another router asks. */
	async #look(message: string): Promise<void> {
		const question = parsed(message);
		const { from, id, text } = question;
		if (typeof from !== "string" || typeof id !== "string" || typeof text !== "string" || from === this.router) return;
		if (this.#asked >= MOST_ASKED) return;
		this.#asked++;
		try {
			const answer = await this.answer(text);
			const isSaid = answer !== undefined && answer.length <= MOST_ANSWER;
			await this.bus.publish(this.#answersTo(from), JSON.stringify(isSaid ? { id, answer } : { id }));
		} catch {
			// A disk that can't be read now: whoever asked is told that this router did not answer.
		} finally {
			this.#asked--;
		}
	}

	#take(message: string): void {
		const { id, answer } = parsed(message);
		const waiting = typeof id === "string" ? this.#waiting.get(id) : undefined;
		if (!waiting) return;
		if (typeof answer === "string") {
			waiting.done(answer);
			return;
		}
		waiting.without++;
		settle(waiting);
	}

	#answersTo(router: string): string {
		return `${this.#channel}:${router}`;
	}
}

/** Ends a question that all have answered. */
function settle({ asked, without, done }: Waiting): void {
	if (asked !== undefined && without >= asked) done(undefined);
}

/** What a message holds; nothing where it is none of ours. */
function parsed(text: string): Readonly<Record<string, unknown>> {
	try {
		const value: unknown = JSON.parse(text);
		return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
	} catch {
		return {};
	}
}
