/** The figures of the last ten minutes, as they come in. */
import { useEffect, useState } from "preact/hooks";
import type { LiveHistory, LiveSample } from "../live-sample.ts";
import { askJson, SIGNED_OUT } from "./api.ts";

/** Samples that are kept: ten minutes. */
const MOST_SAMPLES = 600;
/** The router ends streams from time to time, and the browser opens another one: so long that is no news, ms. */
const LOST_MS = 5_000;
/** How long until another stream is opened where the browser has given up, ms. */
const RETRY_MS = 3_000;

/** What is known, and whether more comes in. */
export interface Live {
	readonly samples: readonly LiveSample[];
	readonly connection: "connecting" | "live" | "lost";
}

/** The figures, for as long as they are shown. */
export function useLive(): Live {
	const [samples, setSamples] = useState<readonly LiveSample[]>([]);
	const [connection, setConnection] = useState<Live["connection"]>("connecting");
	useEffect(() => {
		let source: EventSource | undefined;
		let lost: ReturnType<typeof setTimeout> | undefined;
		let retry: ReturnType<typeof setTimeout> | undefined;
		let isOver = false;
		const take = (added: readonly LiveSample[]) => setSamples((before) => merged(before, added));
		const here = () => {
			clearTimeout(lost);
			lost = undefined;
			setConnection("live");
		};
		const failed = () => {
			lost ??= setTimeout(() => setConnection("lost"), LOST_MS);
			if (source?.readyState !== EventSource.CLOSED || isOver) return;
			retry = setTimeout(() => void open(), RETRY_MS);
		};
		const open = async () => {
			try {
				// What it says of the session an event stream does not.
				take((await askJson<LiveHistory>("console/live")).samples);
			} catch {
				failed();
				if (!source && !isOver) retry = setTimeout(() => void open(), RETRY_MS);
				return;
			}
			if (isOver) return;
			source = new EventSource(new URL("console/events", document.baseURI));
			source.onmessage = ({ data }: MessageEvent<string>) => {
				here();
				take([JSON.parse(data) as LiveSample]);
			};
			source.onerror = failed;
		};
		const end = () => {
			isOver = true;
			source?.close();
			clearTimeout(lost);
			clearTimeout(retry);
		};
		addEventListener(SIGNED_OUT, end);
		void open();
		return () => {
			removeEventListener(SIGNED_OUT, end);
			end();
		};
	}, []);
	return { samples, connection };
}

/** Those that are new behind those that are there. */
function merged(before: readonly LiveSample[], added: readonly LiveSample[]): readonly LiveSample[] {
	const last = before.at(-1)?.at ?? 0;
	return [...before, ...added.filter(({ at }) => at > last)].slice(-MOST_SAMPLES);
}
