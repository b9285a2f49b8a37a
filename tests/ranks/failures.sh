#!/usr/bin/env bash
# One of three ranks fails while they train: all must end within ten seconds, and say why.
#
#   tests/ranks/failures.sh killed|raises|full_disk|stuck|slow PFC [PYTHON]
#
# mpirun starts the ranks, or torchrun if a PYTHON with torch is given (killed, raises). PFC_DEVICE=cuda: they share a GPU.
#
# killed: a rank gets SIGKILL. raises: one rank meets a broken image that is one too many. full_disk: the disk is full
# when a model is saved. stuck: a rank is stopped, and the others have a timeout. slow: a rank reads for longer than the
# timeout, and nobody fails. Exits with 77 (skipped) where there is no mpirun, or no right to mount a small disk.
set -euo pipefail
case=$1 pfc=$2 python=${3:-}
if [ -n "$python" ]; then
  "$python" -c 'import torch.distributed.run' 2>/dev/null || { echo "skipped: $python has no torch"; exit 77; }
  start=("$python" -m torch.distributed.run --no-python --standalone --nproc-per-node 3)
else
  command -v mpirun >/dev/null || { echo "skipped: mpirun is not installed"; exit 77; }
  start=(mpirun -np 3 --oversubscribe)
fi
if [ "$case" = full_disk ] && [ "${PFC_MAY_MOUNT:-}" != yes ]; then
  unshare --mount true 2>/dev/null || { echo "skipped: unshare --mount is not permitted here"; exit 77; }
  exec unshare --mount env PFC_MAY_MOUNT=yes "$0" "$@"
fi

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
folder=$(mktemp -d)
launcher=
clean_up() {
  if [ -n "$launcher" ]; then kill -KILL "$launcher" 2>/dev/null || true; fi
  pkill -KILL -f "$folder" 2>/dev/null || true
  umount "$folder/disk" 2>/dev/null || true
  rm -rf "$folder"
}
trap clean_up EXIT

"$pfc" data synth "$folder/faces" --identities 12 --images 5 --unseen 4 --pairs 20 >/dev/null 2>&1
cat >"$folder/run.toml" <<TOML
output = "$folder/disk/run"
data = { train = "$folder/faces", workers = 1 }
model = { network = "tiny", embedding_size = 64 }
train = { batch_size = 6, steps = 1000000, threads = 1, timeout = 600, device = "${PFC_DEVICE:-auto}" }
log = { every = 1 }
TOML
mkdir "$folder/disk"

begin() {
  "${start[@]}" "$pfc" train "$folder/run.toml" "$@" >"$folder/log" 2>&1 &
  launcher=$!
}
# Waits until a command succeeds, as long as the run goes on.
wait_until() {
  for _ in $(seq 600); do
    if "$@"; then return; fi
    kill -0 "$launcher" 2>/dev/null || return 0
    sleep 0.1
  done
  cat "$folder/log"
  echo "FAILED: waited a minute for: $*"
  exit 1
}
has_stepped() { [ -s "$folder/disk/run/metrics.jsonl" ]; }
has_complained() { grep -q '^pfc: ' "$folder/log"; }
a_rank() { pgrep -f "^$pfc train $folder/run.toml" | sed -n "$1p"; }

# From here on all end within so many seconds, not with success, and the log says what it should.
expect_end() {
  local seconds=$1 sentence=$2 begun=$SECONDS
  while kill -0 "$launcher" 2>/dev/null; do
    if [ $((SECONDS - begun)) -gt "$seconds" ]; then
      cat "$folder/log"
      echo "FAILED: still running after $seconds s"
      exit 1
    fi
    sleep 0.1
  done
  local status=0
  wait "$launcher" || status=$?
  sed 's/^/  | /' "$folder/log" | grep -v 'step [0-9,]*/' | tail -20
  [ "$status" -ne 0 ] || { echo "FAILED: the launcher ended with status 0"; exit 1; }
  grep -Eq "$sentence" "$folder/log" || { echo "FAILED: the log does not say: $sentence"; exit 1; }
  for _ in $(seq 20); do
    if [ -z "$(a_rank 1)" ]; then break; fi
    sleep 0.1
  done
  [ -z "$(a_rank 1)" ] || { echo "FAILED: a rank is left"; exit 1; }
  [ "$(grep -c '^pfc: ' "$folder/log")" -le 1 ] || { echo "FAILED: more than one rank complains"; exit 1; }
  echo "ended within $((SECONDS - begun)) s with status $status"
}

case "$case" in
  killed)
    begin
    wait_until has_stepped
    kill -KILL "$(a_rank 2)"
    expect_end 10 'exited on signal 9|Signal 9 \(SIGKILL\)'
    ;;
  raises)
    # The first bytes of the last image's JPEG: one rank meets it, and no broken image is allowed.
    cp "$folder/faces/train.rec" "$folder/cut.rec" && cp "$folder/faces/train.idx" "$folder/cut.idx"
    last=$(awk '$1 == 60 { print $2 }' "$folder/faces/train.idx")
    printf 'no picture' | dd of="$folder/cut.rec" bs=1 seek=$((last + 32)) conv=notrunc status=none
    begin --set "data.train=$folder/cut.rec" --set data.max_corrupt_share=0
    wait_until has_complained
    expect_end 10 '^pfc: rank [012]: .* images? (was|were) corrupt, more than the share of 0 that is allowed'
    ;;
  full_disk)
    mount -t tmpfs -o size=4m none "$folder/disk"
    begin --set eval.every=2
    wait_until has_complained
    expect_end 10 '^pfc: rank [012]: .*No space left on device'
    grep -q '^note: a checkpoint takes .*, and there is room for .* in' "$folder/log" ||
      { echo "FAILED: that a checkpoint has no room is not said at the start"; exit 1; }
    ;;
  stuck)
    begin --set train.timeout=3
    wait_until has_stepped
    kill -STOP "$(a_rank 2)"
    expect_end 13 '^pfc: rank [02]: .* was not joined by all ranks within 3 s'
    ;;
  slow)
    # The first rank's class map comes after more than twice the timeout; the others have theirs at once.
    "$pfc" train "$folder/run.toml" --set train.steps=1 --set "output=$folder/first" >"$folder/log" 2>&1
    seq 0 11 | sed 's/.*/&,&/' >"$folder/map.csv"
    # shellcheck disable=SC2016
    mpirun -np 3 --oversubscribe bash -c '
        if [ "$OMPI_COMM_WORLD_RANK" = 0 ]; then (sleep 5; cat "$0") | "$@"; else "$@" <"$0"; fi' "$folder/map.csv" \
      "$pfc" train "$folder/run.toml" --set train.steps=1 --set train.timeout=2 \
      --set "init.from=$folder/first/checkpoints/step-000000001" --set init.class_map=/dev/stdin >"$folder/log" 2>&1 ||
      { cat "$folder/log"; echo "FAILED: a rank was not waited for"; exit 1; }
    ;;
  *)
    echo "failures.sh: unknown case $case" >&2
    exit 2
    ;;
esac
