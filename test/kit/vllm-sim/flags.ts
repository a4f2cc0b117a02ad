/**
 * The options of `vllm serve` (v1 engine), by what they take. A look-alike that accepted everything would hide a
 * misspelt flag until a real GPU host.
 */

/** `switch`: no value, `--no-…` too. `json`: a value, and `--name.key value`. `list`: one value or more. */
export type Kind = "switch" | "text" | "int" | "float" | "length" | "json" | "list";

const words = (text: string) => text.trim().split(/\s+/);

const KINDS: Record<Kind, readonly string[]> = {
	switch: words(`
		allow-credentials async-scheduling calculate-kv-scales data-parallel-external-lb data-parallel-hybrid-lb
		disable-access-log-for-health disable-cascade-attn disable-chunked-mm-input disable-custom-all-reduce
		disable-fastapi-docs disable-frontend-multiprocessing disable-hybrid-kv-cache-manager disable-log-requests
		disable-log-stats disable-nccl-for-dp-synchronization disable-sliding-window disable-uvicorn-access-log
		enable-auto-tool-choice enable-chunked-prefill enable-dbo enable-elastic-ep enable-eplb enable-expert-parallel
		enable-force-include-usage enable-layerwise-nvtx-tracing enable-log-deltas enable-log-outputs enable-log-requests
		enable-lora enable-mfu-metrics enable-mm-embeds enable-offline-docs enable-prefix-caching enable-prompt-embeds
		enable-prompt-tokens-details enable-request-id-headers enable-server-load-tracking enable-sleep-mode
		enable-ssl-refresh enable-tokenizer-info-endpoint enforce-eager exclude-tools-when-tool-choice-none
		fully-sharded-loras headless interleave-mm-strings kv-sharing-fast-prefill language-model-only log-error-stack
		mm-encoder-only ray-workers-use-nsight return-tokens-as-token-ids skip-mm-profiling skip-tokenizer-init
		tokens-only trust-remote-code trust-request-chat-template use-tqdm-on-load
		aggregate-engine-logging disable-mm-preprocessor-cache enable-multimodal-encoder-data-parallel
		enable-flash-late-interaction enable-per-request-metrics eplb-log-balancedness cohere-is-reasoning-model`),
	text: words(`
		all2all-backend allowed-local-media-path attention-backend chat-template chat-template-content-format code-revision
		collect-detailed-traces config config-format convert cp-kv-cache-interleave-size data-parallel-address
		data-parallel-backend dcp-comm-backend disable-access-log-for-endpoints distributed-executor-backend
		download-dir dtype fingerprint-mode fingerprint-value generation-config guided-decoding-backend hf-config-path
		hf-token host io-processor-plugin kv-cache-dtype kv-offloading-backend load-format log-config-file
		logits-processor-pattern logprobs-mode lora-dtype mamba-cache-dtype mamba-cache-mode mamba-ssm-cache-dtype
		master-addr mm-encoder-attn-backend mm-encoder-tp-mode mm-processor-cache-type model model-impl
		otlp-traces-endpoint performance-mode prefix-caching-hash-algo quantization ray-runtime-env reasoning-parser
		reasoning-parser-plugin response-role revision root-path runner safetensors-load-strategy scheduler-cls
		scheduling-policy show-hidden-metrics-for-version ssl-ca-certs ssl-certfile ssl-ciphers ssl-keyfile task
		tokenizer tokenizer-mode tokenizer-revision tool-call-parser tool-parser-plugin tool-server uds
		uvicorn-log-level worker-cls worker-extension-cls
		expert-placement-strategy override-attention-dtype pt-load-map-location cohere-format`),
	int: words(`
		api-server-count block-size data-parallel-rank data-parallel-rpc-port data-parallel-size
		data-parallel-size-local data-parallel-start-rank decode-context-parallel-size h11-max-header-count
		h11-max-incomplete-event-size long-prefill-token-threshold mamba-block-size master-port max-cpu-loras max-log-len
		max-logprobs max-long-partial-prefills max-lora-rank max-loras max-num-partial-prefills max-num-seqs
		max-parallel-loading-workers mm-processor-cache-gb mm-shm-cache-max-object-size-mb nnodes node-rank
		num-gpu-blocks-override pipeline-parallel-size port prefill-context-parallel-size seed shutdown-timeout
		ssl-cert-reqs stream-interval tensor-parallel-size
		dbo-decode-token-threshold dbo-prefill-token-threshold eplb-step-interval eplb-window-size
		data-parallel-supervisor-port dp-supervisor-probe-failure-threshold lora-extra-vocab-size max-cudagraph-capture-size
		max-num-queued-reqs max-num-queued-tokens num-lookahead-slots num-redundant-experts optimization-level`),
	float: words(`
		cpu-offload-gb gpu-memory-utilization kv-offloading-size rope-theta dp-supervisor-probe-interval-s dp-supervisor-probe-timeout-s
		sse-keep-alive-interval swap-space video-pruning-rate`),
	length: words("kv-cache-memory-bytes max-model-len max-num-batched-tokens"),
	json: words(`
		additional-config allowed-headers allowed-methods allowed-origins attention-config compilation-config
		default-chat-template-kwargs ec-transfer-config eplb-config hf-overrides kernel-config kv-events-config
		kv-transfer-config limit-mm-per-prompt media-io-kwargs mm-processor-kwargs model-loader-extra-config
		offload-config override-generation-config override-pooler-config pooler-config profiler-config rope-scaling
		default-mm-loras speculative-config structured-outputs-config weight-transfer-config`),
	list: words(
		"allowed-media-domains api-key cuda-graph-sizes cudagraph-capture-sizes ignore-patterns logits-processors lora-modules middleware served-model-name",
	),
};

const SHORT: Record<string, string> = {
	"-tp": "tensor-parallel-size",
	"-pp": "pipeline-parallel-size",
	"-dp": "data-parallel-size",
	"-dcp": "decode-context-parallel-size",
	"-q": "quantization",
	"-dpn": "data-parallel-rank",
	"-dpr": "data-parallel-start-rank",
	"-dpl": "data-parallel-size-local",
	"-dpa": "data-parallel-address",
	"-dpp": "data-parallel-rpc-port",
	"-dpb": "data-parallel-backend",
	"-dph": "data-parallel-hybrid-lb",
	"-dpe": "data-parallel-external-lb",
	"-ep": "enable-expert-parallel",
	"-O": "optimization-level",
	"-cc": "compilation-config",
	"-asc": "api-server-count",
	"-ac": "attention-config",
	"-sc": "speculative-config",
};

const kinds = new Map(Object.entries(KINDS).flatMap(([kind, names]) => names.map((name) => [name, kind as Kind])));

/** An option as it was written, `--Max_Model_Len` and `-tp` included: its full name, what it takes; none: unknown. */
export function flag(
	written: string,
): { readonly name: string; readonly kind: Kind; readonly off: boolean } | undefined {
	if (SHORT[written]) return { name: SHORT[written], kind: kinds.get(SHORT[written])!, off: false };
	if (/^-O\d$/.test(written)) return { name: "optimization-level", kind: "switch", off: false };
	if (!written.startsWith("--")) return undefined;
	const name = written.slice(2).replaceAll("_", "-");
	const kind = kinds.get(name);
	if (kind) return { name, kind, off: false };
	const base = name.replace(/^no-/, "");
	if (base !== name && kinds.get(base) === "switch") return { name: base, kind: "switch", off: true };
	const outer = name.split(".")[0]!;
	return kinds.get(outer) === "json" ? { name, kind: "json", off: false } : undefined;
}
