#!/usr/bin/env bash
# Compiles the files that are written for several instruction sets for 64-bit ARM (NEON). They are not run: that would
# need such a processor.
#
#   tests/setup/compile_for_arm.sh SOURCE DEFINITIONS
#
# DEFINITIONS are Highway's, separated by semicolons. Exits with 77 (skipped) where there is no compiler for it.
set -euo pipefail
source=$1 definitions=$2

compiler=aarch64-linux-gnu-g++
command -v "$compiler" >/dev/null || { echo "skipped: $compiler is not installed"; exit 77; }
flags=(-std=c++20 -O2 -Wall -Wextra -Werror -I"$source/include" -I"$source/src" -idirafter /usr/include)
IFS=';' read -ra names <<<"$definitions"
for name in "${names[@]}"; do flags+=("-D$name"); done

for file in head/kernels/kernels_cpu.cpp model/batch_norm_kernels.cpp; do
  "$compiler" "${flags[@]}" -c "$source/src/$file" -o /dev/null
  echo "$file: compiled for NEON, not run"
done
