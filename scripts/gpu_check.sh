#!/usr/bin/env bash
# Checks the head and training on this machine's NVIDIA GPU: first the theorems of gpu_tests, for every kernel, the head
# and training of r18, also on ranks that share the GPU; then speed: a table of whole training steps beside PyTorch's, and
# the head compared with plain LibTorch and with the card's own ceilings. Takes minutes; most of them go into torch.compile.
#
#   scripts/gpu_check.sh [--sanitize | --profile | --steps [OPTIONS]]
#
# It needs nvcc, CMake, a C++ compiler, PyTorch 2.11 or later in `python3`, and GoogleTest, and downloads nothing. A
# folder that holds GoogleTest's include/ and lib/ may be carried here and named by GTest_ROOT. With --sanitize the kernels
# also run under compute-sanitizer; with --profile there are only tables of how long the head's GEMMs and each kernel of a
# step take, of the head's and of training's; with --steps there is only the table of whole steps, or a part of it: the
# options are those of bench/whole_steps.py (--networks r50). Exit status 77: no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

sanitize=no part=all
case "${1:-}" in
  '') ;;
  --sanitize) sanitize=yes ;;
  --profile) part=profile ;;
  --steps) part=steps; shift ;;
  -h|--help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "gpu_check.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
esac

if [ $sanitize = yes ] && ! command -v compute-sanitizer >/dev/null; then
  echo "gpu_check.sh: compute-sanitizer is not in PATH: it comes with the CUDA toolkit, or by itself as" \
       "nvidia-cuda-sanitizer-api of PyPI" >&2
  exit 2
fi
libtorch=${PFC_LIBTORCH:-$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2>/dev/null || true)}
if [ -z "$libtorch" ]; then
  echo "gpu_check.sh: python3 has no torch: it needs PyTorch 2.11 or later there, or PFC_LIBTORCH=/path/to/libtorch" >&2
  exit 2
fi
generator=$(command -v ninja >/dev/null && echo Ninja || echo 'Unix Makefiles')
arch=native
nvidia-smi >/dev/null 2>&1 || arch='80;90'  # built all the same, then says that there is no GPU
echo "== Building, a minute on 16 cores (build/gpu_check/build.log)"
mkdir -p build/gpu_check
cmake -S . -B build/gpu_check -G "$generator" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CUDA_ARCHITECTURES=$arch" \
      -DPFC_GPU_CHECK=ON -DPFC_LIBTORCH="$libtorch" >build/gpu_check/configure.log ||
  { cat build/gpu_check/configure.log; exit 1; }
cmake --build build/gpu_check --parallel >build/gpu_check/build.log 2>&1 || { tail -60 build/gpu_check/build.log; exit 1; }

case $part in
  profile) exec build/gpu_check/bin/gpu_check --profile ;;
  steps) exec python3 bench/whole_steps.py build/gpu_check/bin/gpu_check "$@" ;;
esac
failed=
build/gpu_check/bin/gpu_tests || { [ $? -ne 77 ] || exit 77; failed=gpu_tests; }
for ranks in 2 4; do
  echo "== $ranks ranks that share the GPU"
  tests/start_ranks.sh $ranks build/gpu_check/bin/gpu_tests --gtest_brief=1 '--gtest_filter=RanksGpuTraining.*' ||
    failed="$failed RanksGpuTraining"
done
python3 bench/whole_steps.py build/gpu_check/bin/gpu_check || failed="$failed whole_steps.py"
build/gpu_check/bin/gpu_check || failed="$failed gpu_check"
if [ -n "$failed" ]; then
  echo "CHECKS FAILED: see above what these say: $failed"
  exit 1
fi
echo "all checks passed"
if [ $sanitize = yes ]; then
  for tool in memcheck racecheck; do
    echo "== compute-sanitizer, $tool"
    compute-sanitizer --tool $tool --error-exitcode 1 \
      build/gpu_check/bin/gpu_tests --gtest_brief=1 '--gtest_filter=Kernels.*:GpuKernels.*:StagedTable.*' | tail -3
  done
fi
