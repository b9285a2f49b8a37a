#!/usr/bin/env bash
# Two "hosts", each a network namespace with a host name of its own, joined by a virtual cable: a rank on each trains with
# the other through MPI over TCP, and the loss is that of one rank.
#
#   tests/ranks/two_hosts.sh PFC
#
# Exits with 77 (skipped) where there is no mpirun or no right to make namespaces.
set -euo pipefail
pfc=$1
command -v mpirun >/dev/null || { echo "skipped: mpirun is not installed"; exit 77; }
command -v ip >/dev/null || { echo "skipped: ip (iproute2) is not installed"; exit 77; }
if [ "${PFC_IN_NAMESPACE:-}" != yes ]; then
  unshare --mount --net --uts true 2>/dev/null || { echo "skipped: namespaces are not permitted here"; exit 77; }
  exec unshare --mount --net --uts env PFC_IN_NAMESPACE=yes "$0" "$@"
fi

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT

# Host a is this namespace; host b is that of a process that sleeps.
hostname host-a
unshare --net --uts sleep infinity &
other=$!
for _ in $(seq 50); do
  if [ "$(readlink "/proc/$other/ns/net")" != "$(readlink /proc/self/ns/net)" ]; then break; fi
  sleep 0.1
done
on_b() { nsenter --target "$other" --net --uts "$@"; }
on_b hostname host-b
ip link add cable-a type veth peer name cable-b
ip link set cable-b netns "$other"
ip addr add 10.77.0.1/24 dev cable-a
on_b ip addr add 10.77.0.2/24 dev cable-b
ip link set lo up && ip link set cable-a up
on_b ip link set lo up && on_b ip link set cable-b up
printf '127.0.0.1 localhost\n10.77.0.1 host-a\n10.77.0.2 host-b\n' >"$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts

# What mpirun calls where it would call ssh: agent HOST COMMAND…
cat >"$folder/agent" <<AGENT
#!/bin/sh
shift
exec nsenter --target $other --net --uts sh -c "\$*"
AGENT
chmod +x "$folder/agent"

"$pfc" data synth "$folder/faces" --identities 12 --images 5 --unseen 4 --pairs 20 >/dev/null 2>&1
cat >"$folder/run.toml" <<TOML
data = { train = "$folder/faces", workers = 1 }
model = { network = "tiny", embedding_size = 64, sync_bn = true }
schedule = { lr = 0.01 }
train = { batch_size = 8, steps = 5, threads = 1, timeout = 60 }
log = { every = 1 }
eval = { sets = "$folder/faces/unseen.bin" }
TOML
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun -np 2 --host host-a:1,host-b:1 --mca plm_rsh_agent "$folder/agent" --mca pml ob1 --mca btl tcp,self \
  --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
  "$pfc" train "$folder/run.toml" --set "output=$folder/two" 2>&1 | tee "$folder/log"
"$pfc" train "$folder/run.toml" --set "output=$folder/one" 2>/dev/null

grep -q 'ranks: 2 on 2 machines' "$folder/log" || { echo "FAILED: not on two machines"; exit 1; }
sent=$(ip -s link show cable-a | awk '/TX:/ { getline; print $1 }')
echo "through the cable, from host-a: $sent bytes"
[ "$sent" -gt 10000000 ] || { echo "FAILED: the gradients did not go through the cable"; exit 1; }

source "$(dirname "$0")/losses.sh"
same_losses "$folder/one" "$folder/two"
[ -s "$folder/two/checkpoints/step-000000005/centers-00002-of-00002.safetensors" ] ||
  { echo "FAILED: the second host saved no class centres"; exit 1; }
