/** Past calls: those of this router's ledger, and of the others' that share its Redis. */
import { hostname } from "node:os";
import type { Ledger } from "../../accounts/usage/ledger.ts";
import { RouterError } from "../../errors.ts";
import type { AnswerQuestion, Answers } from "../../store/redis-questions.ts";
import { type ShownCall, shownCall } from "./call-view.ts";

/** Letters of an id that a message shows. */
const MOST_SHOWN = 100;

/** Asks other routers, as `RedisQuestions` does. @param answer what this router says to theirs */
type AskOthers = (answer: AnswerQuestion) => { ask(text: string): Promise<Answers> };

/** Which router's ledger a call is in. */
export interface CallRouter {
	readonly host: string;
	/** Names its ledger among those that share the Redis. */
	readonly replica: string;
}

/** A call, and, where routers share a Redis, whose ledger it is in. */
export type FoundCall = ShownCall & { readonly router?: CallRouter };

/** Those that can be asked for. */
export class PastCalls {
	readonly #others: ReturnType<AskOthers> | undefined;

	/** @param replica names this router's ledger among those that share a Redis @param askOthers absent where there is no Redis */
	constructor(
		private readonly ledger: Pick<Ledger, "call">,
		private readonly replica = "",
		askOthers?: AskOthers,
	) {
		this.#others = askOthers?.(async (id) => {
			const found = await this.#own(id);
			return found && JSON.stringify(found);
		});
	}

	/** A call by its id. Throws `call_not_found`, which says where it was looked for. */
	async find(id: string): Promise<FoundCall> {
		const own = await this.#own(id);
		if (own) return own;
		const answers = await this.#others?.ask(id);
		const found = answers?.found === undefined ? undefined : callIn(answers.found, id);
		if (found) return found;
		const message = `There is no call "${id.slice(0, MOST_SHOWN)}" in ${whereText(answers)}; a call is in it about a second after its end.`;
		throw new RouterError("call_not_found", message, { param: "id" });
	}

	async #own(id: string): Promise<FoundCall | undefined> {
		const found = await this.ledger.call(id);
		if (!found) return undefined;
		const call = shownCall(found.call, found.attempts);
		return this.#others ? { ...call, router: { host: hostname(), replica: this.replica } } : call;
	}
}

/** Where a call was looked for in vain. */
function whereText(answers: Answers | undefined): string {
	const own = "this router's ledger";
	if (!answers) return own;
	if (!answers.isAsked) return `${own}, and the other routers could not be asked, since Redis can't be used`;
	const { without, silent } = answers;
	const asked =
		without === 0 ? own : `${own}, nor in ${without === 1 ? "that of another one" : `those of ${without} others`}`;
	if (silent === 0) return asked;
	const which = silent === undefined ? "others may not have answered" : `${silent} more did not answer`;
	return `${asked} (${which} in time)`;
}

/** What another router says of a call; undefined where it is none. */
function callIn(text: string, id: string): FoundCall | undefined {
	try {
		const call = JSON.parse(text) as Partial<FoundCall> | null;
		return call?.id === id && Array.isArray(call.attempts) ? (call as FoundCall) : undefined;
	} catch {
		return undefined;
	}
}
