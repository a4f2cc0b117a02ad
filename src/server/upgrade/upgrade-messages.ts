/** What a running router, the process that takes its place and `router upgrade` say to each other. Fields are only ever added. */
import type { HandedLimits, ToldDecision, ToldEnd } from "../../accounts/limits/handed-limits.ts";
import type { Limit } from "../../accounts/limits/limiter.ts";
import type { HandedRouting } from "../../routing/handed-routing.ts";
import type { SharedAgent } from "../agents/agent-record.ts";

/** Processes of another number do not understand each other: the one that is asked says so. */
export const UPGRADE_PROTOCOL = 1;

/** All that the new process goes on with. */
export interface HandedRouter {
	/** Where the old one listens. */
	readonly port: number;
	/** How many listeners it has there, of whose order the system is told; 0 where it can't say, or all processes have one socket. */
	readonly listeners: number;
	/** It listens on a socket that systemd has opened, which whoever takes its place has to have, too. */
	readonly isInherited?: boolean | undefined;
	/** Absent where it is of a version that does not hand that on with several worker threads. */
	readonly routing?: HandedRouting | undefined;
	/** Absent where Redis counts, in either process. */
	readonly limits?: HandedLimits | undefined;
	/** What agents have said, and what they are called with. */
	readonly agents: readonly SharedAgent[];
}

/** To the router that runs. */
export type ToRouter =
	/** Of `router upgrade`: start this program; absent: the one that runs. */
	| { readonly type: "upgrade"; readonly protocol: number; readonly file?: string | undefined }
	/** Of a new process: it is all made, and about to listen. `takesLimits`: it can count for both; absent: it can't. `takesHashes`: also where ids are hashed. */
	| {
			readonly type: "replace";
			readonly protocol: number;
			readonly version: string;
			readonly pid: number;
			readonly takesLimits?: boolean | undefined;
			readonly takesHashes?: boolean | undefined;
	  }
	/** It listens, and gets all further connections. `router` names it to agents. */
	| { readonly type: "listening"; readonly router: string }
	/** Absent decision: it can't decide, and the one that asks does. */
	| { readonly type: "decided"; readonly call: number; readonly decision?: ToldDecision | undefined };

/** From the router that runs. */
export type FromRouter =
	/** What has been done so far, for a person. */
	| { readonly type: "progress"; readonly text: string }
	/** The last message: how it went, for a person. */
	| { readonly type: "done"; readonly isUpgraded: boolean; readonly text: string }
	| { readonly type: "state"; readonly state: HandedRouter }
	| { readonly type: "take"; readonly call: number; readonly limits: readonly Limit[] }
	| { readonly type: "end"; readonly end: ToldEnd }
	/** It no longer listens: connections need not be kept away from it. */
	| { readonly type: "closed" };
