/** `router init --systemd`, `--systemd-socket` and `--compose`: what starts the router, the agent or both at boot. Pure text. */
import type { Role } from "../config/overlay.ts";
import { handedOnVariables } from "./upstream-variables.ts";

/** A service as both files name it. */
interface Service {
	readonly name: string;
	readonly description: string;
	/** Of `router`, besides none. */
	readonly flags: readonly string[];
	readonly drivesDocker: boolean;
}

const SERVICES: Record<Role, Service> = {
	router: { name: "router", description: "LLM router", flags: [], drivesDocker: false },
	agent: {
		name: "router-agent",
		description: "LLM router's agent on a GPU host",
		flags: ["--agent"],
		drivesDocker: true,
	},
	standalone: {
		name: "router",
		description: "LLM router with its agent",
		flags: ["--standalone"],
		drivesDocker: true,
	},
};

/** Path of the binary when this process is not it (run from source). */
export const INSTALLED = "/usr/local/bin/router";

/** The longest that a stop takes by default: 5 s with /health/ready off, 10 min for running calls, and a margin. */
const STOP = "11min";

/** A unit of systemd 247 or newer. `binary`: absolute path of `router`. */
export function systemdUnit(role: Role, binary: string): string {
	const { name, description, flags, drivesDocker } = SERVICES[role];
	const flag = flags.map((word) => ` ${word}`).join("");
	return `# /etc/systemd/system/${name}.service
#
#   router init --systemd${flag} | sudo tee /etc/systemd/system/${name}.service
#   sudo systemctl daemon-reload
#   sudo systemctl enable --now ${name}
#
# Settings: /etc/router/router.yaml, readable for all. Secrets: KEY=VALUE lines in /etc/router/${name}.env, for root alone.
# State: /var/lib/${name}. Logs: /var/log/${name}, and \`journalctl -u ${name}\`.
${drivesDocker ? "# It needs Docker's group to exist: whoever is in it is as good as root on this host.\n" : ""}
[Unit]
Description=${description}
Wants=network-online.target${drivesDocker ? " docker.service" : ""}
After=network-online.target${drivesDocker ? " docker.service" : ""}

[Service]
${role === "agent" ? "Type=exec" : "# The router says when it is ready, and which process is the main one after `router upgrade`.\nType=notify"}
ExecStart=${quoted(binary)}${flag}
# \`systemctl reload\`: the configuration is read again.
ExecReload=kill -HUP $MAINPID
# router.yaml is looked for here; without one the environment is enough.
WorkingDirectory=-/etc/router
EnvironmentFile=-/etc/router/${name}.env
${drivesDocker ? `Environment=HF_HOME=/var/lib/${name}/huggingface\n` : ""}Restart=always
RestartSec=1
# SIGTERM to the router alone: it lets running calls finish. Models' containers stay.
KillMode=mixed
TimeoutStopSec=${STOP}
# Two sockets a call.
LimitNOFILE=131072
DynamicUser=yes
${drivesDocker ? "SupplementaryGroups=docker\n" : ""}ConfigurationDirectory=router
StateDirectory=${name}
LogsDirectory=${name}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
${drivesDocker ? "" : "PrivateDevices=yes\n"}ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy=multi-user.target
`;
}

/** A unit of the router's port, which systemd opens and keeps while the router restarts. */
export function systemdSocket(): string {
	return `# /etc/systemd/system/router.socket, beside router.service
#
#   router init --systemd-socket | sudo tee /etc/systemd/system/router.socket
#   sudo systemctl daemon-reload
#   sudo systemctl stop router
#   sudo systemctl enable --now router.socket router
#
# systemd keeps the port open: while the router restarts connections wait, and none is refused. To stop it all: sudo systemctl stop router.socket router

[Unit]
Description=LLM router's port

[Socket]
# What router.yaml or the environment names: \`server.host\` and \`server.port\`, or HOST and PORT.
ListenStream=127.0.0.1:8000
FileDescriptorName=router
Backlog=4096

[Install]
WantedBy=sockets.target
`;
}

/** A compose file for `docker compose` (or docker-compose 1.29), around the image of this repository's Dockerfile. */
export function composeFile(role: Role): string {
	return role === "router" ? routerCompose() : agentCompose(SERVICES[role]);
}

function routerCompose(): string {
	return `# docker-compose.yml
#
#   docker build --tag router .
#   router init --compose > docker-compose.yml
#   docker compose up --detach
#
# Without any key set the router makes one on its first start and prints it once: \`docker compose logs router\`.
services:
  router:
    image: router
    restart: unless-stopped
    ports:
      - "8000:8000"
    # Passed on from the shell, or from a file .env beside this one, where they are set.
    environment:
${variables(["ROUTER_API_KEYS", "ROUTER_AGENT_TOKEN", ...handedOnVariables()])}
    volumes:
      - router-data:/data
      # Settings, once there are some: \`router init\` writes the file.
      # - ./router.yaml:/data/router.yaml:ro
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    # Running calls may finish.
    stop_grace_period: 11m

volumes:
  router-data:
`;
}

function agentCompose({ name, flags }: Service): string {
	const isStandalone = flags.includes("--standalone");
	const flag = flags.join(" ");
	const own = isStandalone
		? ["ROUTER_API_KEYS", ...handedOnVariables()]
		: ["ROUTER_AGENT_NAME", "ROUTER_ADVERTISE_URL"];
	const required = isStandalone
		? ""
		: `      ROUTER_URL: \${ROUTER_URL:?the router to join, such as http://10.0.0.5:8000}
      ROUTER_AGENT_TOKEN: \${ROUTER_AGENT_TOKEN:?the token that the router prints for "router agents invite"}
`;
	return `# docker-compose.yml
#
#   docker build --tag router .
#   router init --compose ${flag} > docker-compose.yml
#   docker compose up --detach
#
# The models run in containers beside this one: it drives the host's Docker, which makes it as good as root on this host.
services:
  ${name}:
    image: router
    command: ["${flag}"]
    restart: unless-stopped
    # Models listen on this host's loopback, and only the host's network reaches that.
    network_mode: host
    # Docker's socket is root's.
    user: "0:0"
    environment:
${required}      DATA_DIR: /var/lib/${name}
      LOG_DIR: /var/lib/${name}/logs
      # Docker mounts it into the models' containers by the host's path, so it is the same path in here.
      HF_HOME: /var/lib/${name}/huggingface
      NVIDIA_DRIVER_CAPABILITIES: utility
      # Passed on from the shell, or from a file .env beside this one, where they are set.
${variables(["HF_TOKEN", "VLLM_API_KEY", ...own], "null")}
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      # The CLI of the host; Docker's own packages link it statically.
      - /usr/bin/docker:/usr/bin/docker:ro
      - /var/lib/${name}:/var/lib/${name}
      # Settings, once there are some: \`router init\` writes the file.
      # - ./router.yaml:/data/router.yaml:ro
    healthcheck:
      test: ["CMD", "${INSTALLED}", "health", "${flag}"]
    # For nvidia-smi; leave \`deploy\` out on a host without NVIDIA GPUs.
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              count: all
              capabilities: [gpu, utility]
    stop_grace_period: 11m
`;
}

/** Names without values take them from the shell; a list of them, or (`"null"`) keys of a map. */
function variables(names: readonly string[], form: "list" | "null" = "list"): string {
	return [...new Set(names)].map((name) => (form === "list" ? `      - ${name}` : `      ${name}:`)).join("\n");
}

/** systemd splits at spaces and takes % for a specifier. */
function quoted(path: string): string {
	const plain = path.replaceAll("%", "%%");
	return /[\s"'\\;]/.test(plain) ? `"${plain.replace(/["\\]/g, "\\$&")}"` : plain;
}
