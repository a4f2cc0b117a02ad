/** What agents and the router say to each other: which names and sizes pass. */
import { expect, test } from "bun:test";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { AgentName, Heartbeat, MAX_MODELS, ModelName, modelReport, Register } from "../src/protocol/agent.ts";

const model = TypeCompiler.Compile(ModelName);
const agent = TypeCompiler.Compile(AgentName);
const register = TypeCompiler.Compile(Register);

test.each([
	"qwen3-8b",
	"Qwen/Qwen3-8B",
	"/models/qwen3",
	"/root/.cache/hub/qwen3",
	"meta-llama/Llama-3.1-8B-Instruct:lora@1",
])("%s is a model name", (name) => {
	expect(model.Check(name)).toBe(true);
});

test.each([
	"",
	"../../x",
	"a/../b",
	"..",
	".",
	"a/.",
	"--privileged",
	"-v",
	"a/-v",
	"a b",
	"a\nb",
	"a//b",
	"a/",
	"$(x)",
	"é",
])("%j is none", (name) => {
	expect(model.Check(name)).toBe(false);
	expect(register.Check({ name: "a", endpoint: "http://h", models: [name] })).toBe(false);
	expect(register.Check({ name: "a", endpoint: "http://h", models: [{ name, state: "ready" }] })).toBe(false);
});

test.each(["../../x", "--privileged", "a/b", "", "a b", "-", ".hidden"])("%j is no agent's name", (name) => {
	expect(agent.Check(name)).toBe(false);
});

test("a name of the longest length is checked at once: the pattern has no way to run away", () => {
	const long = `${"a/".repeat(99)}b!`;
	expect(model.Check(long)).toBe(false);
	expect(model.Check("a".repeat(201))).toBe(false);
});

test("unknown fields pass, at every level", () => {
	const gpu = { index: 0, name: "L4", memory_total: 1, memory_used: 0, fan: 3 };
	const report = { name: "a", state: "ready", later: true };
	expect(register.Check({ name: "a", endpoint: "http://h", models: [report], gpus: [gpu], more: 1 })).toBe(true);
});

test("more models than an agent may have are refused", () => {
	const models = Array.from({ length: MAX_MODELS + 1 }, (_, index) => `m${index}`);
	const heartbeat = TypeCompiler.Compile(Heartbeat);
	expect(heartbeat.Check({ name: "a", models })).toBe(false);
	expect(heartbeat.Check({ name: "a", models: models.slice(1) })).toBe(true);
});

test("a bare name counts as ready", () => {
	expect(modelReport("a")).toEqual({ name: "a", state: "ready" });
	expect(modelReport({ name: "a", state: "failed" })).toEqual({ name: "a", state: "failed" });
});
