/** A log as it is written. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, ask } from "../api.ts";
import { eventLines } from "../event-lines.ts";

/** Lines that are kept. */
const MOST_LINES = 2_000;
/** How often what has come is shown, ms. */
const SHOWN_MS = 100;

interface LogViewProps {
	/** Of a stream of events, one a line. */
	readonly path: string;
}

/** The log. It stays at its end, unless its reader has scrolled away from there. */
export function LogView({ path }: LogViewProps) {
	const [lines, setLines] = useState<readonly string[]>([]);
	const [state, setState] = useState<{ readonly isOver: boolean; readonly problem?: string }>({ isOver: false });
	const element = useRef<HTMLPreElement>(null);
	useEffect(() => {
		const leaving = new AbortController();
		let waiting: string[] = [];
		const show = () => {
			if (waiting.length === 0) return;
			const added = waiting;
			waiting = [];
			setLines((before) => [...before, ...added].slice(-MOST_LINES));
		};
		const timer = setInterval(show, SHOWN_MS);
		const read = async () => {
			try {
				const answer = await ask(path, { signal: leaving.signal });
				for await (const line of eventLines(answer.body!)) waiting.push(line);
				setState({ isOver: true });
			} catch (error) {
				if (leaving.signal.aborted) return;
				const problem = error instanceof ApiError ? error.message : "The connection to the log is lost.";
				setState({ isOver: true, problem });
			}
		};
		setLines([]);
		setState({ isOver: false });
		void read();
		return () => {
			leaving.abort();
			clearInterval(timer);
		};
	}, [path]);
	const isAtEnd = useRef(true);
	const scrolled = () => {
		const { scrollTop, scrollHeight, clientHeight } = element.current!;
		isAtEnd.current = scrollHeight - scrollTop - clientHeight < 40;
	};
	// Whenever there are other lines.
	useEffect(() => {
		if (isAtEnd.current) element.current!.scrollTop = element.current!.scrollHeight;
	}, [lines]);
	return (
		<>
			{/* A log of hundreds of lines a second is not read out. */}
			{/* biome-ignore lint/a11y/noNoninteractiveTabindex: without it there is no way to scroll it by keyboard. */}
			<pre ref={element} class="log" role="log" aria-live="off" aria-label="Log" tabIndex={0} onScroll={scrolled}>
				{lines.join("\n")}
			</pre>
			<p class="note" role="status">
				{state.problem ??
					(state.isOver
						? "The log has ended."
						: lines.length === 0
							? "Waiting for lines…"
							: "It goes on as it is written.")}
			</p>
		</>
	);
}
