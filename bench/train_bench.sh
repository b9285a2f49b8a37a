#!/usr/bin/env bash
# Training steps here against the same ones in PyTorch, in turn so that both meet the same machine: images a second,
# the medians, and their ratio. Batches of 128 images for tiny, of 32 for the others.
#   bench/train_bench.sh PYTHON BINARY [NETWORK [THREADS [STEPS [ROUNDS [TRAIN.rec]]]]]
# PYTHON has torch, as ~/.cache/pfc/libtorch-2.11.0/bin/python; BINARY is build/dev/bin/train_bench; NETWORK is tiny, r18,
# r50 or mbf. With a TRAIN.rec ours decodes its images in the measured time; PyTorch's images always lie in memory.
set -euo pipefail
if (($# < 2)); then
  sed -n '2,6s/^# \?//p' "$0" >&2
  exit 2
fi
python=$1 binary=$2 network=${3:-tiny} threads=${4:-2} steps=${5:-10} rounds=${6:-5} rec=(${7:+"$7"})
here=$(dirname "$0")

median() { sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

ours=() torch=() contiguous=()
for ((round = 1; round <= rounds; ++round)); do
  ours+=("$("$binary" "$network" "$threads" "$steps" "${rec[@]}")")
  torch+=("$("$python" "$here/train_bench.py" "$network" "$threads" "$steps" channels_last)")
  contiguous+=("$("$python" "$here/train_bench.py" "$network" "$threads" "$steps" contiguous)")
  echo "round $round: here ${ours[-1]}, PyTorch channels_last ${torch[-1]}, contiguous ${contiguous[-1]} images/s"
done
a=$(printf '%s\n' "${ours[@]}" | median)
b=$(printf '%s\n' "${torch[@]}" | median)
c=$(printf '%s\n' "${contiguous[@]}" | median)
awk -v n="$network" -v a="$a" -v b="$b" -v c="$c" 'BEGIN {
  best = b > c ? b : c
  printf "%s: here %.1f images/s, PyTorch %.1f (its best memory format): %.2f times\n", n, a, best, a / best }'
