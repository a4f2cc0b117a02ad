/** The body of `POST /models/{name}/roll`. */
import { type Static, Type } from "@sinclair/typebox";
import { parseShare, SHARE } from "../../config/units.ts";
import { RouterError } from "../../errors.ts";
import { LazyCheck } from "../../lazy-check.ts";
import { describe } from "../../openai/validation.ts";
import type { RollOrder } from "./generations.ts";

/** What may be asked for. */
export const RollBody = Type.Object(
	{
		image: Type.Optional(
			Type.String({
				minLength: 1,
				maxLength: 512,
				pattern: "^[A-Za-z0-9][\\w./:@-]*$",
				expects: "an image such as vllm/vllm-openai:v0.33.0",
				description: "Instead of the configuration's image, until that is another one.",
			}),
		),
		canary: Type.Optional(
			Type.String({
				pattern: SHARE.source,
				expects: "a share such as 10%, from 0% to 100%",
				description: "Share of calls that the canary gets: `10%`; `0%` for none.",
			}),
		),
	},
	{ additionalProperties: false },
);
export type RollBody = Static<typeof RollBody>;

const BODY = new LazyCheck(RollBody);

/** Reads it; nothing is asked for by no body. Throws `invalid_value`, naming the field. */
export function rollOrder(body: unknown = {}): RollOrder {
	if (!BODY.Check(body)) {
		const { param, message } = describe(BODY.Errors(body).First()!, true);
		throw new RouterError("invalid_value", message, { param });
	}
	const { image, canary } = body;
	return { image, share: canary === undefined ? undefined : parseShare(canary) };
}
