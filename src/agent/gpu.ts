/** The GPUs of this host, as `nvidia-smi` tells. */

/** One GPU at one moment. Keys are those of the wire between agent and router. */
export interface Gpu {
	readonly index: number;
	readonly name: string;
	readonly uuid: string;
	/** `00000000:01:00.0` */
	readonly bus_id: string;
	/** Bytes; 0 where the driver does not say. */
	readonly memory_total: number;
	/** Bytes, whoever holds them. */
	readonly memory_used: number;
	/** 0 … 1; 0 where the driver does not say. */
	readonly utilization: number;
	/** °C; 0 where the driver does not say. */
	readonly temperature: number;
	/** W; 0 where the driver does not say. */
	readonly power: number;
	/** Version of the driver. */
	readonly driver: string;
}
