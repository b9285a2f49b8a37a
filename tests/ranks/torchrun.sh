#!/usr/bin/env bash
# Three ranks that torchrun starts train as three that mpirun starts: the losses are the same up to rounding. A rank that
# finds nobody, and two launchers at once, are told in one sentence.
#
#   tests/ranks/torchrun.sh PFC PYTHON
#
# Exits with 77 (skipped) where there is no mpirun, or PYTHON has no torch.
set -euo pipefail
pfc=$1 python=$2
command -v mpirun >/dev/null || { echo "skipped: mpirun is not installed"; exit 77; }
"$python" -c 'import torch.distributed.run' 2>/dev/null || { echo "skipped: $python has no torch"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
torchrun() { "$(dirname "$0")/../torchrun.sh" "$python" "$@"; }

"$pfc" data synth "$folder/faces" --identities 12 --images 5 --unseen 4 --pairs 20 >/dev/null 2>&1
cat >"$folder/run.toml" <<TOML
data = { train = "$folder/faces", workers = 1 }
model = { network = "tiny", embedding_size = 64, sync_bn = true }
schedule = { lr = 0.01 }
train = { batch_size = 9, steps = 5, threads = 1, timeout = 60 }
log = { every = 1 }
eval = { sets = "$folder/faces/unseen.bin" }
TOML

mpirun -np 3 --oversubscribe "$pfc" train "$folder/run.toml" --set "output=$folder/mpi" >"$folder/log" 2>&1
torchrun 3 "$pfc" train "$folder/run.toml" --set "output=$folder/gloo" >"$folder/log" 2>&1 ||
  { cat "$folder/log"; echo "FAILED: torchrun's ranks do not train"; exit 1; }
grep -q 'ranks: 3 on' "$folder/log" || { cat "$folder/log"; echo "FAILED: not on three ranks"; exit 1; }

source "$(dirname "$0")/losses.sh"
same_losses "$folder/mpi" "$folder/gloo"
[ -s "$folder/gloo/checkpoints/step-000000005/centers-00003-of-00003.safetensors" ] ||
  { echo "FAILED: the third rank saved no class centres"; exit 1; }

# expect SENTENCE COMMAND...: the command fails and says the sentence, and not much else.
expect() {
  local sentence=$1
  shift
  if "$@" >"$folder/log" 2>&1; then echo "FAILED: it does not fail: $*"; exit 1; fi
  grep '^pfc: ' "$folder/log" | tee "$folder/said"
  grep -Eq "$sentence" "$folder/said" || { cat "$folder/log"; echo "FAILED: it does not say: $sentence"; exit 1; }
  [ "$(wc -l <"$folder/said")" -eq 1 ] || { echo "FAILED: it says more than one sentence"; exit 1; }
}
# shellcheck disable=SC2086
alone="RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=1"
expect 'rank 1: did not meet the other ranks at 127.0.0.1:1, where rank 0' \
  env $alone "$pfc" train "$folder/run.toml" --set train.timeout=2 --set "output=$folder/none"
expect 'rank 2 of 2' env $alone RANK=2 "$pfc" train "$folder/run.toml" --set "output=$folder/none"
expect 'started by mpirun and by torchrun' \
  torchrun 1 mpirun -np 1 "$pfc" train "$folder/run.toml" --set "output=$folder/none"
