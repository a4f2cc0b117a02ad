/** What `router --help` prints. */
import { VERSION } from "../version.ts";

/** The help text, with a line end. */
export const HELP = `router ${VERSION}: one address for every model you have, speaking the OpenAI API

Usage
  router                      start the router (port 8000)
  router --agent              start the agent on a GPU host (port 5000)
  router --standalone         both in one process, for one box
  router check                say what would run, and every mistake in the configuration
  router init [FILE]          write a commented router.yaml; - or --stdout prints it
  router health               exit 0 if the router of this configuration takes calls, else 1
  router models               list the models of a running router, and what agents do with theirs
  router agents               list the agents of a running router
  router agents invite        make a token for agents; prints the line to paste on a GPU host
  router explain MODEL        where a running router would send a call, and why; --file gives the call's body
  router init --schema        print the JSON Schema of router.yaml

Flags
  --config FILE     configuration (else ROUTER_CONFIG, else ./router.yaml where there is one)
  --env-file FILE   KEY=VALUE lines; variables that are set already win
  --host ADDRESS    address to listen on
  --port PORT       port to listen on; 0 picks a free one
  --url URL         agents, models, explain: the router to ask; invite: as the GPU host reaches it
  --file FILE       explain: a request as JSON; - is stdin
  --insecure        listen beyond loopback without any key
  -v, --version     print the version
  -h, --help        print this

A flag wins over the environment, that over the file, that over the default.
Providers need only their variable: OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY,
OPENROUTER_API_KEY, XAI_API_KEY, VENICE_API_KEY, LLMD_BASE_URL, LOCAL_AGENT_URL.

Exit codes: 0 good, 1 it can't run or start, 2 the command line is wrong.
`;
