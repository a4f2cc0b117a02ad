import { describe, expect, test } from "bun:test";
import { parseCommand, startsServer, UsageError } from "../src/cli/flags.ts";

function refusal(...args: string[]): string {
	try {
		parseCommand(args);
	} catch (error) {
		if (error instanceof UsageError) return error.message;
		throw error;
	}
	throw new Error("the command line was taken");
}

describe("a command line that is wrong", () => {
	test("names the nearest right flag", () => {
		expect(refusal("--prot", "1")).toBe('unknown flag --prot; did you mean "--port"?');
		expect(refusal("--standalne")).toContain('"--standalone"');
		expect(refusal("-x")).toBe("unknown flag -x");
		expect(refusal("--constructor")).toContain("unknown flag --constructor");
	});

	test("names the nearest right command, or the flag that was meant", () => {
		expect(refusal("chek")).toBe('unknown command "chek"; did you mean "check"?');
		expect(refusal("agent")).toBe('unknown command "agent"; did you mean "--agent"?');
		expect(refusal("serve")).toContain(
			"there are check, doctor, init, import, health, agents, models, explain, keys, usage, why",
		);
		expect(refusal("explain")).toContain("router explain MODEL");
	});

	test("leaves a value out: the next flag is not taken for it", () => {
		expect(refusal("--port")).toContain("--port needs a value");
		expect(refusal("--host", "--port", "1")).toContain("--host needs a value");
		expect(refusal("--config=")).toContain("--config needs a value");
		expect(refusal("keys", "create", "--name", "a", "--budget", "-5")).toBe(
			"--budget takes no negative number, as -5 is one",
		);
	});

	test("gives a value to a flag that takes none", () => {
		expect(refusal("--agent=yes")).toBe("--agent takes no value");
	});

	test("mixes what does not go together", () => {
		expect(refusal("--agent", "--standalone")).toContain("exclude each other");
		expect(refusal("check", "--schema")).toBe("--schema does not belong to `check`");
		expect(refusal("--schema")).toBe("--schema does not belong to a plain start");
		expect(refusal("init", "--port", "1")).toBe("--port does not belong to `init`");
		expect(refusal("check", "it")).toBe('"it" is one word too many');
		expect(refusal("models", "rol", "qwen")).toBe('"rol" is one word too many; did you mean "roll"?');
		expect(refusal("agents", "invitation")).toBe('"invitation" is one word too many; did you mean "invitations"?');
	});
});

describe("a command line", () => {
	test("without words starts the router", () => {
		expect(parseCommand([])).toEqual({ do: "start", role: "router", flags: {} });
	});

	test("takes values after a space and after =", () => {
		const flags = { host: "::", port: "0", config: "a=b.yaml", insecure: true };
		const expected = { do: "start", role: "agent", flags, envFile: ".env" } as const;
		const words = "--agent --insecure --host :: --port=0 --config=a=b.yaml --env-file .env";
		expect(parseCommand(words.split(" "))).toEqual(expected);
	});

	test("explains a model", () => {
		const words = "explain a/b --file - --path /v1/messages --url http://router:8000";
		const expected = {
			do: "explain",
			model: "a/b",
			file: "-",
			path: "/v1/messages",
			url: "http://router:8000",
			role: "router",
			flags: {},
		} as const;
		expect(parseCommand(words.split(" "))).toEqual(expected);
		expect(refusal("explain", "a", "b")).toBe('"b" is one word too many');
		expect(refusal("check", "--file", "x")).toBe("--file does not belong to `check`");
	});

	test("checks a role", () => {
		expect(parseCommand(["check", "--standalone"])).toEqual({ do: "check", role: "standalone", flags: {} });
	});

	test("makes a file, or prints", () => {
		const file = (...args: string[]) => parseCommand(["init", ...args]);
		expect(file()).toEqual({ do: "init", what: "example", role: "router", file: "router.yaml" });
		expect(file("a.yaml")).toEqual({ do: "init", what: "example", role: "router", file: "a.yaml" });
		expect(file("-")).toEqual({ do: "init", what: "example", role: "router", file: "-" });
		expect(file("--stdout")).toEqual({ do: "init", what: "example", role: "router", file: "-" });
		expect(file("--schema")).toEqual({ do: "init", what: "schema", role: "router", file: "-" });
	});

	test("asks for help or the version, whatever else it says", () => {
		expect(parseCommand(["check", "--help"])).toEqual({ do: "help" });
		expect(parseCommand(["--port", "1", "-v"])).toEqual({ do: "version" });
	});
});

test("only a start needs the raised fetch limit", () => {
	for (const words of ["--version", "--help", "check", "init", "--wrong", "--config check --help"]) {
		expect([words, startsServer(words.split(" "))]).toEqual([words, false]);
	}
	expect(startsServer(["--config", "check"])).toBe(true);
});

describe("the agent's flags", () => {
	test("name a model and what belongs to it; what follows -- is vLLM's", () => {
		const words =
			"--agent --model Qwen/Qwen3-8B --name q --gpus 2 --devices 0,1 --router http://r -- --max-model-len 100";
		expect(parseCommand(words.split(" "))).toEqual({
			do: "start",
			role: "agent",
			flags: {
				model: "Qwen/Qwen3-8B",
				name: "q",
				gpus: "2",
				devices: "0,1",
				router: "http://r",
				args: ["--max-model-len", "100"],
			},
		});
	});

	test("make sense with an agent only, and with a model where they speak of one", () => {
		expect(refusal("--model", "m")).toContain("router --agent");
		expect(refusal("--", "--max-model-len", "1")).toContain("router --agent");
		expect(refusal("--agent", "--name", "n")).toContain("--name says more of a --model");
		expect(refusal("--agent", "--", "--max-model-len", "1")).toContain("of a --model");
	});
});
