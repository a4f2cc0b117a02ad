/** The figures of the last ten minutes, as they come in. */
import { useEffect, useState } from "preact/hooks";
import type { LiveHistory, LiveSample } from "../live-sample.ts";
import { askJson, SIGNED_OUT } from "./api.ts";

/** Samples that are kept: ten minutes. */
const MOST_SAMPLES = 600;
/** A sample comes each second. The router ends streams from time to time, and the browser opens another one: so long without any is no news, ms. */
const LOST_MS = 8_000;
/** How long until another stream is opened where there is none any more, ms. */
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
		const take = (added: readonly LiveSample[]) => setSamples((before) => merged(before, added));
		const end = watch(take, setConnection);
		addEventListener(SIGNED_OUT, end);
		return () => {
			removeEventListener(SIGNED_OUT, end);
			end();
		};
	}, []);
	return { samples, connection };
}

/** Hears of samples, over one stream after the other, and of whether there is one. Returns how to end that. */
function watch(
	take: (added: readonly LiveSample[]) => void,
	setConnection: (connection: Live["connection"]) => void,
): () => void {
	let source: EventSource | undefined;
	let silence: ReturnType<typeof setTimeout> | undefined;
	let retry: ReturnType<typeof setTimeout> | undefined;
	/** Goes up with each stream, so that what is heard of an earlier one is of none. */
	let turn = 0;
	let isOver = false;
	const listen = () => {
		clearTimeout(silence);
		// A connection may be dead without an end of it: of a router that hangs, a laptop that slept.
		silence = setTimeout(() => {
			setConnection("lost");
			again();
		}, LOST_MS);
	};
	const again = () => {
		turn++;
		source?.close();
		clearTimeout(retry);
		retry = setTimeout(() => void open(), RETRY_MS);
	};
	const open = async () => {
		const own = ++turn;
		// What it says of the session an event stream does not.
		const asked = askJson<LiveHistory>("console/live", { signal: AbortSignal.timeout(LOST_MS) });
		// Whatever it failed by: it is tried again, and silence says that it is lost.
		const known = await asked.catch(() => undefined);
		if (isOver || own !== turn) return;
		if (!known) return again();
		take(known.samples);
		listen();
		const opened = new EventSource(new URL("console/events", document.baseURI));
		source = opened;
		opened.onmessage = ({ data }: MessageEvent<string>) => {
			setConnection("live");
			listen();
			take([JSON.parse(data) as LiveSample]);
		};
		opened.onerror = () => {
			if (opened.readyState === EventSource.CLOSED && opened === source && !isOver) again();
		};
	};
	listen();
	void open();
	return () => {
		isOver = true;
		source?.close();
		clearTimeout(silence);
		clearTimeout(retry);
	};
}

/** Those that are new behind those that are there. */
function merged(before: readonly LiveSample[], added: readonly LiveSample[]): readonly LiveSample[] {
	const last = before.at(-1)?.at ?? 0;
	return [...before, ...added.filter(({ at }) => at > last)].slice(-MOST_SAMPLES);
}
