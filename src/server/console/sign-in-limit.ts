/** How wrong keys are answered at the console's sign-in: from a number of them on by a 429, which takes nothing of the router. A right key is never refused for it. */
import { RouterError } from "../../errors.ts";
import { WrongKeys, type WrongKeysOptions } from "../admin/wrong-keys.ts";

/** Counts them. */
export class SignInLimit {
	readonly #wrong: WrongKeys;

	constructor(options: WrongKeysOptions = {}) {
		this.#wrong = new WrongKeys(options);
	}

	/** A wrong key came from there, be it alone or one of many. Throws `rate_limit_exceeded` where there were too many. */
	count(address: string): void {
		if (!this.#wrong.count(address)) return;
		const seconds = Math.max(1, Math.ceil(this.#wrong.leftMs / 1000));
		const message = `This is no admin key of this router, and too many wrong ones came: another one is answered in ${seconds} s.`;
		throw new RouterError("rate_limit_exceeded", message, { headers: { "retry-after": String(seconds) } });
	}
}
