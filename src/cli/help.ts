/** What `router --help` prints. */
import { VENDORS, type Vendors } from "../vendors.ts";
import { VERSION } from "../version.ts";

/** Columns of the running text. */
const WIDTH = 88;

/** The help text, with a line end. */
export function helpText(vendors: Vendors = VENDORS): string {
	return `router ${VERSION}: one address for every model you have, speaking the OpenAI API

Usage
  router                      start the router (port 8000)
  router --agent              start the agent on a GPU host (port 5000)
  router --standalone         both in one process, for one box
  router check                say what would run, and every mistake in the configuration
  router doctor               print a page of facts for a report of a fault, without any secret, and what looks wrong
  router init [FILE]          write a commented router.yaml; - or --stdout prints it
  router import PROGRAM FILE [TO]
                              write a router.yaml from another program's file, and name what has no counterpart:
                              litellm (--keys FILE: its virtual keys), llama-swap, compose, gpustack
  router health               exit 0 if the router of this configuration takes calls, else 1
  router models               list the models of a running router, and what agents do with theirs
  router models roll NAME [--image IMAGE] [--canary 10%] [--no-wait]
                              replace a model's containers while they serve, by its agents' configuration or with
                              another image; a first one gets a share of calls, and goes if it is worse. One agent
                              after the other, until one takes it back; --no-wait orders it from all at once
  router models suggest       list well-known models that fit this host's GPUs
  router agents               list the agents of a running router
  router agents invite        make a token for agents; prints the line to paste on a GPU host
  router agents invitations   list those tokens; \`router agents revoke ID\` takes one back
  router keys                 list the keys
  router keys create --name NAME [--team T --models a,b --rpm N --tpm N --concurrency N --input N --budget 50/month]
                              [--session-usd 5] [--engine-fields] [--trace-contents]
                              make a key; prints its secret, once. --role viewer: one that sees the console and
                              /admin, changes nothing, and makes no calls
  router keys change NAME [--team T --models a,b --rpm N --tpm N --concurrency N --input N --budget 50/month]
                              [--session-usd 5] [--[no-]engine-fields] [--[no-]trace-contents]
                              change what a key may do; \`none\` takes a limit away
  router keys rotate NAME [--overlap 24h]
                              give a key a new secret; the old one stays good for so long
  router keys revoke NAME     take a key back
  router usage [--by key,team,user,model,provider,day] [--from DAY] [--to DAY] [--csv | --focus [--hourly]]
                              calls, tokens and cost
  router why REQUEST-ID       where a past call went, why, and what it cost
  router replay --from TIME [--to TIME] [--policy P] [--model M] [--json]
                              what another policy would have made of past calls: targets, cost, waits, and by how
                              much a replay is off. Reads the ledger of the data directory and calls nobody
  router explain MODEL        where a running router would send a call, and why; --file gives the call's body
  router connect CLIENT [--model M] [--key KEY] [--write [--overwrite] | --undo]
                              print what a client needs to use this router, write it, take it out again:
                              claude-code, codex, opencode, gemini-cli, aider, continue, open-webui
  router upgrade [--to FILE]  have the running router start FILE, or its own program anew, which takes its place: calls
                              that run end in the old process, no connection is refused or cut
  router backup FILE          write keys, ledger and all else of the data directory to one file, while the router runs
  router restore FILE         add to the data directory what that file has and it lacks, whether or not the router runs
  router docs [TOPIC]         print a page of the documentation; without TOPIC list them
  router completions SHELL    print what has bash, zsh or fish complete commands and flags
  router man                  print the manual page: router man | man -l -
  router init --schema        print the JSON Schema of router.yaml
  router init --systemd       print a systemd unit for the router; with --agent or --standalone for those
  router init --systemd-socket
                              print a systemd unit of the router's port, which stays open while the router restarts
  router init --compose       print a compose file; with --agent or --standalone for those
  router init --kubernetes    print manifests for Kubernetes
  router init --grafana       print a dashboard for Grafana
  router init --prometheus-rules
                              print recording and alerting rules for Prometheus

Flags
  --config FILE     configuration (else ROUTER_CONFIG, else ./router.yaml where there is one)
  --env-file FILE   KEY=VALUE lines; variables that are set already win
  --host ADDRESS    address to listen on
  --port PORT       port to listen on; 0 picks a free one
  --url URL         the router to ask; keys, usage, why, models roll and connect take an admin key there;
                    invite: as the GPU host reaches it
  --file FILE       explain: a request as JSON; - is stdin
  --path PATH       explain: where it would be sent, such as /v1/messages; else what its fields say
  --workers N       threads that answer calls, or auto
  --replace         take the place of the router that runs on this data directory, as upgrade does
  --insecure        listen beyond loopback without any key
  -v, --version     print the version
  -h, --help        print this

Without --url, keys, usage and why work on the data directory, whether or not a router runs.

Flags of the agent
  --model ID        run this model in a vLLM container: Qwen/Qwen3-8B
  --name NAME       what callers call it (else what --model says)
  --gpus N          GPUs it spans; 0 runs on the CPU
  --devices 0,1     the GPUs it may use
  --router URL      the router to join
  --advertise URL   where the router reaches this agent
  --tunnel          the router calls this agent through a connection that the agent opens
  --vllm-url URL    serve a vLLM that already runs
  --stop-containers stop the containers when the agent stops
  -- ARGUMENTS      further arguments of vLLM, for --model

A flag wins over the environment, that over the file, that over the default.
${providerLines(vendors)}

Exit codes: 0 good, 1 it can't run or start, 2 the command line is wrong.
`;
}

/** The one variable that each provider needs, in lines that fit a terminal. */
function providerLines(vendors: Vendors): string {
	const needed = Object.values(vendors).flatMap(({ needsKey, keyVariables, baseUrlVariable }) => {
		const variable = needsKey ? keyVariables[0] : baseUrlVariable;
		return variable ?? [];
	});
	const lines = [""];
	for (const word of `Providers need only their variable: ${needed.join(", ")}.`.split(" ")) {
		const last = lines.at(-1)!;
		if (last.length + word.length >= WIDTH) lines.push(word);
		else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
	}
	return lines.join("\n");
}
