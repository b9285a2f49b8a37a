#!/usr/bin/env bash
# Checks the format of every C++ file, and with clang-tidy the sources of a build folder's compile_commands.json.
#
#   scripts/lint.sh [BUILD]      build/dev, which must be configured; --format only checks the format
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== format"
git ls-files '*.cpp' '*.h' | xargs clang-format --dry-run -Werror
if [ "${1:-}" = --format ]; then exit; fi

build=${1:-build/dev}
echo "== clang-tidy, $build"
git ls-files 'src/*.cpp' 'apps/*.cpp' | xargs -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet 2>/dev/null
