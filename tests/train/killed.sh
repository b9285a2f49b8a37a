#!/usr/bin/env bash
# Kills a training run at random instants, during saves too, resumes it each time, and compares what it ends with to a
# run that was never interrupted: every byte of the last checkpoint and of the network.
#
#   tests/train/killed.sh PFC KILLS RANKS [SEED]
#
# Exits with 77 (skipped) where RANKS is above 1 and there is no mpirun.
set -euo pipefail
pfc=$1 kills=$2 ranks=$3
RANDOM=${4:-$$}
echo "seed $RANDOM"
launch=()
if [ "$ranks" -gt 1 ]; then
  command -v mpirun >/dev/null || { echo "skipped: mpirun is not installed"; exit 77; }
  launch=(mpirun -np "$ranks" --oversubscribe)
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
folder=$(mktemp -d)
trap 'pkill -KILL -f "$folder" || true; rm -rf "$folder"' EXIT

"$pfc" data synth "$folder/faces" --identities 40 --images 6 --unseen 4 --pairs 20 >/dev/null 2>&1
cat >"$folder/run.toml" <<TOML
data = { train = "$folder/faces", workers = 1 }
model = { network = "tiny", embedding_size = 128 }
head = { sample_rate = 0.5, update = "dense_equivalent" }
train = { batch_size = 12, micro_batches = 2, steps = 40, threads = 1 }
checkpoint = { every = 2 }
log = { every = 1 }
eval = { sets = ["$folder/faces/unseen.bin"], every = 15 }
TOML
train() { "${launch[@]}" "$pfc" train "$folder/run.toml" --set "output=$folder/$1" "${@:2}"; }

train whole >"$folder/whole.log" 2>&1 || { cat "$folder/whole.log"; exit 1; }

killed=0 saving=0 finished=0
compare() {
  for file in "$folder"/whole/checkpoints/step-000000040/*.safetensors; do
    cmp "$file" "$folder/killed/checkpoints/step-000000040/${file##*/}"
  done
  cmp "$folder/whole/last.safetensors" "$folder/killed/last.safetensors"
  losses() { grep '"loss"' "$folder/$1/metrics.jsonl" | sed 's/"images_per_second.*//'; }
  diff <(losses whole) <(losses killed)
  finished=$((finished + 1))
  rm -rf "$folder/killed"
}
# A run that was killed before its first checkpoint has a log that --resume would not write over.
forget_without_checkpoint() {
  compgen -G "$folder/killed/checkpoints/step-*[0-9]" >/dev/null || rm -rf "$folder/killed"
}
while [ "$killed" -lt "$kills" ]; do
  forget_without_checkpoint
  train killed --resume >>"$folder/killed.log" 2>&1 &
  launcher=$!
  # Anywhere in the start, the steps and the saves.
  sleep "$((RANDOM % 2)).$(printf '%03d' $((RANDOM % 1000)))"
  if pkill -KILL -f "set output=$folder/killed"; then
    killed=$((killed + 1))
    if compgen -G "$folder/killed/checkpoints/*.partial" >/dev/null; then saving=$((saving + 1)); fi
    wait "$launcher" 2>/dev/null || true
  else  # it got through: the rest of the kills are for another run
    wait "$launcher"
    compare
  fi
done
forget_without_checkpoint
train killed --resume >>"$folder/killed.log" 2>&1
compare

if grep -q 'cannot be used' "$folder/killed.log"; then
  grep 'cannot be used' "$folder/killed.log"
  echo "FAILED: a kill left a checkpoint that is not whole"
  exit 1
fi
echo "killed $killed times, $saving of them while a checkpoint was written, and resumed" \
  "$(grep -c '^resumed after' "$folder/killed.log") times: $finished runs, every byte as if never interrupted"
