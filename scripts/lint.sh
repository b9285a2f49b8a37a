#!/usr/bin/env bash
# Checks the format of every C++ file, then sources with clang-tidy.
#
#   scripts/lint.sh [--all]      --all: also the sources that need LibTorch, and each file by itself
set -euo pipefail
cd "$(dirname "$0")/.."

preset=lint
case "${1:-}" in
  "") ;;
  --all) preset=lint-torch ;;
  -h|--help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "lint.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
esac

scripts/setup.sh --preset $preset
echo "== format"
git ls-files '*.cpp' '*.h' '*.cu' | xargs clang-format --dry-run -Werror
echo "== clang-tidy, preset $preset"
sed -n 's/^ *"file": "\(.*\.c[px][px]\)",*$/\1/p' build/$preset/compile_commands.json |
  xargs -P "$(nproc)" -n 1 clang-tidy -p build/$preset --quiet 2>/dev/null
