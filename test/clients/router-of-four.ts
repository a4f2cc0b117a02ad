/** A router in front of four kinds of models, each played by a fake that refuses what its vendor refuses, and of one that breaks off. */
import { startConnectProxy } from "../kit/connect-proxy.ts";
import { startFaultUpstream } from "../kit/fault-upstream.ts";
import { framed, head } from "../kit/http-request.ts";
import { type RunningRouter, startRouter } from "../kit/router.ts";
import { claudeReply, geminiReply } from "../kit/sample-replies.ts";
import { startStrictClaude } from "../kit/strict-claude.ts";
import { startStrictGemini } from "../kit/strict-gemini.ts";
import { OPENAI_KEY, startStrictOpenAi } from "../kit/strict-openai.ts";
import { startSim } from "../kit/vllm-sim-process.ts";

/** A model of each kind, by the kind's name in the table. */
export const KINDS = {
	OpenAI: "gpt-6.1",
	Claude: "claude-opus-5-5",
	Gemini: "gemini-3-flash-preview",
	vLLM: "box/llama-8b",
	"vLLM that breaks off": "breaking",
} as const;

/** A column of the table. */
export type Kind = keyof typeof KINDS;

/** The key of the clients. */
export const KEY = "sk-of-the-clients";

/** All of it. */
export interface RouterOfFour {
	readonly router: RunningRouter;
	/** Whoever calls anything but the router has it called by this proxy, which lets nothing pass. */
	readonly proxy: string;
	/** What was asked of the proxy since the last time. */
	strays(): string[];
	/** What the fakes refused since the last time. */
	refusals(): string[];
	/** Streams that broke off since the last time. */
	breaks(): number;
	stop(): Promise<void>;
}

/** Starts it. */
export async function startRouterOfFour(): Promise<RouterOfFour> {
	const openai = startStrictOpenAi([KINDS.OpenAI]);
	const claude = startStrictClaude(claudeReply);
	const gemini = startStrictGemini(geminiReply);
	const flags = ["--served-model-name", "llama-8b"];
	const tools = ["--enable-auto-tool-choice", "--tool-call-parser", "llama3_json"];
	const sim = await startSim({
		model: "meta-llama/Llama-3.1-8B-Instruct",
		args: [...flags, ...tools],
		env: { SIM_SPEED: "1000" },
	});
	const breaking = startBreaking(sim.origin);
	const proxy = startConnectProxy({ refuses: "403 Forbidden" });
	const router = await startRouter({
		config: {
			keys: [{ name: "clients", key: KEY }],
			providers: {
				box: { type: "vllm", base_url: sim.origin },
				weak: { type: "vllm", base_url: breaking.origin },
			},
			models: [{ name: "breaking", policy: "order", targets: ["weak/llama-8b", "box/llama-8b"], hedge: false }],
		},
		env: {
			OPENAI_BASE_URL: openai.origin,
			OPENAI_API_KEY: OPENAI_KEY,
			ANTHROPIC_BASE_URL: claude.origin,
			ANTHROPIC_API_KEY: "sk-ant-strict",
			GEMINI_BASE_URL: gemini.origin,
			GEMINI_API_KEY: "AIza-strict",
			LOCAL_AGENT_URL: "http://127.0.0.1:9",
		},
	});
	let seen = 0;
	return {
		router,
		proxy: proxy.origin,
		strays() {
			const asked = proxy.asked.slice(seen);
			seen = proxy.asked.length;
			return asked;
		},
		refusals: () => [openai, claude, gemini].flatMap(({ refusals }) => refusals.splice(0)),
		breaks: () => breaking.breaks.splice(0).length,
		async stop() {
			await router.stop();
			breaking.stop();
			await Promise.all([openai.stop(), claude.stop(), gemini.stop(), sim.stop()]);
			proxy.stop();
		},
	};
}

/** The same vLLM, but every second stream of it loses its connection halfway, from the first one on. */
function startBreaking(origin: string) {
	const breaks: string[] = [];
	let streams = 0;
	const upstream = startFaultUpstream(async (connection) => {
		const { method, path, headers, body } = connection.request;
		const answer = await fetch(origin + path, { method, headers, ...(body === "" ? {} : { body }) });
		const bytes = Buffer.from(await answer.arrayBuffer());
		const type = answer.headers.get("content-type") ?? "application/json";
		if (!type.startsWith("text/event-stream") || streams++ % 2 === 1) {
			const length = String(bytes.length);
			await connection.write(
				head(`${answer.status} ${answer.statusText}`, { "content-type": type, "content-length": length }),
			);
			await connection.write(bytes);
			return;
		}
		breaks.push(path);
		await connection.write(head("200 OK", { "content-type": type, "transfer-encoding": "chunked" }));
		await connection.write(framed(bytes.toString("utf8", 0, bytes.length / 2)));
		await Bun.sleep(20); // else the reset overtakes the bytes and nothing of the stream is seen
		connection.destroy();
	});
	return { origin: upstream.origin, breaks, stop: () => upstream.stop() };
}
