/** What happens now: figures that matter, their last ten minutes, and the same by model. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { LiveSample, ModelSample } from "../../live-sample.ts";
import { Chart } from "../components/chart.tsx";
import { Figure } from "../components/figure.tsx";
import { Notice } from "../components/notice.tsx";
import { Code, Scroll } from "../components/scroll.tsx";
import { countText, durationText, shortUsdText, usdText, wholeText } from "../format.ts";
import { useLive } from "../live.ts";
import type { Page } from "../page.ts";

/** How often who can't see the figures is told of them, ms. */
const SPOKEN_MS = 30_000;
const HOUR = 3_600;
const MINUTE_MS = 60_000;

/** The page. */
export const page: Page = { path: "", title: "Now", order: 10, Component: Now };

function Now() {
	const { samples, connection } = useLive();
	const latest = samples.at(-1);
	return (
		<>
			{connection === "lost" && (
				<Notice kind="warning" title="The connection is lost">
					<p>The figures below are the last that came. The console tries again by itself, every few seconds.</p>
				</Notice>
			)}
			{latest ? <Figures latest={latest} samples={samples} /> : connection !== "lost" && <Waiting />}
		</>
	);
}

const Waiting = () => <p role="status">Waiting for the first figures…</p>;

interface FiguresProps {
	readonly latest: LiveSample;
	readonly samples: readonly LiveSample[];
}

function Figures({ latest, samples }: FiguresProps) {
	const hasCalls = samples.some(({ calls, inFlight }) => calls > 0 || inFlight > 0);
	const { calls, errors, tokens, firstToken, inFlight, waiting, usd } = latest;
	const share = calls > 0 ? `${countText((100 * errors) / calls)} % of calls` : "no calls";
	return (
		<>
			<Spoken latest={latest} />
			<dl class="figures">
				<Figure
					label="Calls"
					value={countText(calls)}
					unit="/s"
					note={latest.models.length === 1 ? "of one model" : `of ${latest.models.length} models`}
				/>
				<Figure
					label="First token, p50"
					value={firstToken ? durationText(firstToken.p50) : "–"}
					note={firstToken ? `p95 ${durationText(firstToken.p95)}` : "no answers in 10 s"}
				/>
				<Figure label="Errors" value={countText(errors)} unit="/s" note={share} tone={errors > 0 ? "bad" : "plain"} />
				<Figure
					label="Tokens out"
					value={countText(tokens.output)}
					unit="/s"
					note={`${countText(tokens.input)}/s in`}
				/>
				<Figure label="Money" value={shortUsdText(usd * HOUR)} unit="/h" note={`${usdText(usd)}/s`} />
				<Figure
					label="Under way"
					value={countText(inFlight)}
					note={waiting > 0 ? `${countText(waiting)} wait in line` : "none waits in line"}
				/>
			</dl>
			{!hasCalls && <NoCalls />}
			<Charts samples={samples} latest={latest} />
			<Models models={latest.models} />
		</>
	);
}

function NoCalls() {
	const url = new URL("v1/chat/completions", document.baseURI).href;
	return (
		<Notice kind="empty" title="No calls yet">
			<p>The model “dummy” answers without any provider. With keys, add yours as a header:</p>
			<Code
				text={`curl ${url} \\
  -H 'content-type: application/json' \\
  -d '{"model": "dummy", "messages": [{"role": "user", "content": "hi"}]}'`}
			/>
		</Notice>
	);
}

function Charts({ samples, latest }: FiguresProps) {
	const times = samples.map(({ at }) => at);
	const line = (label: string, colour: `--${string}`, read: (sample: LiveSample) => number | null) => ({
		label,
		colour,
		values: samples.map(read),
	});
	return (
		<div class="charts">
			<Chart
				title="Calls a second"
				times={times}
				text={countText}
				lines={[line("calls", "--line-1", ({ calls }) => calls), line("errors", "--line-3", ({ errors }) => errors)]}
			/>
			<Chart
				title="Time to first token"
				times={times}
				text={durationText}
				lines={[
					line("p50", "--line-1", ({ firstToken }) => firstToken?.p50 ?? null),
					line("p95", "--line-2", ({ firstToken }) => firstToken?.p95 ?? null),
				]}
			/>
			<Chart
				title="Tokens a second"
				times={times}
				text={countText}
				lines={[
					line("out", "--line-1", ({ tokens }) => tokens.output),
					line("in", "--line-2", ({ tokens }) => tokens.input),
				]}
			/>
			<Chart
				title="Calls and streams under way"
				times={times}
				text={countText}
				lines={[
					line("in flight", "--line-1", ({ inFlight }) => inFlight),
					line("in line", "--line-2", ({ waiting }) => waiting),
				]}
			/>
			<Chart
				title="Money an hour"
				times={times}
				text={shortUsdText}
				lines={[line("USD", "--line-1", ({ usd }) => usd * HOUR)]}
			/>
			<Failures latest={latest} samples={samples} />
		</div>
	);
}

function Models({ models }: { readonly models: readonly ModelSample[] }) {
	return (
		<section class="card" aria-labelledby="by-model">
			<h2 id="by-model">By model, last ten seconds</h2>
			{models.length === 0 ? (
				<p class="note">No model was called.</p>
			) : (
				<Scroll label="By model">
					<table>
						<thead>
							<tr>
								<th scope="col">Model</th>
								<th scope="col">Calls/s</th>
								<th scope="col">Errors/s</th>
								<th scope="col">First token p50</th>
								<th scope="col">p95</th>
								<th scope="col">Tokens/s</th>
								<th scope="col">USD/h</th>
							</tr>
						</thead>
						<tbody>
							{models.map(({ model, calls, errors, firstToken, tokens, usd }) => (
								<tr key={model}>
									<th scope="row">{model}</th>
									<td>{countText(calls)}</td>
									<td class={errors > 0 ? "bad" : ""}>{countText(errors)}</td>
									<td>{firstToken ? durationText(firstToken.p50) : "–"}</td>
									<td>{firstToken ? durationText(firstToken.p95) : "–"}</td>
									<td>{countText(tokens)}</td>
									<td>{shortUsdText(usd * HOUR)}</td>
								</tr>
							))}
						</tbody>
					</table>
				</Scroll>
			)}
		</section>
	);
}

/** What failed in the last minute: in a second there is nothing to read. */
function Failures({ latest, samples }: FiguresProps) {
	const recent = samples.filter(({ at }) => at > latest.at - MINUTE_MS);
	const rows = [
		...Object.entries(sums(recent.map(({ statuses }) => statuses))).map(
			([status, count]) => [`answered ${status}`, count] as const,
		),
		...Object.entries(sums(recent.map(({ failures }) => failures))).map(
			([kind, count]) => [`upstream: ${kind}`, count] as const,
		),
	];
	return (
		<section class="card" aria-labelledby="by-kind">
			<h2 id="by-kind">Errors by kind, last minute</h2>
			{rows.length === 0 ? (
				<p class="note">None.</p>
			) : (
				<table>
					<thead>
						<tr>
							<th scope="col">Kind</th>
							<th scope="col">Times</th>
						</tr>
					</thead>
					<tbody>
						{rows.map(([kind, count]) => (
							<tr key={kind}>
								<th scope="row">{kind}</th>
								<td>{wholeText(Math.max(1, count))}</td>
							</tr>
						))}
					</tbody>
				</table>
			)}
		</section>
	);
}

/** A sample is a second: its rates are what there was. By name, in the names' order. */
function sums(rates: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> {
	const sum: Record<string, number> = {};
	for (const [name, rate] of rates.flatMap(Object.entries<number>)) sum[name] = (sum[name] ?? 0) + rate;
	return Object.fromEntries(Object.entries(sum).sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** The figures as a sentence, now and then, for who can't see them. */
function Spoken({ latest }: { readonly latest: LiveSample }) {
	const [sentence, setSentence] = useState("");
	const newest = useRef(latest);
	newest.current = latest;
	useEffect(() => {
		const say = () => {
			const { calls, errors, firstToken } = newest.current;
			const time = firstToken ? `, time to first token ${durationText(firstToken.p50)}` : "";
			setSentence(`${countText(calls)} calls a second, ${countText(errors)} errors a second${time}.`);
		};
		say();
		const timer = setInterval(say, SPOKEN_MS);
		return () => clearInterval(timer);
	}, []);
	return (
		<p class="unseen" aria-live="polite">
			{sentence}
		</p>
	);
}
