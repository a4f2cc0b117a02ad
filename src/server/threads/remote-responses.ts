/** Stored responses, as a worker has them: the main thread writes and reads them, so that any worker goes on from any other's. */
import type { ResponseStore } from "../../api/response-writer.ts";
import type { Config } from "../../config/schema.ts";
import type { Questions, ResponseAnswer, ResponseChange, ResponseQuestion, ToMain } from "./link.ts";

/**
 * The stand-in. What is put is sent before the client has the end of its answer, so that it is there before anybody can ask for it.
 * @param settings of the configuration in force
 */
export function remoteResponses(
	questions: Pick<Questions<ToMain, ResponseAnswer>, "ask">,
	send: (message: ToMain) => void,
	settings: () => Config["responses"],
): ResponseStore {
	const change = (of: ResponseChange) => send({ type: "response-change", change: of });
	const ask = async (question: ResponseQuestion) => (await questions.ask({ type: "response", question }))?.value;
	return {
		get isOn() {
			const { keep, size } = settings();
			return keep > 0 && size > 0;
		},
		get: async (name, waits = false) => (await ask({ do: "get", name, waits })) as string | undefined,
		put: ({ key, id, text }) => change({ do: "put", response: { key, id, text } }),
		use: ({ key, id }) => change({ do: "use", name: { key, id } }),
		remove: async (name) => (await ask({ do: "remove", name })) as boolean | undefined,
	};
}

/** The main thread's side of a question. */
export function answerResponse(
	store: ResponseStore,
	question: ResponseQuestion,
): Promise<string | boolean | undefined> {
	return question.do === "get" ? store.get(question.name, question.waits) : store.remove(question.name);
}

/** The main thread's side of a change. */
export function changeResponse(store: ResponseStore, change: ResponseChange): void {
	if (change.do === "put") store.put(change.response);
	else store.use(change.name);
}
