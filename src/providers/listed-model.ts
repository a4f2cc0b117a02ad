/** What upstreams list of their models. */
import type { ModelLifecycle } from "./model-lifecycle.ts";

/** A page of an upstream's list of models. */
export interface ModelPage {
	readonly models: readonly ListedModel[];
	/** What `listRequest` needs to ask for the page behind it; absent on the last. */
	readonly next?: string | undefined;
}

/** A model, as its upstream lists it. */
export interface ListedModel {
	readonly id: string;
	/** Unix time, s. */
	readonly created?: unknown;
	readonly owned_by?: unknown;
	/** Of a LoRA adapter at vLLM: the model that it changes. */
	readonly parent?: unknown;
	/** What the list says of its end. */
	readonly lifecycle?: ModelLifecycle | undefined;
}
