#!/usr/bin/env bash
# Configures, builds and runs on this machine with its CUDA toolkit hidden.
#
#   tests/setup/without_cuda_toolkit.sh SOURCE LIBTORCH BUILD TARGET PROGRAM [ARGUMENT…]
#
# Exits with 77 (skipped) where there is no right to hide a folder.
set -euo pipefail
source=$1 libtorch=$2 build=$3 target=$4 program=$5

if [ "${PFC_HIDDEN:-}" != yes ]; then
  unshare --mount true 2>/dev/null || { echo "skipped: unshare --mount is not permitted here"; exit 77; }
  exec unshare --mount env PFC_HIDDEN=yes "$0" "$@"
fi

for nvcc in $(type -aP nvcc); do mount --bind /dev/null "$(readlink -f "$nvcc")"; done
for toolkit in /usr/local/cuda* /opt/cuda* /usr/lib/cuda; do
  if [ -d "$toolkit" ] && [ ! -L "$toolkit" ]; then mount -t tmpfs none "$toolkit"; fi
done
unset CUDA_HOME CUDA_PATH CUDACXX
if nvcc --version >/dev/null 2>&1; then echo "the CUDA toolkit is not hidden"; exit 1; fi

cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPFC_LIBTORCH="$libtorch" >/dev/null
cmake --build "$build" --target "$target"
"$build/bin/$program" "${@:6}"
