#!/usr/bin/env bash
# Runs a command on N ranks of this machine.
#
#   tests/mpirun.sh N COMMAND [ARGUMENT…]
#
# Exits with 77 (skipped) where there is no mpirun.
set -euo pipefail
ranks=$1
shift
command -v mpirun >/dev/null || { echo "skipped: mpirun is not installed"; exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
exec mpirun -np "$ranks" --oversubscribe --tag-output "$@"
