/** What is said of a model, and whether its calls may wait. */
import { describe, expect, test } from "bun:test";
import { type ModelAvailability, ModelStatuses, modelRefusal, modelStatus } from "../src/agent/models/model-status.ts";
import type { ReplicaState } from "../src/agent/models/replica-state.ts";

const WHY = { reason: "it broke", fix: "see GET /models/{name}/logs" };

describe("a model", () => {
	test.each([
		[["ready", "failed"], "ready"],
		[["starting", "failed", "stopped"], "starting"],
		[["sleeping", "starting"], "sleeping"],
		[["failed", "stopped"], "failed"],
		[[], "stopped"],
	] as [ReplicaState["state"][], string][])("with replicas %p is %s", (states, expected) => {
		expect<string>(
			modelStatus(
				states.map((state) => ({ state })),
				"m",
			).state,
		).toBe(expected);
	});

	test("tells why a replica failed though another serves, with its own name in the remedy", () => {
		const whole = modelStatus([{ state: "ready" }, { state: "failed", problem: WHY, retryAt: 5 }], "m");
		expect(whole).toEqual({ state: "ready", problem: { reason: "it broke", fix: "see GET /models/m/logs" } });
	});

	test("that failed is tried again when the first of its replicas is", () => {
		const states = [7, 5].map((retryAt): ReplicaState => ({ state: "failed", problem: WHY, retryAt }));
		expect(modelStatus(states, "m").retryAt).toBe(5);
	});
});

describe("a model in a crash loop", () => {
	const failures = { count: 3, problem: WHY };

	test.each(["pulling", "starting", "draining"] as const)(
		"that is %s again tells its last reason and how often it failed",
		(state) => {
			expect(modelStatus([{ state, failures }], "m")).toEqual({
				state,
				failures: 3,
				problem: {
					reason: "it failed 3 times in a row and is started again; the last reason: it broke",
					fix: "see GET /models/m/logs",
				},
			});
			expect(modelStatus([{ state, failures: { ...failures, count: 1 } }], "m").problem?.reason).toStartWith(
				"it failed and is started again",
			);
		},
	);

	test("that waits for memory tells both", () => {
		const status = modelStatus([{ state: "starting", waitReason: "it waits for b", failures }], "m");
		expect([status.waitReason, status.problem?.reason]).toEqual([
			"it waits for b",
			"it failed 3 times in a row and is started again; the last reason: it broke",
		]);
	});

	test("tells of a replica that fails beside one that serves", () => {
		const status = modelStatus([{ state: "ready" }, { state: "starting", failures }], "m");
		expect([status.state, status.failures]).toEqual(["ready", 3]);
		expect(status.problem?.reason).toContain("it broke");
	});

	test("waits with its own reason where it never failed", () => {
		expect(modelStatus([{ state: "starting", waitReason: "it waits for b" }], "m").problem).toEqual({
			reason: "it waits for b",
			fix: "",
		});
	});

	test("tells a waiting call how far it is and why it failed before, on one line", () => {
		const statuses = new ModelStatuses();
		const problem = { reason: "it broke\nin two", fix: "" };
		statuses.set("m", { state: "starting", failures: 2, problem }, "starting: loading, 40 %");
		expect(statuses.progressText("m")).toBe("starting: loading, 40 % (it broke in two)");
		statuses.set("m", { state: "starting" }, undefined);
		expect(statuses.progressText("m")).toBe("starting");
	});
});

test("replicas say whether one of them does something else than before", () => {
	const statuses = new ModelStatuses();
	const set = (...states: ReplicaState["state"][]) =>
		statuses.setReplicas(new Map(states.map((state, at) => [`m#${at}`, { state }])));
	expect([set("ready", "ready"), set("ready", "ready"), set("ready", "draining"), set("ready")]).toEqual([
		true,
		false,
		true,
		true,
	]);
	expect([statuses.replica("m#0")?.state, statuses.replica("m#1")]).toEqual(["ready", undefined]);
});

describe("a call", () => {
	const now = 1000;
	const said = (over: Partial<ModelAvailability>) =>
		modelRefusal({ name: "m", load: "on-demand", status: { state: "stopped" }, ...over }, now);

	test("waits for a model that may be loaded, and for one that is on its way", () => {
		expect(said({})).toBeUndefined();
		for (const state of ["starting", "pulling", "sleeping", "draining", "ready"] as const) {
			expect(said({ load: "always", status: { state } })).toBeUndefined();
		}
	});

	test("does not wait for one that nobody loads", () => {
		for (const over of [{ load: "manual" }, { order: "unload" }] as const) {
			expect(said(over)?.message).toContain("POST /models/m/load");
		}
		expect(said({ load: "manual", order: "load" })).toBeUndefined();
	});

	test("hears why a model failed and what to do, and when it is tried again", () => {
		const failed = said({ status: { state: "failed", problem: WHY, retryAt: now + 4500 } });
		expect([failed?.status, failed?.retryAfter]).toEqual([503, 5]);
		expect(failed?.message).toBe('"m" failed: it broke. What to do: see GET /models/{name}/logs');
		expect(said({ status: { state: "failed", problem: WHY, retryAt: now } })).toBeUndefined();
		const often = said({ status: { state: "failed", problem: WHY, retryAt: now + 1, failures: 4 } });
		expect(often?.message).toStartWith('"m" failed 4 times in a row: it broke.');
	});

	test("hears that a model does not fit", () => {
		expect(said({ misfit: WHY, status: { state: "failed", problem: WHY } })?.message).toContain(
			'"m" does not fit: it broke',
		);
	});
});
