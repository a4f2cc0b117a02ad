# Ends one private Docker Engine of the tests and everything of it. Runs beside it from the start and waits for the end
# of its standard input, so that a test run that was killed leaves nothing either. $DIR: all of the engine's files;
# $BRIDGE: its network; $CGROUP: the parent of its containers.
cat >/dev/null

pid() { cat "$1" 2>/dev/null || true; }
gone() { # process, tenths of a second to wait
	n=0
	while kill -0 "$1" 2>/dev/null && [ "$n" -lt "$2" ]; do sleep 0.1; n=$((n + 1)); done
	! kill -0 "$1" 2>/dev/null
}
# Its daemon, containerd and shims all name a file below $DIR; this script doesn't, nor the grep, which reads it.
mine() { printf '%s/\n' "$DIR" | grep -lsFf - /proc/[0-9]*/cmdline | tr -dc '0-9\n'; }

daemon=$(pid "$DIR/docker.pid")
if [ -n "$daemon" ]; then
	# A test may have stopped it.
	kill -CONT "$daemon" 2>/dev/null
	# Containers first: the daemon would give each ten seconds.
	for init in "$DIR"/exec/containerd/daemon/io.containerd.runtime.v2.task/moby/*/init.pid; do
		[ -f "$init" ] && kill -KILL "$(cat "$init")" 2>/dev/null
	done
	kill -TERM "$daemon" 2>/dev/null
	gone "$daemon" 100 || kill -KILL "$daemon" 2>/dev/null
fi
for init in "$DIR"/exec/containerd/daemon/io.containerd.runtime.v2.task/moby/*/init.pid; do
	[ -f "$init" ] && kill -KILL "$(cat "$init")" 2>/dev/null
done
for process in $(mine); do kill -KILL "$process" 2>/dev/null; done
for process in $(mine); do gone "$process" 20; done

# The last mounted first.
awk -v dir="$DIR/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
	umount -l "$mount"
done
ip link delete "$BRIDGE" 2>/dev/null
# Networks that were made besides: their bridges have the beginnings of their ids for names.
for id in $(grep -aoE '"id":"[0-9a-f]{64}"' "$DIR/data/network/files/local-kv.db" 2>/dev/null | cut -c7-18 | sort -u); do
	ip link delete "br-$id" 2>/dev/null
done
find /sys/fs/cgroup -depth -type d -path "*/$CGROUP*" -exec rmdir {} \; 2>/dev/null
rm -rf --one-file-system "$DIR"

left=""
[ -e "$DIR" ] && left="$left files in $DIR,"
[ -e "/sys/class/net/$BRIDGE" ] && left="$left the bridge $BRIDGE,"
[ -n "$(mine)" ] && left="$left processes $(mine | tr '\n' ' '),"
[ -z "$left" ] || { echo "left behind:${left%,}" >&2; exit 1; }
