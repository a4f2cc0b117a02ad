/** Real clients from their packages, each on one kind of model, whose fake refuses what its vendor refuses; `make clients` tries each on every kind. */

import { expect } from "bun:test";
import { tryCell } from "./clients/cell.ts";
import { KINDS, type Kind, type RouterOfFour, startRouterOfFour } from "./clients/router-of-four.ts";
import { CLIENTS_TRIED } from "./clients/table.ts";
import { needing } from "./kit/needing.ts";
import { copyDrivers } from "./parts/clients.ts";

const { test, beforeAll, afterAll, describe } = needing("clients");

let four: RouterOfFour;
beforeAll(async () => {
	copyDrivers();
	four = await startRouterOfFour();
});
afterAll(() => four.stop());

/** A diagonal through the table: every client, and each kind of model several times. */
const kinds = Object.keys(KINDS) as Kind[];
const diagonal = CLIENTS_TRIED.map((client, at) => [client.name, kinds[at % kinds.length]!, client] as const);

describe("unmodified, with nothing but the router's address and key", () => {
	test.each(diagonal)(
		"%s on %s finds what it looks for, and calls nobody else",
		async (_, kind, client) => {
			const { problem, strays } = await tryCell(client, kind, four);
			expect([problem, strays]).toEqual([undefined, []]);
		},
		120_000,
	);
});
