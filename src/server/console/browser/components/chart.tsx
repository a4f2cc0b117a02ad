/** Lines over time. The picture is for the eye; who can't see it reads the latest values, which stand over it. */
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clockText } from "../format.ts";
import { useTheme } from "../theme.ts";

const HEIGHT = 170;
/** Gaps that are longer have no line over them, seconds: nobody watched. */
const GAP_SECONDS = 5;
/** How far back it goes, seconds: at first, and at most. */
const LEAST_SECONDS = 60;
const MOST_SECONDS = 600;

/** One line. */
export interface ChartLine {
	readonly label: string;
	/** A colour of the style sheet's: `--line-1`. */
	readonly colour: `--${string}`;
	/** Null where there is none. */
	readonly values: readonly (number | null)[];
}

interface ChartProps {
	readonly title: string;
	/** Unix time, ms. */
	readonly times: readonly number[];
	readonly lines: readonly ChartLine[];
	readonly text: (value: number) => string;
}

/** The chart. */
export function Chart({ title, times, lines, text }: ChartProps) {
	const place = useRef<HTMLDivElement>(null);
	const plot = useRef<uPlot | undefined>(undefined);
	const [pointed, setPointed] = useState<number | undefined>();
	const theme = useTheme();
	const labels = lines.map(({ label, colour }) => `${label} ${colour}`).join("\n");
	const data = useRef<uPlot.AlignedData>([[]]);
	data.current = [times.map((at) => at / 1000), ...lines.map(({ values }) => [...values])];
	const format = useRef(text);
	format.current = text;

	useEffect(() => {
		const element = place.current!;
		const width = () => Math.max(120, element.clientWidth);
		const made = new uPlot(
			options(element, labels, width(), format, (index) => setPointed(index)),
			data.current,
			element,
		);
		plot.current = made;
		const observer = new ResizeObserver(() => made.setSize({ width: width(), height: HEIGHT }));
		observer.observe(element);
		return () => {
			observer.disconnect();
			made.destroy();
			plot.current = undefined;
		};
	}, [labels, theme]);

	// Another sample, another picture.
	useEffect(() => plot.current?.setData(data.current), [times]);

	const at = pointed !== undefined && pointed < times.length ? pointed : times.length - 1;
	return (
		<figure class="card chart">
			<figcaption>
				<span class="title">{title}</span>
				<ul class="legend">
					{lines.map(({ label, colour, values }) => {
						const value = values[at];
						return (
							<li key={label}>
								<span class={`swatch ${colour.slice(2)}`} />
								{label} <b>{value === undefined || value === null ? "–" : text(value)}</b>
							</li>
						);
					})}
				</ul>
				<span class="when">{at >= 0 && pointed !== undefined ? clockText(times[at]!) : ""}</span>
			</figcaption>
			<div ref={place} class="plot" aria-hidden="true" />
		</figure>
	);
}

function options(
	element: HTMLElement,
	labels: string,
	width: number,
	text: { readonly current: (value: number) => string },
	point: (index: number | undefined) => void,
): uPlot.Options {
	const colour = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
	const axis: uPlot.Axis = {
		stroke: colour("--muted"),
		grid: { stroke: colour("--line"), width: 1 },
		ticks: { show: false },
		font: "11px system-ui, sans-serif",
	};
	return {
		width,
		height: HEIGHT,
		padding: [8, 10, 0, 0],
		legend: { show: false },
		cursor: { y: false, points: { size: 6 }, drag: { setScale: false } },
		hooks: { setCursor: [({ cursor }) => point(cursor.idx ?? undefined)] },
		scales: {
			// Until there is much to show, no room is left for what is not; then what comes in moves the rest to the left.
			x: { range: (_, low, high) => [(high ?? 0) - shownSeconds((high ?? 0) - (low ?? 0)), high ?? 0] },
			y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 0) > 0 ? high * 1.1 : 1] },
		},
		axes: [
			{
				...axis,
				space: 70,
				size: 26,
				// Of minutes the seconds are no news.
				values: (_, splits) =>
					splits.map((at) => clockText(at * 1000).slice(0, splits.some((each) => each % 60) ? 8 : 5)),
			},
			{ ...axis, size: 58, values: (_, splits) => splits.map((value) => text.current(value)) },
		],
		series: [
			{},
			...labels.split("\n").map((line): uPlot.Series => {
				const [label = "", name = ""] = line.split(/ (?=--)/);
				return {
					label,
					stroke: colour(name),
					width: 1.75,
					points: { show: false },
					gaps: (plot, _series, first, last) => gapsIn(plot, first, last),
				};
			}),
		],
	};
}

const shownSeconds = (known: number) => Math.min(MOST_SECONDS, Math.max(LEAST_SECONDS, known));

/** Where no samples were taken, in pixels. */
function gapsIn(plot: uPlot, first: number, last: number): [number, number][] {
	const times = plot.data[0];
	const gaps: [number, number][] = [];
	for (let at = first + 1; at <= last; at++) {
		if (times[at]! - times[at - 1]! <= GAP_SECONDS) continue;
		gaps.push([plot.valToPos(times[at - 1]!, "x", true), plot.valToPos(times[at]!, "x", true)]);
	}
	return gaps;
}
