/** A router in front of the strict fakes of Claude and Gemini, which answer as a model would: what real clients are tried against. */
import { UNPRICED } from "./rig.ts";
import { type RunningRouter, startRouter } from "./router.ts";
import { claudeReply, geminiReply } from "./sample-replies.ts";
import { type StrictClaude, startStrictClaude } from "./strict-claude.ts";
import { type StrictGemini, startStrictGemini } from "./strict-gemini.ts";

/** Models of several generations: each vendor's refusals differ by them. */
export const MODELS = [
	"claude-sonnet-4-20250514",
	"claude-haiku-4-5",
	"claude-opus-4-6",
	"claude-opus-5-5",
	"gemini-2.5-flash",
	"gemini-3-flash-preview",
] as const;

/** All of them. */
export interface StrictVendors {
	readonly router: RunningRouter;
	readonly claude: StrictClaude;
	readonly gemini: StrictGemini;
	/** What either vendor refused since the last time it was asked. */
	refusals(): string[];
	stop(): Promise<void>;
}

/** Starts them. */
export async function startStrictVendors(): Promise<StrictVendors> {
	const claude = startStrictClaude(claudeReply);
	const gemini = startStrictGemini(geminiReply);
	const router = await startRouter({
		config: UNPRICED,
		env: {
			ANTHROPIC_BASE_URL: claude.origin,
			ANTHROPIC_API_KEY: "sk-ant-strict",
			GEMINI_BASE_URL: gemini.origin,
			GEMINI_API_KEY: "AIza-strict",
			LOCAL_AGENT_URL: "http://127.0.0.1:9",
		},
	});
	return {
		router,
		claude,
		gemini,
		refusals: () => [...claude.refusals.splice(0), ...gemini.refusals.splice(0)],
		async stop() {
			await router.stop();
			await claude.stop();
			await gemini.stop();
		},
	};
}
