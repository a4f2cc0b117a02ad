#!/bin/sh
# Bun.serve ignores the descriptor of a listening socket, and process.execve closes it.
#
# Seen with @oven/bun-linux-x64 1.4.5 on 2026-12-01.
# The guess: `Bun.serve({ fd })` answers on a socket that systemd has opened, as `Bun.listen({ fd })` accepts on it, and a process that replaces
# itself (process.execve) has it still, as any descriptor without FD_CLOEXEC. What is so: Bun.serve listens on a port of its own, and
# process.execve closes every descriptor behind 2, whatever its flags.
# Output seen:
#   served on another port
#   descriptor 9 before: yes, after: no
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true }' >package.json
npm install --ignore-scripts --no-audit --no-fund --force --silent @oven/bun-linux-x64@1.4.5
cat >serve.ts <<'END'
import { readdirSync, readlinkSync } from "node:fs";
const sockets = () => readdirSync("/proc/self/fd").filter((fd) => { try { return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:"); } catch { return false; } });
const before = sockets();
const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
const fd = Number(sockets().find((each) => !before.includes(each)));
const server = Bun.serve({ fd, port: 0, hostname: "127.0.0.1", fetch: () => new Response() } as never);
console.log(server.port === listener.port ? "served on it" : "served on another port");
process.exit();
END
cat >execve.ts <<'END'
import { existsSync } from "node:fs";
const there = existsSync("/proc/self/fd/9") ? "yes" : "no";
if (process.env.BEFORE === undefined) process.execve!(process.execPath, [process.execPath, ...process.argv.slice(1)], { ...process.env, BEFORE: there } as never);
console.log(`descriptor 9 before: ${process.env.BEFORE}, after: ${there}`);
process.exit();
END
bun=node_modules/@oven/bun-linux-x64/bin/bun
served=$("$bun" serve.ts)
kept=$("$bun" execve.ts 9</dev/null)
echo "$served"
echo "$kept"
[ "$served" = "served on another port" ] || { echo "changed: Bun.serve takes it" >&2; exit 1; }
[ "$kept" = "descriptor 9 before: yes, after: no" ] || { echo "changed: it is kept" >&2; exit 1; }
