# Sourced by the tests of whole runs on several ranks. Losses of five steps, side by side.

losses() { sed -n 's/.*"loss":\([0-9.e+-]*\).*/\1/p' "$1/metrics.jsonl"; }

# same_losses RUN OTHER: prints the losses of both folders' runs and ends the test where they differ by more than rounding.
same_losses() {
  local both
  both=$(paste <(losses "$1") <(losses "$2"))
  echo "$both"
  awk 'function abs(x) { return x < 0 ? -x : x }
       { n++; if (abs($1 - $2) > 1e-3 * $1) bad = 1 }
       END { exit n != 5 || bad }' <<<"$both" || { echo "FAILED: the losses differ"; exit 1; }
}
