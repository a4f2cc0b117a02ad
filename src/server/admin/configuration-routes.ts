/** `/admin/configuration`: what holds and where from, what its file would change, and loading that. */
import { Elysia } from "elysia";
import type { KeyStore } from "../../accounts/auth/key-store.ts";
import { mistakeLine } from "../../config/config-error.ts";
import type { Environment } from "../../config/interpolate.ts";
import { settingRows } from "../../config/setting-rows.ts";
import { RouterError } from "../../errors.ts";
import { describeProviders } from "../../providers/registry.ts";
import type { Log } from "../../telemetry/log.ts";
import { otelLines, tracedKeys } from "../otel.ts";
import type { LiveConfiguration } from "../reload.ts";
import { CONFIGURATION, RELOAD } from "./admin-docs.ts";
import type { Administrators } from "./administrators.ts";

/** The plugin. Secrets are masked, whoever asks. @param keys those that were made while running */
export function configurationRoutes(
	live: LiveConfiguration,
	administrators: Administrators,
	{
		env,
		log,
		keys,
	}: { readonly env: Environment; readonly log: Pick<Log, "logger">; readonly keys: Pick<KeyStore, "list"> },
) {
	const shown = () => privately({ ...shownConfiguration(live, env), opentelemetry: shownTelemetry(live, env, keys) });
	return new Elysia({ name: "admin/configuration" })
		.get(
			"/admin/configuration",
			({ request, server }) => {
				administrators.authenticate(request, server);
				return shown();
			},
			{ detail: CONFIGURATION },
		)
		.post(
			"/admin/configuration/reload",
			async ({ request, server }) => {
				const { name: by } = administrators.authenticate(request, server);
				log.logger.child({}, { level: "info" }).info({ audit: "configuration.reload", by }, "audit");
				const mistakes = await live.reloadWhenWritten();
				if (mistakes.length === 0) return shown();
				const message = `The file can't be used, and what was in force stays: ${mistakes.join("; ")}.`;
				throw new RouterError("configuration_refused", message);
			},
			{ parse: "none", detail: RELOAD },
		);
}

/** The configuration in force, and the file beside it. */
function shownConfiguration(live: LiveConfiguration, env: Environment) {
	const { config, sources, last } = live;
	const { role, file, warnings, watched } = last;
	const rows = settingRows({ config, role, sources }, undefined);
	return {
		object: "configuration",
		file: file ?? watched,
		has_file: file !== undefined,
		settings: rows.map(([setting, value, from]) => ({ setting, value, from })),
		providers: describeProviders(config, env).map(({ name, state, variable, baseUrl, lacksPrices }) => ({
			name,
			state,
			...(state === "ready" ? { base_url: baseUrl } : { variable }),
			...(lacksPrices ? { lacks_prices: true } : {}),
		})),
		warnings: warnings.map(mistakeLine),
		reload: live.pending(),
	};
}

/** Where traces and metrics go, and whose prompts and answers go along; empty where nothing is sent. */
function shownTelemetry({ config }: LiveConfiguration, env: Environment, keys: Pick<KeyStore, "list">) {
	return otelLines(env, tracedKeys(config, keys.list())).map(([what, text]) => ({ what, text }));
}

const privately = (body: object) => Response.json(body, { headers: { "cache-control": "no-store" } });
