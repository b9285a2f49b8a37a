#!/usr/bin/env bash
# Runs every fuzz target for a number of seconds, as many at a time as there are cores.
#
#   scripts/fuzz.sh [SECONDS]     30 by default; a crashing input is kept in build/fuzz/crashes
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-30}
mkdir -p build/fuzz/crashes build/fuzz/logs
fuzz_one() {
  local target=$1 seconds=$2 name
  name=$(basename "$target")
  local corpus=build/fuzz/corpus/$name
  mkdir -p "$corpus"
  if "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -artifact_prefix=build/fuzz/crashes/ \
      "$corpus" >"build/fuzz/logs/$name.log" 2>&1; then
    echo "$name: clean, $(grep -oE 'Done [0-9]+ runs' "build/fuzz/logs/$name.log" | tail -n 1)"
  else
    echo "$name: FAILED, see build/fuzz/logs/$name.log"
    tail -n 40 "build/fuzz/logs/$name.log"
    return 1
  fi
}
export -f fuzz_one
echo "== fuzzing, $seconds s a target"
printf '%s\n' build/asan-ubsan/bin/fuzz_* | xargs -P "$(nproc)" -I{} bash -c "fuzz_one {} $seconds"
