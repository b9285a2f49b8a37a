#!/usr/bin/env bash
# Asks a training run to end, with each of the signals that clusters and people send: it finishes the step, saves, says
# how to go on and exits with 0; resumed after the first signal, it ends as a run that was never interrupted.
#
#   tests/train/stopped.sh PFC RANKS
#
# Exits with 77 (skipped) where RANKS is above 1 and there is no mpirun.
set -euo pipefail
pfc=$1 ranks=$2
launch=() signals="TERM INT USR1 HUP" all=30 endless=100000
if [ "$ranks" -gt 1 ]; then
  command -v mpirun >/dev/null || { echo "skipped: mpirun is not installed"; exit 77; }
  # mpirun hands SIGUSR1 on; told to end, it waits this long before it tells its ranks, and again before it kills them.
  launch=(mpirun -np "$ranks" --oversubscribe --mca odls_base_sigkill_timeout 3) signals="USR1 TERM"
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
folder=$(mktemp -d)
trap 'pkill -KILL -f "$folder" || true; rm -rf "$folder"' EXIT

"$pfc" data synth "$folder/faces" --identities 40 --images 6 --unseen 4 --pairs 20 >/dev/null 2>&1
cat >"$folder/run.toml" <<TOML
data = { train = "$folder/faces", workers = 1 }
model = { network = "tiny", embedding_size = 128 }
train = { batch_size = 12, steps = $all, threads = 1 }
log = { every = 1 }
TOML
train() { exec "${launch[@]}" "$pfc" train "$folder/run.toml" --set "output=$folder/$1" "${@:2}"; }
steps_done() { grep -c '"loss"' "$folder/$1/metrics.jsonl" 2>/dev/null || true; }

(train whole) >"$folder/whole.log" 2>&1 || { cat "$folder/whole.log"; exit 1; }

steps=$all  # of the first run, which is compared; the others need only be under way
for signal in $signals; do
  run=stopped-$signal
  set -m  # or the shell makes what runs in its background ignore SIGINT
  (train "$run" --set "train.steps=$steps") >"$folder/$run.log" 2>&1 &
  set +m
  process=$!
  until [ "$(steps_done "$run")" -ge 5 ] 2>/dev/null; do
    kill -0 "$process" 2>/dev/null || { cat "$folder/$run.log"; echo "FAILED: it ended before it was asked to"; exit 1; }
    sleep 0.05
  done
  kill "-$signal" "$process"
  status=0
  wait "$process" || status=$?
  cat "$folder/$run.log"
  if [ "$ranks" -gt 1 ] && [ "$signal" = TERM ]; then status=0; fi  # mpirun's own status says that it was ended
  [ "$status" -eq 0 ] || { echo "FAILED: exit status $status after SIG$signal"; exit 1; }
  grep -q -- '--resume goes on from there' "$folder/$run.log" || { echo "FAILED: it did not say how to go on"; exit 1; }
  done=$(steps_done "$run")
  [ "$done" -lt "$steps" ] || { echo "FAILED: it did all of its steps"; exit 1; }
  [ -d "$(printf '%s/%s/checkpoints/step-%09d' "$folder" "$run" "$done")" ] || {
    echo "FAILED: step $done, the last one, is not saved"; exit 1; }
  echo "SIG$signal after step $done: saved"
  steps=$endless
done

first=stopped-${signals%% *}
(train "$first" --resume) >>"$folder/$first.log" 2>&1
cmp "$folder/whole/last.safetensors" "$folder/$first/last.safetensors"
echo "resumed, it ended as if never interrupted"
