/** `/admin/…`: keys, usage, past calls and invitations, for who has an admin key. */
import { type TSchema, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { usageCsv } from "../../accounts/usage/usage-report.ts";
import { retiringModels } from "../../api/retiring-models.ts";
import type { Peers } from "../../http/client-address.ts";
import { decodedPart } from "../../http/request-url.ts";
import { listedLifecycle } from "../../providers/model-lifecycle.ts";
import type { Log } from "../../telemetry/log.ts";
import { bodyReader } from "../json-body.ts";
import type { RouterState } from "../router-state.ts";
import type { CurrentSnapshot, RouterSnapshot } from "../snapshot.ts";
import { CALL, CALLS, INVITATIONS, RETIRING_MODELS, REVOKE_INVITATION, RUNAWAYS, SHADOW, USAGE } from "./admin-docs.ts";
import { type AdminService, adminService } from "./admin-service.ts";
import type { Administrators } from "./administrators.ts";
import { callSearch } from "./call-list.ts";
import { KeyChangeBody, NewKeyBody, RotateBody } from "./key-bodies.ts";
import { CHANGE_KEY, CREATE_KEY, KEYS, REVOKE_KEY, ROTATE_KEY } from "./key-docs.ts";
import type { PastCalls } from "./past-calls.ts";
import {
	DAILY_HEADER,
	type FocusExport,
	GRANULARITY_HEADER,
	PARTIAL_HEADER,
	usageFormat,
	usageGranularity,
	usageQuery,
} from "./usage-query.ts";

const newKey = bodyReader(NewKeyBody);
const keyChange = bodyReader(KeyChangeBody);
const rotation = bodyReader(RotateBody);
const nothing = bodyReader(Type.Object({}, { additionalProperties: false }) as TSchema);

const JSON_TYPE = "application/json";
/** Bodies are read and checked by the handlers. */
const raw = { parse: "none" } as const;

/** The service for the administrator that a request comes from. Throws as `AuthenticateAdmin` does. */
type ServiceFor = (request: Request, server: Peers | null) => AdminService;

/** The plugin. Every answer is private, so that no cache on its way keeps it. */
export function adminRoutes(
	state: RouterState,
	calls: PastCalls,
	current: CurrentSnapshot<RouterSnapshot>,
	administrators: Administrators,
	log: Pick<Log, "logger">,
) {
	const serviceFor: ServiceFor = (request, server) => {
		const { config } = current.snapshot;
		const { name: by } = administrators.authenticate(request, server);
		// Changes are logged under the administrator's name, whatever the log's level.
		return adminService(state, calls, config, (action, what) =>
			log.logger.child({}, { level: "info" }).info({ audit: action, by, ...what }, "audit"),
		);
	};
	return new Elysia({ name: "admin" })
		.use(keyRoutes(serviceFor))
		.use(ledgerRoutes(serviceFor))
		.use(invitationRoutes(serviceFor))
		.get("/admin/runaways", ({ request, server }) => list(serviceFor(request, server).runaways()), {
			detail: RUNAWAYS,
		})
		.get(
			"/admin/models/retiring",
			({ request, server }) => {
				administrators.authenticate(request, server);
				const { config, catalog } = current.snapshot;
				const models = retiringModels(config.models, catalog);
				return list(models.map(({ lifecycle, ...rest }) => ({ ...rest, ...listedLifecycle(lifecycle) })));
			},
			{ detail: RETIRING_MODELS },
		);
}

function keyRoutes(serviceFor: ServiceFor) {
	return new Elysia({ name: "admin/keys" })
		.get("/admin/keys", async ({ request, server }) => list(await serviceFor(request, server).keys()), {
			detail: KEYS,
		})
		.post(
			"/admin/keys",
			async ({ request, server }) => {
				const service = serviceFor(request, server);
				return answer(service.createKey(await newKey(request)), 201);
			},
			{ ...raw, detail: CREATE_KEY },
		)
		.post(
			"/admin/keys/:key/change",
			async ({ request, params, server }) => {
				const service = serviceFor(request, server);
				return answer(service.changeKey(decodedPart(params.key), await keyChange(request)));
			},
			{ ...raw, detail: CHANGE_KEY },
		)
		.post(
			"/admin/keys/:key/rotate",
			async ({ request, params, server }) => {
				const service = serviceFor(request, server);
				const { overlap } = hasBody(request) ? await rotation(request) : {};
				return answer(service.rotateKey(decodedPart(params.key), overlap));
			},
			{ ...raw, detail: ROTATE_KEY },
		)
		.post(
			"/admin/keys/:key/revoke",
			async ({ request, params, server }) => {
				const service = serviceFor(request, server);
				if (hasBody(request)) await nothing(request);
				return answer(service.revokeKey(decodedPart(params.key)));
			},
			{ ...raw, detail: REVOKE_KEY },
		);
}

function ledgerRoutes(serviceFor: ServiceFor) {
	return new Elysia({ name: "admin/ledger" })
		.get(
			"/admin/usage",
			async ({ request, query, server }) => {
				const service = serviceFor(request, server);
				const { by, from, to, format, granularity } = query;
				const asked = usageQuery({ by, from, to });
				const form = usageFormat({ format, by });
				const period = usageGranularity({ granularity, format });
				if (form === "focus") return csvAnswer(await service.focus(asked, period, request.signal));
				const usage = await service.usage(asked);
				if (form === "json") return answer({ object: "list", ...usage });
				return csvAnswer({ csv: usageCsv(usage.data, asked.by), ...(usage.partial && { partial: true }) });
			},
			{ detail: USAGE },
		)
		.get(
			"/admin/shadow",
			async ({ request, query, server }) => {
				const service = serviceFor(request, server);
				const { from, to } = usageQuery({ from: query["from"], to: query["to"] });
				return answer({ object: "list", ...(await service.shadow({ from, to }, request.signal)) });
			},
			{ detail: SHADOW },
		)
		.get(
			"/admin/calls",
			async ({ request, query, server }) => {
				const service = serviceFor(request, server);
				return answer({ object: "list", ...(await service.calls(callSearch(query), request.signal)) });
			},
			{ detail: CALLS },
		)
		.get(
			"/admin/calls/:id",
			async ({ request, params, server }) => answer(await serviceFor(request, server).call(decodedPart(params.id))),
			{
				detail: CALL,
			},
		);
}

function invitationRoutes(serviceFor: ServiceFor) {
	return new Elysia({ name: "admin/invitations" })
		.get("/admin/invitations", ({ request, server }) => list(serviceFor(request, server).invitations()), {
			detail: INVITATIONS,
		})
		.post(
			"/admin/invitations/:id/revoke",
			async ({ request, params, server }) => {
				const service = serviceFor(request, server);
				if (hasBody(request)) await nothing(request);
				return answer(service.revokeInvitation(decodedPart(params.id)));
			},
			{ ...raw, detail: REVOKE_INVITATION },
		);
}

function answer(body: unknown, status = 200): Response {
	return new Response(JSON.stringify(body), {
		status,
		headers: { "content-type": JSON_TYPE, "cache-control": "no-store" },
	});
}

/** CSV of either form; what is summed by `by` has no period. */
type CsvExport = Omit<FocusExport, "granularity"> & Partial<Pick<FocusExport, "granularity">>;

/** @param partial other routers could not be asked: a header says so, since CSV has no place for it */
function csvAnswer({ csv, granularity, partial, daily }: CsvExport): Response {
	return new Response(csv, {
		headers: {
			"content-type": "text/csv; charset=utf-8",
			"cache-control": "no-store",
			...(granularity && { [GRANULARITY_HEADER]: granularity }),
			...(partial && { [PARTIAL_HEADER]: "true" }),
			...(daily && { [DAILY_HEADER]: "true" }),
		},
	});
}

const list = (data: unknown) => answer({ object: "list", data });

function hasBody({ headers }: Request): boolean {
	return headers.has("transfer-encoding") || (headers.get("content-length") ?? "0") !== "0";
}
