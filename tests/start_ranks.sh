#!/usr/bin/env bash
# Runs a command on N ranks of this machine, which meet as those of torchrun do, without torchrun or mpirun.
#
#   tests/start_ranks.sh N COMMAND [ARGUMENT…]
#
# The first rank to fail ends the others.
set -euo pipefail
ranks=$1
shift
export WORLD_SIZE=$ranks LOCAL_WORLD_SIZE=$ranks MASTER_ADDR=127.0.0.1 MASTER_PORT=$((20000 + $$ % 10000))
processes=()
trap 'kill "${processes[@]}" 2>/dev/null || true' EXIT
for ((rank = 0; rank < ranks; ++rank)); do
  RANK=$rank LOCAL_RANK=$rank "$@" &
  processes+=($!)
done
for _ in "${processes[@]}"; do wait -n; done
