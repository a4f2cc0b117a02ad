/** The table of `make faults`, as faults.md quotes it. */
import type { Played } from "./play.ts";
import type { Expected, Row } from "./rows.ts";

/** The head of the table. */
export const HEAD =
	"| the upstream | with another target | attempts | s | alone | attempts | s |\n| --- | --- | --- | --- | --- | --- | --- |";

/** `1 + 1`: so many at the faulty upstream, so many at the other. */
export const attemptsText = (attempts: readonly number[]): string => attempts.join(" + ");

/** One row. */
export function line({ name }: Row, withOther: Played, alone: Played): string {
	const cells = (played: Played) => [played.client, attemptsText(played.attempts), (played.ms / 1000).toFixed(1)];
	return `| ${[name, ...cells(withOther), ...cells(alone)].join(" | ")} |`;
}

/** Whether it came as it was to. */
export function isAsExpected(played: Played, expected: Expected): boolean {
	return played.client === expected.client && attemptsText(played.attempts) === attemptsText(expected.attempts);
}
