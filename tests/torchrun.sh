#!/usr/bin/env bash
# Runs a command on N ranks of this machine that torchrun starts.
#
#   tests/torchrun.sh PYTHON N COMMAND [ARGUMENT…]
#
# Exits with 77 (skipped) where PYTHON has no torch.
set -euo pipefail
python=$1 ranks=$2
shift 2
"$python" -c 'import torch.distributed.run' 2>/dev/null || { echo "skipped: $python has no torch"; exit 77; }
exec "$python" -m torch.distributed.run --no-python --standalone --nproc-per-node "$ranks" "$@"
