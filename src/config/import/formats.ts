/** The programs whose files `router import` carries over. The command line reads this file, so that it loads nothing. */

/** A program's file. */
export interface ForeignFileFormat {
	/** The program's name in messages. */
	readonly title: string;
	/** Settings of which its file has one at least. */
	readonly signs: readonly string[];
}

/** By the name that the command line has for it. */
export const IMPORT_FORMATS = {
	/** The proxy's `config.yaml`, of LiteLLM 1.x. */
	litellm: { title: "LiteLLM", signs: ["model_list", "litellm_settings", "router_settings", "general_settings"] },
	/** `config.yaml`, as llama-swap's own example has it. */
	"llama-swap": { title: "llama-swap", signs: ["models"] },
	/** A compose file with vLLM among its services. */
	compose: { title: "compose", signs: ["services"] },
	/** The list of models that GPUStack's API answers. */
	gpustack: { title: "GPUStack", signs: ["items", "models"] },
} as const satisfies Record<string, ForeignFileFormat>;

/** The command line's name of a program whose files can be carried over. */
export type ImportFormat = keyof typeof IMPORT_FORMATS;
