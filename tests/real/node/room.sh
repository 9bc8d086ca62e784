#!/bin/sh
# The first process of a node's room: a network, mounts and process ids of its own, which end with it.
#   unshare --mount --net --pid --fork --kill-child room.sh FOLDER [BESIDES]
# Writes FOLDER/pid, as the machine counts, once the room is ready.
# BESIDES is laid beneath /usr: the programs in it are found as if they were installed.
set -eu
folder=$1
read -r pid _ </proc/self/stat # /proc is still the machine's
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
[ -z "${2:-}" ] || mount -t overlay -o "lowerdir=/usr:$2" overlay /usr

# The kubelet insists on these; it is given copies to write to, as the real ones are the whole machine's.
mkdir -p "$folder/sysctl"
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  copy=$folder/sysctl/$(basename "$name")
  cat "/proc/sys/$name" >"$copy"
  mount --bind "$copy" "/proc/sys/$name"
done
echo 1 >/proc/sys/net/ipv4/ip_forward

echo "$pid" >"$folder/pid.new"
mv "$folder/pid.new" "$folder/pid"
# What loses its parent becomes a child of this one: ignored, it is reaped by the kernel.
trap '' CHLD
exec sleep infinity
