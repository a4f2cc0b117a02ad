/** The flags of `router keys create` and `router keys change` as the bodies that HTTP would bring. Pure. */
import type { Static, TSchema } from "@sinclair/typebox";
import { StartError } from "../errors.ts";
import { LazyCheck } from "../lazy-check.ts";
import { describe } from "../openai/validation.ts";
import { KeyChangeBody, NewKeyBody } from "../server/admin/key-bodies.ts";
import type { KeyOptions } from "./admin-args.ts";

const NEW_KEY = new LazyCheck(NewKeyBody);
const CHANGE = new LazyCheck(KeyChangeBody);

/** What takes a limit away. */
const NONE = "none";

/** A new key. Throws StartError naming the flag. */
export function newKey({ name, role, ...rest }: KeyOptions): NewKeyBody {
	const [usd, per = "month"] = rest.budget?.split("/") ?? [];
	const budget = usd !== undefined && { budget: { usd: usdIn(usd), per } };
	return checked(NEW_KEY, { name, ...commonFields(rest, numberIn), ...(role !== undefined && { role }), ...budget });
}

/** What is to change of a key: `none` takes a limit away. Throws StartError naming the flag. */
export function keyChange({ name: _, role: __, ...rest }: KeyOptions): KeyChangeBody {
	const [usd, per] = rest.budget?.split("/") ?? [];
	const asked = usd === NONE ? null : { usd: usdIn(usd ?? ""), ...(per !== undefined && { per }) };
	const body = commonFields(rest, (flag, value) => (value === NONE ? null : numberIn(flag, value)));
	const team = rest.team === NONE && { team: null };
	return checked(CHANGE, { ...body, ...team, ...(usd !== undefined && { budget: asked }) });
}

/** The fields that both have. @param read reads the value of a flag that limits something */
function commonFields(
	{ team, models, budget: _, engineFields, traceContents, ...limits }: Omit<KeyOptions, "name" | "role">,
	read: (flag: string, value: string) => number | null,
): Record<string, unknown> {
	const numbers = Object.entries(limits).flatMap(([flag, value]) =>
		value === undefined ? [] : [[flag.replace("-", "_"), read(flag, value)]],
	);
	return {
		...(team !== undefined && { team }),
		...(models !== undefined && { models: models.split(",").map((each) => each.trim()) }),
		...Object.fromEntries(numbers),
		...(engineFields !== undefined && { engine_fields: engineFields }),
		...(traceContents !== undefined && { trace_contents: traceContents }),
	};
}

/** An amount of money. */
const USD = /^(\d+\.?\d*|\.\d+)$/;

function numberIn(flag: string, value: string): number {
	const isUsd = flag === "session-usd";
	if ((isUsd ? USD : /^\d+$/).test(value)) return Number(value);
	const what = isUsd ? "USD such as 5 or 0.50" : "a whole number";
	throw new StartError(`--${flag} must be ${what}, but is "${value.slice(0, 40)}"`);
}

const usdIn = (text: string): number => (USD.test(text) ? Number(text) : Number.NaN);

function checked<S extends TSchema>(check: LazyCheck<S>, body: unknown): Static<S> {
	if (check.Check(body)) return body as Static<S>;
	const error = check.Errors(body).First();
	const { param, message } = error ? describe(error) : { param: "", message: "A flag has a wrong value." };
	const flag = param.split(/[.[]/)[0];
	if (flag === "budget") throw new StartError("--budget must be USD, a slash, and day, month or total: 50/month");
	throw new StartError(message.replace(/The field "[^"]*"/, `--${flag}`));
}
