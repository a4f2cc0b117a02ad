/** vLLM's error answers. */

/** Becomes vLLM's JSON. */
export class ApiError extends Error {
	override readonly name = "ApiError";
	/** `type` follows from the status unless given. */
	constructor(
		readonly status: number,
		message: string,
		readonly param: string | null = null,
		readonly type: string = TYPES[status] ?? "InternalServerError",
	) {
		super(message);
	}

	/** `{"error":{message,type,param,code}}`, for an answer or an event. */
	get body(): { error: { message: string; type: string; param: string | null; code: number } } {
		return { error: { message: this.message, type: this.type, param: this.param, code: this.status } };
	}

	/** As an answer. */
	response(): Response {
		return Response.json(this.body, { status: this.status });
	}
}

const TYPES: Record<number, string> = {
	400: "BadRequestError",
	404: "NotFoundError",
	415: "Unsupported Media Type",
	500: "InternalServerError",
	501: "NotImplementedError",
	503: "ServiceUnavailableError",
};

/** What every call of a dead engine gets. */
export const engineDead = (): ApiError =>
	new ApiError(500, "EngineCore encountered an issue. See stack trace (above) for the root cause.");

/** Pydantic's refusal of a field. */
export const invalid = (loc: readonly (string | number)[], msg: string, type: string, input?: unknown): ApiError => {
	const place = loc.map((part) => (typeof part === "string" ? `'${part}'` : part)).join(", ");
	const given = input === undefined ? "" : `, 'input': ${JSON.stringify(input)}`;
	return new ApiError(
		400,
		`[{'type': '${type}', 'loc': (${place}), 'msg': '${msg}'${given}}]`,
		String(loc.at(-1)),
		"Bad Request",
	);
};
