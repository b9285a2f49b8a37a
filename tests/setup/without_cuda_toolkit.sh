#!/usr/bin/env bash
# A release build, from configuring to running, on this machine with its CUDA toolkit hidden.
#
#   tests/setup/without_cuda_toolkit.sh SOURCE LIBTORCH BUILD
#
# Exits with 77 (skipped) where there is no right to hide a folder.
set -euo pipefail
source=$1 libtorch=$2 build=$3

if [ "${PFC_HIDDEN:-}" != yes ]; then
  unshare --mount true 2>/dev/null || { echo "skipped: unshare --mount is not permitted here"; exit 77; }
  exec unshare --mount env PFC_HIDDEN=yes "$0" "$@"
fi

for toolkit in /usr/local/cuda* /opt/cuda* /usr/lib/cuda; do
  if [ -d "$toolkit" ] && [ ! -L "$toolkit" ]; then mount -t tmpfs none "$toolkit"; fi
done
unset CUDA_HOME CUDA_PATH CUDACXX
if command -v nvcc >/dev/null; then echo "skipped: $(command -v nvcc) cannot be hidden"; exit 77; fi

cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPFC_TESTS=OFF -DPFC_BENCH=OFF \
  -DPFC_LIBTORCH="$libtorch" >/dev/null
cmake --build "$build"
"$build/bin/pfc" --version
