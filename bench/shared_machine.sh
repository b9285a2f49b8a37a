#!/usr/bin/env bash
# Measures how threads that wait for each other behave on a machine that others use: steps of training (tiny) and of the
# head (a million identities, all sampled) on all cores, alone and beside one busy process for each core, which leaves half
# of the machine. Each runs with the waiting that our programs set and with OpenMP's own default, in turn.
#   bench/shared_machine.sh BINARIES [ROUNDS [STEPS]]
# BINARIES is build/dev/bin. Prints the medians of the steps a second, and of two ratios taken in each round: alone, ours
# divided by OpenMP's default (should be at least 0.98); beside the others, ours divided by half of its speed alone (should
# be at least 0.80).
set -euo pipefail
if (($# < 1)); then
  sed -n '2,8s/^# \?//p' "$0" >&2
  exit 2
fi
binaries=$1 rounds=${2:-5} steps=${3:-10}
cores=$(nproc)

busy=()
release() { if ((${#busy[@]})); then kill "${busy[@]}" && wait "${busy[@]}" || true; fi 2>/dev/null; busy=(); }
trap release EXIT
occupy() { for ((i = 0; i < cores; ++i)); do (while :; do :; done) & busy+=($!); done; }

ours() { env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY "$@"; }
openmps() { env -u OMP_WAIT_POLICY GOMP_SPINCOUNT=300000 "$@"; }  # which libgomp takes where nothing is set

train() { "$1" "$binaries/train_bench" tiny "$cores" "$steps" | awk '{ print $1 / 128 }'; }
head_only() {
  "$1" "$binaries/head_bench" measure --way ours --identities 1000000 --rate 1 --steps "$steps" --threads "$cores" |
    sed -n 's/.*"seconds":\([0-9.e-]*\).*/\1/p' | awk '{ print 1 / $1 }'
}

results=""
for work in train head_only; do
  for ((round = 1; round <= rounds; ++round)); do
    found=("$("$work" ours)" "$("$work" openmps)")
    occupy
    found+=("$("$work" ours)" "$("$work" openmps)")
    release
    echo "$work, round $round: alone ${found[0]} and ${found[1]}, beside others ${found[2]} and ${found[3]} steps/s" >&2
    results+="$work ${found[*]}"$'\n'
  done
done
printf %s "$results" | awk '
  function median(list, n,  i, j, t) {
    for (i = 2; i <= n; ++i) for (j = i; j > 1 && list[j - 1] > list[j]; --j) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  }
  function column(work, k,  i, list) { for (i = 1; i <= n[work]; ++i) list[i] = value[work, i, k]; return median(list, n[work]) }
  {
    i = ++n[$1]
    for (k = 1; k <= 4; ++k) value[$1, i, k] = $(k + 1)
    value[$1, i, 5] = $2 / $3
    value[$1, i, 6] = $4 / ($2 / 2)
    value[$1, i, 7] = $5 / ($3 / 2)
  }
  END {
    print "steps/s      alone: ours  OpenMP  ratio    beside others: ours  OpenMP  of the fair share: ours  OpenMP"
    for (work in n)
      printf "%-12s %11.3f %7.3f %6.3f %22.3f %7.3f %24.2f %7.2f\n", work, column(work, 1), column(work, 2), column(work, 5),
             column(work, 3), column(work, 4), column(work, 6), column(work, 7)
  }'
