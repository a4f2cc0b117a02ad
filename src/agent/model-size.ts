/** How much memory a model needs, from its files; never guessed from its name. */

/** What is known of a model before it is loaded. Bytes. */
export interface ModelSize {
	/** Of all weight files that vLLM loads. */
	readonly weights: number;
	/** Of weights not yet in the local cache: what will be downloaded. */
	readonly download: number;
	/** KV cache of one token over all layers, on one GPU when it spans one; absent where config.json does not say. */
	readonly kvPerToken?: number;
	/** The longest context the model itself takes, in tokens. */
	readonly maxContext?: number;
}
