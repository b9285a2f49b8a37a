#!/usr/bin/env bash
# Sets up and runs every check: format and clang-tidy, the sanitizer build with its tests and each fuzz target for a
# while, then the whole suite.
#
#   scripts/test.sh [--fast | --slow]     --slow adds the tests that need many minutes; --fast builds the preset dev and
#                                         runs what needs no other program: under three minutes after the build
#
# PFC_FACES and PFC_FIXTURES name the folders of real faces and of network fixtures; tests that need them skip without.
# PFC_FUZZ_SECONDS is how long each fuzz target runs (10).
set -euo pipefail
cd "$(dirname "$0")/.."

labels=(-LE slow) lint=()
jobs=$(($(nproc) + 1))  # some tests wait for processes that they have stopped or killed
case "${1:-}" in
  --fast)
    scripts/setup.sh --preset dev
    export OMP_WAIT_POLICY=passive GTEST_BRIEF=1
    build/dev/bin/portable_tests
    GTEST_TOTAL_SHARDS=$(nproc)
    export GTEST_TOTAL_SHARDS
    for suite in core torch; do
      echo "== ${suite}_tests"
      # By xargs: what a shell starts in the background ignores Ctrl-C, and a test is about that.
      seq 0 $((GTEST_TOTAL_SHARDS - 1)) |
        xargs -P "$GTEST_TOTAL_SHARDS" -I '{}' env GTEST_SHARD_INDEX='{}' "build/dev/bin/${suite}_tests"
    done
    exec python3 tests/setup/folder_order.py . ;;
  "") ;;
  --slow) labels=() lint=(--all) ;;
  -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "test.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
esac

scripts/lint.sh "${lint[@]}"
scripts/setup.sh --preset asan-ubsan
echo "== tests under the address and undefined-behaviour sanitizers"
ctest --preset asan-ubsan -j "$jobs" --quiet --output-log build/asan-ubsan/tests.log "${labels[@]}" ||
  { tail -n 60 build/asan-ubsan/tests.log; exit 1; }
tail -n 3 build/asan-ubsan/tests.log

scripts/fuzz.sh "${PFC_FUZZ_SECONDS:-10}"

scripts/setup.sh --preset dev
echo "== all tests"
ctest --preset dev -j "$jobs" "${labels[@]}"
echo "== what was skipped inside of suites, and why"
grep -h -A1 ': Skipped$' build/dev/Testing/Temporary/LastTest.log | grep -v -e '^--$' || true
if [ -e build/dev/python/pytest.log ]; then tail -n 1 build/dev/python/pytest.log; fi  # of Python.Tests
