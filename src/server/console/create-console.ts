/** The console of a router, put together. */
import type { AgentSecrets } from "../../accounts/auth/agent-secrets.ts";
import type { StartPage } from "../../api/call-context.ts";
import type { PageAccess } from "../../http/page-access.ts";
import type { MetricValues } from "../../telemetry/merged-metrics.ts";
import { Administrators, type AuthenticateAdmin } from "../admin/administrators.ts";
import { WrongKeys } from "../admin/wrong-keys.ts";
import type { RedisFeatures } from "../redis-features.ts";
import type { RoleServices } from "../role.ts";
import type { CurrentSnapshot, RouterSnapshot } from "../snapshot.ts";
import { ConsoleFiles, wantsPage } from "./console-files.ts";
import { consoleRoutes } from "./console-routes.ts";
import { ConsoleSessions } from "./console-session.ts";
import { shareEndedSessions } from "./ended-sessions.ts";
import { LiveFeed } from "./live-feed.ts";
import { LiveStreams } from "./live-streams.ts";
import { SignInLimit } from "./sign-in-limit.ts";

/** What it is made of. */
export interface ConsoleParts {
	readonly current: CurrentSnapshot<RouterSnapshot>;
	readonly services: Pick<RoleServices, "log" | "lifecycle">;
	/** Sessions are signed with what the routers of a Redis have in common. */
	readonly secrets: Pick<AgentSecrets, "key">;
	/** Of the routers whose sign-outs count here, too; absent where there is no Redis. */
	readonly redis?: Pick<RedisFeatures, "table"> | undefined;
	/** What all threads have counted. */
	readonly counted: () => Promise<Iterable<MetricValues>>;
}

/** Its parts: `routes` for the app, `administrators` and `authenticate` for whatever else they may see and change, `feed` and `startPage` for whoever else answers clients, `pages` for `/metrics` and `/swagger`. */
export function createConsole({ current, services, secrets, redis, counted }: ConsoleParts) {
	const { log, lifecycle } = services;
	const addresses = () => current.snapshot.accounts.addresses;
	const limit = new SignInLimit({
		onMany: (address) =>
			log.logger.warn({ address }, "too many wrong keys came to the console's sign-in: others are answered with 429"),
	});
	const sessions = new ConsoleSessions({ secret: () => secrets.key.hex });
	if (redis) shareEndedSessions(redis, sessions.ended);
	const wrong = new WrongKeys({
		onMany: (address) =>
			log.logger.warn({ address }, "too many wrong keys came to /admin: somebody may be guessing, or has an old one"),
	});
	const administrators: Administrators = new Administrators(current, sessions, (request, server) => {
		wrong.count(addresses().of(request, server));
	});
	const feed = new LiveFeed({
		read: counted,
		onProblem: (err) => log.logger.error({ err }, "the console's figures could not be made"),
	});
	const streams = new LiveStreams(feed.subscribe);
	lifecycle.onDrain(() => streams.end());
	const files = new ConsoleFiles();
	const pages: PageAccess = (request, server) => {
		const refusal = current.snapshot.pages(request, server);
		return refusal && administrators.find(request, server) ? undefined : refusal;
	};
	const startPage: StartPage = (request) => (wantsPage(request) ? files.page(request) : undefined);
	const routes = consoleRoutes({ administrators, limit, addresses, files, feed, streams, log });
	const authenticate: AuthenticateAdmin = (request, server) => administrators.authenticate(request, server);
	return { administrators, authenticate, feed, startPage, pages, routes };
}
