/** A router in front of a replay upstream that plays Anthropic and Gemini. */

import type { Json } from "./exchange.ts";
import { type Replay, startReplay } from "./replay.ts";
import { type ClientAnswer, post, UNPRICED } from "./rig.ts";
import type { RouterOptions, RunningRouter } from "./router.ts";
import { startRouter } from "./router.ts";

/** Keys of the router at the vendors; made up. */
export const CLAUDE_KEY = "sk-ant-of-the-router";
export const GEMINI_KEY = "AIza-of-the-router";

/** Both, and a way to call. */
export interface VendorRig {
	readonly replay: Replay;
	readonly router: RunningRouter;
	post(path: string, body: string | Json, headers?: Record<string, string>): Promise<ClientAnswer>;
	stop(): Promise<void>;
}

/** Variables that point both vendors at one origin. Bases come with and without a version: both must work. */
export const vendorsAt = (origin: string): Record<string, string> => ({
	ANTHROPIC_BASE_URL: origin,
	ANTHROPIC_API_KEY: CLAUDE_KEY,
	GEMINI_BASE_URL: `${origin}/v1beta/`,
	GEMINI_API_KEY: GEMINI_KEY,
	// Nothing else may be asked for its models.
	LOCAL_AGENT_URL: "http://127.0.0.1:9",
});

/** Starts both. */
export async function startVendorRig(options: RouterOptions = {}): Promise<VendorRig> {
	const replay = startReplay();
	const config = { ...UNPRICED, ...options.config };
	const router = await startRouter({ ...options, config, env: { ...vendorsAt(replay.origin), ...options.env } });
	return {
		replay,
		router,
		post: (path, body, headers) => post(router.url + path, body, headers),
		async stop() {
			await router.stop();
			await replay.stop();
		},
	};
}
