# A host of the tests' own for Podman: a mount namespace in which the user $ID has a name and ids for containers, and Podman's files are below $DIR. It runs from
# the start and waits for the end of its standard input, so that a test run that was killed leaves nothing. `unshare --mount` is in front of it.
# $ID: the user, 0 or one whose ids up to $LAST nobody else has; $NETWORK: its network namespace; $SOURCE: this repository; $BUN: the program that runs it.
set -eu

mount --make-rprivate /
for file in passwd group subuid subgid; do
	[ -e "/etc/$file" ] || touch "/etc/$file"
	mount --bind "$DIR/etc/$file" "/etc/$file"
done
# The user may not enter the directories in which these are.
mount --bind "$SOURCE" "$DIR/source"
mount --bind "$BUN" "$DIR/bun"
# `--ipc=host` binds it; systemd has it everywhere.
mountpoint -q /dev/mqueue || { mkdir -p /dev/mqueue; mount -t mqueue mqueue /dev/mqueue; }
echo ready
cat >/dev/null

# Processes of the user, and of its containers; root's all name a file below $DIR.
mine() {
	if [ "$ID" = 0 ]; then
		printf '%s/\n' "$DIR" | grep -lsFf - /proc/[0-9]*/cmdline | tr -dc '0-9\n'
	else
		awk -v from="$ID" -v to="$LAST" '
			$1 == "State:" { isOver = $2 == "Z" }
			$1 == "Uid:" && !isOver && $2 >= from && $2 <= to { split(FILENAME, path, "/"); print path[3] }
		' /proc/[0-9]*/status 2>/dev/null
	fi
}
set +e
# Root's containers have ids of others.
[ "$ID" = 0 ] && nsenter "--net=$NETWORK" podman rm --all --force --time 0 >/dev/null 2>&1
# What ends may start something that cleans up: they are gone once none is seen three times.
try=0
empty=0
while [ "$empty" -lt 3 ] && [ "$try" -lt 100 ]; do
	left=$(mine)
	[ -n "$left" ] && empty=0 && kill -KILL $left 2>/dev/null
	[ -z "$left" ] && empty=$((empty + 1))
	sleep 0.1
	try=$((try + 1))
done
awk -v dir="$DIR/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
	umount -l "$mount"
done
rm -rf --one-file-system "$DIR"
left=""
[ -e "$DIR" ] && left="$left files in $DIR,"
[ -n "$(mine)" ] && left="$left processes $(mine | tr '\n' ' '),"
[ -z "$left" ] || { echo "left behind:${left%,}" >&2; exit 1; }
