import { afterEach, expect, test } from "bun:test";
import { calcPrice } from "@pydantic/genai-prices";
import { forget, listPrices } from "../src/accounts/usage/list-prices.ts";
import { PriceBook } from "../src/accounts/usage/price-book.ts";

afterEach(forget);

const MODEL = "gpt-4o-mini";
const TARGET = { id: `openai/${MODEL}`, model: MODEL, provider: { name: "openai", priceId: "openai" } };

test("a table that was let go of is collected, what was found there stays", async () => {
	const found = new PriceBook({}).of(TARGET);
	const table = new WeakRef(listPrices());
	forget();
	// A look at what it points to holds it until the next turn of the event loop.
	for (let looks = 0; looks < 500; looks++) {
		await Bun.sleep(1);
		Bun.gc(true);
		if (!table.deref()) break;
	}
	expect(table.deref()).toBeUndefined();
	expect(found.price?.input).toBeGreaterThan(0);
});

test("a table that is asked again at once is not made again", () => {
	expect(listPrices()).toBe(listPrices());
});

test("a table that was let go of is made anew, and says the same as the package", () => {
	const before = new PriceBook({}).of(TARGET);
	forget();
	const after = new PriceBook({}).of(TARGET);
	expect(after).toEqual(before);
	const usage = { input_tokens: 1000, output_tokens: 1000 };
	const listed = calcPrice(usage, MODEL, { providerId: "openai" })!;
	expect(after.price).toMatchObject({ input: listed.input_price * 1000, output: listed.output_price * 1000 });
	expect(after.context).toBe(listed.model.context_window);
	expect(listPrices().findProvider({ providerId: "openai" })?.models.length).toBeGreaterThan(0);
});
