#!/usr/bin/env bash
# Training on a disk that has room for the checkpoints that are kept and one more: what killed saves left is removed before
# the next one needs the room. Then on one that has room for the network, but not for a checkpoint: the run ends with a
# sentence, the network is saved, and nothing of the checkpoint is left.
#
#   tests/train/full_disk.sh PFC RANKS
#
# Exits with 77 (skipped) where there is no right to mount a small disk, or RANKS is above 1 and there is no mpirun.
set -euo pipefail
pfc=$1 ranks=$2
launch=()
if [ "$ranks" -gt 1 ]; then
  command -v mpirun >/dev/null || { echo "skipped: mpirun is not installed"; exit 77; }
  launch=(mpirun -np "$ranks" --oversubscribe)
fi
if [ "${PFC_MAY_MOUNT:-}" != yes ]; then
  unshare --mount true 2>/dev/null || { echo "skipped: unshare --mount is not permitted here"; exit 77; }
  exec unshare --mount env PFC_MAY_MOUNT=yes "$0" "$@"
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
folder=$(mktemp -d)
trap 'umount "$folder/disk" 2>/dev/null || true; rm -rf "$folder"' EXIT

"$pfc" data synth "$folder/faces" --identities 12 --images 6 --unseen 4 --pairs 20 >/dev/null 2>&1
cat >"$folder/run.toml" <<TOML
data = { train = "$folder/faces", workers = 1 }
model = { network = "tiny", embedding_size = 64 }
train = { batch_size = 12, threads = 1 }
checkpoint = { every = 1, keep_last = 1 }
log = { every = 1 }
TOML
train() { "${launch[@]}" "$pfc" train "$folder/run.toml" --set "output=$folder/$1/run" "${@:2}" >>"$folder/log" 2>&1; }
fail() { cat "$folder/log"; echo "FAILED: $1"; exit 1; }
disk() { mkdir -p "$folder/disk"; mount -t tmpfs -o "size=$1" none "$folder/disk"; }
used() { du -sk "$1" | cut -f1; }

mkdir "$folder/large"
train large --set train.steps=1 || fail "a run with room fails"
checkpoint=$(used "$folder/large/run/checkpoints") network=$(used "$folder/large/run/last.safetensors")

disk "$((2 * checkpoint + 2 * network + 2048))k"
train disk --set train.steps=2 || fail "there was room for one more"
saves="$folder/disk/run/checkpoints"
cp -r "$saves/step-000000002" "$saves/step-000000003.partial"  # a save that was killed
train disk --set train.steps=3 --resume || fail "a killed save takes the room of the next"
cp -r "$saves/step-000000003" "$saves/step-000000002.removed"  # a removal that was killed
train disk --set train.steps=4 --resume || fail "a killed removal takes the room of the next save"
cp -r "$saves/step-000000004" "$saves/step-000000002"  # killed before the old one was removed
train disk --set train.steps=5 --resume || fail "an old checkpoint takes the room of the next"
[ "$(ls "$saves")" = step-000000005 ] || fail "left are $(ls "$saves")"
umount "$folder/disk"

disk "$((network + network / 2 + 1024))k"
if train disk --set train.steps=3; then fail "a checkpoint was saved where there was no room"; fi
grep -q 'No space left on device; step 1 has no checkpoint, its network is saved as' "$folder/log" || fail "it did not say so"
[ "$(grep -c '^pfc: ' "$folder/log")" -eq 1 ] || fail "more than one sentence"
[ "$(ls "$folder/disk/run/checkpoints")" = "" ] || fail "something of the checkpoint is left"
cp "$folder/disk/run/last.safetensors" "$folder"
"$pfc" inspect "$folder/last.safetensors" >/dev/null || fail "the network is not whole"
echo "a disk with room for one more checkpoint did; where there was none, the network was saved"
