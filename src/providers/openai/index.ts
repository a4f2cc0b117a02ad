/** Every upstream that speaks OpenAI: one implementation, a row of data for what differs (`src/vendors.ts`). */
import type { Call } from "../../openai/call.ts";
import { OPERATIONS, type Operation } from "../../openai/operations.ts";
import type { VendorRow } from "../../vendors.ts";
import type { ListedModel, ModelPage } from "../listed-model.ts";
import { lifecycleIn } from "../model-lifecycle.ts";
import type { MediaNeed, Provider, RequestInputStore, Transport } from "../provider.ts";
import { configuredOf, type Upstream } from "../registry.ts";
import { healthRequest, modelsRequest } from "../request-headers.ts";
import { RESPONSES_COUNTER, VLLM_COUNTER } from "../token-count.ts";
import { toolCallIds } from "../tools.ts";
import { bodyFor, requestEncoder } from "./request.ts";
import { responseDecoder } from "./response.ts";
import { ChunkDecoder } from "./stream.ts";

/** The provider for a configured upstream. */
export function openAiCompatible(upstream: Upstream, transport: Transport, inputStore?: RequestInputStore): Provider {
	const { row } = upstream;
	return {
		...configuredOf(upstream),
		transport,
		...(inputStore && (row.signs || upstream.responses?.encrypts)
			? {
					inputStore,
					needs: (call, { model }) => (inputStore.hasStored ? needsOf(call, model, row) : NO_NEEDS),
				}
			: {}),
		reportsLoading: upstream.row.reportsLoading,
		namesReplica: upstream.row.namesReplica,
		routesModels: upstream.routesModels,
		mayBeEngine: mayBeEngine(upstream),
		runsTools: upstream.responses?.runsTools,
		operations: operationsOf(upstream.row),
		encode: requestEncoder(upstream),
		continuation: () => upstream.row.continuation ?? "replay",
		decode: responseDecoder(upstream),
		decoder: (call) => new ChunkDecoder(upstream, call),
		...(mayBeVllm(upstream.row) && { healthRequest: () => healthRequest(upstream), counter: VLLM_COUNTER }),
		...(upstream.responses?.isOpenAi && { counter: RESPONSES_COUNTER }),
		// `dummy` stands at no address.
		listRequest: () => (upstream.baseUrl?.startsWith("dummy:") ? undefined : modelsRequest(upstream)),
		readList,
	};
}

const NO_NEEDS: MediaNeed[] = [];

/** What the server may have signed with the calls in a conversation. */
function needsOf(call: Call, model: string, row: VendorRow): MediaNeed[] {
	if (call.responses || call.operation !== "chat") return NO_NEEDS;
	return toolCallIds(bodyFor(call, model, row).value).map((id) => ({ kind: "thinking", id }));
}

/** What it may have: of what is passed on the table says who has it, and of servers that it does not know, themselves. */
function operationsOf({ site, storesFiles }: VendorRow): readonly Operation[] {
	return (Object.keys(OPERATIONS) as Operation[]).filter((operation) => {
		const { passed } = OPERATIONS[operation];
		if (!passed) return true;
		if (site === "process") return false;
		return passed.isStored ? storesFiles === true : !passed.isEngines || site !== "vendor";
	});
}

/** A vendor at its own address has engines that are its own affair; what stands at another one may be anything. */
function mayBeEngine({ row, baseUrl }: Upstream): boolean {
	return row.site !== "process" && (row.site !== "vendor" || baseUrl !== row.baseUrl);
}

/** An agent has many engines, and says itself what became of them. */
function mayBeVllm({ site, reportsLoading }: VendorRow): boolean {
	return (site === "replica" || site === "address") && !reportsLoading;
}

/** The models in the answer: entries without a name are passed over. */
function readList(body: unknown): ModelPage | undefined {
	const { data } = (body ?? {}) as { data?: unknown };
	if (!Array.isArray(data)) return undefined;
	const models = data.filter((each) => typeof each?.id === "string" && each.id !== "");
	return {
		models: models.map(({ id, created, owned_by, parent, ...rest }): ListedModel => {
			return { id, created, owned_by, parent, lifecycle: lifecycleIn(rest) };
		}),
	};
}
