#!/usr/bin/env bash
# From a bare Debian 12 to a picture of what Partial FC does: sets up, draws faces, trains on them with all class
# centres and with a tenth of them, and measures the head at a million identities. After the build about five minutes
# on two cores. Everything it makes is in output/demo.
#
#   scripts/demo.sh
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  "") ;;
  -h|--help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "demo.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
esac

scripts/setup.sh
pfc=build/release/bin/pfc
demo=output/demo
rm -rf "$demo"
started=$SECONDS

echo "== Drawing faces: 15,000 images of 3,000 identities, and 1,000 pairs of 200 others"
"$pfc" data synth "$demo/faces" --identities 3000 --images 5 --unseen 200 --pairs 1000 >/dev/null

train() {  # NAME, then settings
  "$pfc" train configs/demo.toml --set output="$demo/$1" "${@:2}"
}
echo "== An untrained network, for comparison"
train untrained --set schedule.lr=0 --set train.steps=1
echo "== Training with all 3,000 class centres (r = 1.0)"
train r1.0 --set head.sample_rate=1.0
echo "== Training with a tenth of them (r = 0.1)"
train r0.1 --set head.sample_rate=0.1
echo "== The same head at 1,000,000 identities, on random embeddings"
"$pfc" bench --identities 1000000 --rates 1.0 0.1 --steps 3 | tee "$demo/bench.txt"

accuracy() { grep -o '"accuracy":[0-9.]*' "$demo/$1/metrics.jsonl" | tail -n 1 | awk -F: '{ printf "%.1f %%", 100 * $2 }'; }
# A line of the table of `pfc bench`, from its end: s/step, samples/s, memory GB, table GB.
bench() { awk -v method="$1" -v back="$2" 'index($0, method) == 1 { print $(NF - back) }' "$demo/bench.txt"; }

minutes=$(((SECONDS - started + 30) / 60))
cat <<END

                              accuracy on pairs of    the head at 1,000,000 identities
                              people never seen       seconds a step      memory
untrained                     $(printf '%-23s' "$(accuracy untrained)")
all class centres, r = 1.0    $(printf '%-23s' "$(accuracy r1.0)") $(printf '%-19s' "$(bench 'model parallel' 5)") $(bench 'model parallel' 3) GB
Partial FC, r = 0.1           $(printf '%-23s' "$(accuracy r0.1)") $(printf '%-19s' "$(bench 'Partial FC' 5)") $(bench 'Partial FC' 3) GB

The faces are drawn, which is easier than photographs. With 1,000 pairs, differences below about 2 points mean nothing.
At both rates the memory holds the class centres and their momentum; everything else is processed in small pieces.
About $minutes minutes after the build.

  what the network saw   $demo/faces/faces.png
  ROC curves             $demo/r1.0/roc.svg, $demo/r0.1/roc.svg
  the networks           $demo/r1.0/best.safetensors, $demo/r0.1/best.safetensors

With your own faces (a train.rec, or a folder with one folder for each identity, aligned to 112 x 112):

  $pfc train configs/faces_tiny.toml --set data.train=/path/to/train.rec --set eval.sets=/path/to/lfw.bin
END
