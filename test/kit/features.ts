/** What OpenAI's chat API can ask for, and what becomes of it at each vendor that is translated. The table of claude-and-gemini.md is this one. */
import type { Feature } from "./feature.ts";
import { MESSAGES } from "./feature-messages.ts";
import { SETTINGS } from "./feature-settings.ts";
import { TOOLS } from "./feature-tools.ts";

/** In the order of claude-and-gemini.md. */
export const FEATURES: readonly Feature[] = [...MESSAGES, ...TOOLS, ...SETTINGS];
