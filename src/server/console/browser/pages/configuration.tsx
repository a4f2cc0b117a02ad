/** Configuration: what holds and where from, and what its file would change. */
import { useState } from "preact/hooks";
import "../call-pages.css";
import { ApiError, askJson, useAnswer } from "../api.ts";
import { Badge } from "../components/badge.tsx";
import { Dialog } from "../components/dialog.tsx";
import { Notice } from "../components/notice.tsx";
import { Scroll } from "../components/scroll.tsx";
import type { Page } from "../page.ts";
import { useCanChange } from "../session.ts";

/** The page. */
export const page: Page = { path: "configuration", title: "Configuration", order: 70, Component: ConfigurationPage };

/** The file may change while the page is looked at. */
const LOOK_MS = 5_000;

/** What `GET /admin/configuration` answers. */
interface ShownConfiguration {
	readonly file: string;
	readonly has_file: boolean;
	readonly settings: readonly { readonly setting: string; readonly value: string; readonly from: string }[];
	readonly providers: readonly ShownProvider[];
	readonly warnings: readonly string[];
	/** Of a router of an older version it is absent. */
	readonly opentelemetry?: readonly { readonly what: string; readonly text: string }[];
	readonly reload: {
		readonly changes: readonly SettingChange[];
		readonly waiting: readonly SettingChange[];
		readonly mistakes: readonly string[];
	};
}

interface ShownProvider {
	readonly name: string;
	readonly state: string;
	readonly base_url?: string;
	/** The environment's variable that is to be set. */
	readonly variable?: string;
	readonly lacks_prices?: true;
}

/** A setting that is there before or after a reload alone has one value. */
interface SettingChange {
	readonly setting: string;
	readonly from?: string;
	readonly to?: string;
}

function ConfigurationPage() {
	const { data, error, reload } = useAnswer<ShownConfiguration>("admin/configuration", LOOK_MS);
	return (
		<div class="stack">
			{error && (
				<Notice kind="error" title={data ? "What is shown is not the newest" : "The configuration can't be shown"}>
					<p>{error.message} It is asked for again every few seconds.</p>
				</Notice>
			)}
			{!data && !error && <p role="status">Asking for the configuration…</p>}
			{data && (
				<>
					<FileCard configuration={data} onReloaded={reload} />
					<Settings settings={data.settings} />
					<Providers providers={data.providers} />
					<Telemetry lines={data.opentelemetry ?? []} />
				</>
			)}
		</div>
	);
}

interface FileCardProps {
	readonly configuration: ShownConfiguration;
	readonly onReloaded: () => void;
}

function FileCard({ configuration: { file, has_file, warnings, reload }, onReloaded }: FileCardProps) {
	const { changes, waiting, mistakes } = reload;
	const [isAsking, setIsAsking] = useState(false);
	const canChange = useCanChange();
	const isSame = changes.length === 0 && waiting.length === 0 && mistakes.length === 0;
	return (
		<section class="card" aria-labelledby="file">
			<div class="head">
				<h2 id="file">{has_file ? file : "No file"}</h2>
				{mistakes.length > 0 && <Badge text="the file can't be used" tone="bad" />}
				{isSame && <Badge text="as the file says" tone="good" />}
				{changes.length > 0 && <Badge text="the file differs" tone="warn" />}
				{waiting.length > 0 && <Badge text="some of it waits for a restart" tone="warn" />}
			</div>
			{!has_file && <p class="note">There is none: {file} would be read if it were there.</p>}
			{mistakes.length > 0 && <Lines title="What is wrong with it; what was in force stays" lines={mistakes} />}
			{warnings.length > 0 && <Lines title="What was mended" lines={warnings} />}
			{changes.length > 0 && <Changes title="A reload would change" changes={changes} />}
			{waiting.length > 0 && <Changes title="Only a restart would change" changes={waiting} />}
			{canChange ? (
				<div class="actions">
					<button type="button" onClick={() => setIsAsking(true)}>
						Load the file anew…
					</button>
				</div>
			) : (
				<p class="note">It is loaded anew by itself when it changes; this key may not do that.</p>
			)}
			{isAsking && (
				<ReloadDialog
					reload={reload}
					onClose={() => {
						setIsAsking(false);
						onReloaded();
					}}
				/>
			)}
		</section>
	);
}

interface ReloadDialogProps extends Pick<ShownConfiguration, "reload"> {
	readonly onClose: () => void;
}

function ReloadDialog({ reload: { changes, mistakes }, onClose }: ReloadDialogProps) {
	const [problem, setProblem] = useState<string | undefined>();
	const [isBusy, setIsBusy] = useState(false);
	const load = async () => {
		setIsBusy(true);
		setProblem(undefined);
		try {
			await askJson("admin/configuration/reload", { method: "POST" });
			onClose();
		} catch (error) {
			setProblem(error instanceof ApiError ? error.message : String(error));
			setIsBusy(false);
		}
	};
	return (
		<Dialog title="Load the file anew?" onClose={onClose}>
			{changes.length === 0 ? (
				<p>{mistakes.length > 0 ? "As it is, the file can't be used." : "Nothing would change of what runs."}</p>
			) : (
				<Changes title="This changes at once, for calls that come from then on" changes={changes} />
			)}
			{problem !== undefined && (
				<p class="problem" role="alert">
					{problem}
				</p>
			)}
			<div class="actions">
				<button type="button" class="primary" disabled={isBusy} onClick={() => void load()}>
					Load it
				</button>
				<button type="button" onClick={onClose}>
					Leave it
				</button>
			</div>
		</Dialog>
	);
}

const Lines = ({ title, lines }: { readonly title: string; readonly lines: readonly string[] }) => (
	<>
		<h3>{title}</h3>
		<ul class="lines">
			{lines.map((line) => (
				<li key={line}>{line}</li>
			))}
		</ul>
	</>
);

const Changes = ({ title, changes }: { readonly title: string; readonly changes: readonly SettingChange[] }) => (
	<>
		<h3>{title}</h3>
		<ul class="lines">
			{changes.map(({ setting, from, to }) => (
				<li key={setting}>
					<code>{setting}</code>: {from ?? "not set"} → {to ?? "not set"}
				</li>
			))}
		</ul>
	</>
);

function Settings({ settings }: Pick<ShownConfiguration, "settings">) {
	const [sought, setSought] = useState("");
	const [isSetAlone, setIsSetAlone] = useState(false);
	const text = sought.trim().toLowerCase();
	const shown = settings.filter(
		({ setting, value, from }) =>
			(!isSetAlone || from !== "default") && [setting, value].some((each) => each.toLowerCase().includes(text)),
	);
	return (
		<section class="card" aria-labelledby="settings">
			<h2 id="settings">What holds</h2>
			<div class="filters">
				<label>
					Find{" "}
					<input
						class="short"
						type="search"
						value={sought}
						placeholder="timeouts"
						onInput={(event) => setSought(event.currentTarget.value)}
						autocomplete="off"
						spellcheck={false}
					/>
				</label>
				<label class="check">
					<input
						type="checkbox"
						checked={isSetAlone}
						onChange={(event) => setIsSetAlone(event.currentTarget.checked)}
					/>{" "}
					Only what is no default
				</label>
			</div>
			{shown.length === 0 ? <p role="status">No setting is so.</p> : <SettingTable settings={shown} />}
		</section>
	);
}

const SettingTable = ({ settings }: Pick<ShownConfiguration, "settings">) => (
	<Scroll label="Settings and where they come from">
		<table>
			<thead>
				<tr>
					<th scope="col">Setting</th>
					<th scope="col" class="text">
						Value
					</th>
					<th scope="col" class="text">
						From
					</th>
				</tr>
			</thead>
			<tbody>
				{settings.map(({ setting, value, from }) => (
					<tr key={setting}>
						<th scope="row">
							<code>{setting}</code>
						</th>
						<td class="text reason">{value}</td>
						<td class="text">{from}</td>
					</tr>
				))}
			</tbody>
		</table>
	</Scroll>
);

const Telemetry = ({ lines }: { readonly lines: NonNullable<ShownConfiguration["opentelemetry"]> }) => (
	<section class="card" aria-labelledby="opentelemetry">
		<h2 id="opentelemetry">OpenTelemetry</h2>
		{lines.length === 0 ? (
			<p class="note">
				No traces are sent: <code>OTEL_EXPORTER_OTLP_ENDPOINT</code> says where to.
			</p>
		) : (
			<ul class="lines">
				{lines.map(({ what, text }) => (
					<li key={`${what} ${text}`}>
						{what}: {text}
					</li>
				))}
			</ul>
		)}
	</section>
);

const Providers = ({ providers }: { readonly providers: readonly ShownProvider[] }) => (
	<section class="card" aria-labelledby="providers">
		<h2 id="providers">Providers</h2>
		<Scroll label="Providers and whether they can be called">
			<table>
				<thead>
					<tr>
						<th scope="col">Provider</th>
						<th scope="col" class="text">
							State
						</th>
						<th scope="col" class="text">
							Address, or what to set
						</th>
					</tr>
				</thead>
				<tbody>
					{providers.map(({ name, state, base_url, variable, lacks_prices }) => (
						<tr key={name}>
							<th scope="row">{name}</th>
							<td class="text">
								<Badge text={state.replace("-", " ")} tone={state === "ready" ? "good" : "plain"} />
								{lacks_prices && <Badge text="no prices known" tone="warn" />}
							</td>
							<td class="text">{variable === undefined ? base_url : `set ${variable}`}</td>
						</tr>
					))}
				</tbody>
			</table>
		</Scroll>
	</section>
);
