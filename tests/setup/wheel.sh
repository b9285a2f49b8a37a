#!/usr/bin/env bash
# Packs a build into a wheel, installs it into a new virtual environment that only sees torch, and runs the command and
# the module there.
#
#   tests/setup/wheel.sh SOURCE BUILD PYTHON
#
# Exits with 77 (skipped) where PYTHON cannot make wheels.
set -euo pipefail
source=$1 build=$2 python=$3
"$python" -c 'import torch, scikit_build_core, auditwheel' 2>/dev/null ||
  { echo "skipped: $python lacks torch, scikit-build-core or auditwheel"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

"$source/scripts/wheel.sh" --python "$python" --build-dir "$build" --output "$folder/dist" | tee "$folder/said"
wheel=$(echo "$folder"/dist/*.whl)
[[ $wheel == *-manylinux_2_*.whl ]] || fail "the tag is that of this machine alone: $wheel"
grep -Fq "pip install $wheel" "$folder/said" || fail "it does not say what it made"

# What it needs is in it, or in torch, or on every Linux.
mkdir "$folder/unpacked"
"$python" -m zipfile --extract "$wheel" "$folder/unpacked"
needed() { readelf -d "$1" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
everywhere='^(lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|z)\.so\.[0-9]+|ld-linux-.*)$'
torchs='^lib(torch_cpu|torch_python|c10|c10_cuda|gomp|nccl|cudart)(-[0-9a-f]+)?\.so(\.[0-9]+)*$'
find "$folder/unpacked" -type f -exec basename {} \; >"$folder/carried"
if grep -E "$torchs|^lib(cu|torch|mpi)" "$folder/carried"; then fail "the wheel has libraries of torch, CUDA or MPI"; fi
while IFS= read -r file; do
  usual="$everywhere|$torchs"
  if [[ $file == */libpfc_mpi.so ]]; then usual+='|^libmpi\.so'; fi
  if needed "$file" | grep -vE "$usual" | grep -vxFf "$folder/carried"; then fail "$file needs these of the system"; fi
done < <(find "$folder/unpacked" -type f)

"$python" -m venv --without-pip "$folder/venv"
"$python" -m pip --disable-pip-version-check --quiet --python "$folder/venv/bin/python" install --no-deps --no-index "$wheel"
PATH=$folder/venv/bin:$PATH
torch=$("$python" -c 'import torch; print(torch.__path__[0])')
dirname "$torch" >"$(echo "$folder"/venv/lib/python3*/site-packages)/torch.pth"
cd "$folder"

# The command is the program.
[ "$(command -v pfc)" = "$folder/venv/bin/pfc" ] || fail "there is no command pfc"
for arguments in --version --help "train --help" "no-such-command"; do
  # shellcheck disable=SC2086
  { pfc $arguments; echo "status $?"; } >"$folder/ours" 2>&1 || true
  # shellcheck disable=SC2086
  { "$build/bin/pfc" $arguments; echo "status $?"; } >"$folder/its" 2>&1 || true
  cmp "$folder/ours" "$folder/its" || fail "pfc $arguments differs"
done
pfc data synth faces --identities 30 --images 4 --unseen 4 --pairs 20 >/dev/null
train=(pfc train "$folder/venv/share/pfc/configs/demo.toml" --set data.train=faces --set eval.sets=faces/unseen.bin
       --set train.batch_size=24 --set train.steps=3 --set log.every=1)
OMP_NUM_THREADS=1 "${train[@]}" --set output=alone
[ -s alone/last.safetensors ] || fail "pfc train saved no network"
if command -v mpirun >/dev/null; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMP_NUM_THREADS=1 mpirun -np 2 --oversubscribe "${train[@]}" --set output=mpi 2>&1 | tee mpi.log
  grep -q 'ranks: 2 on' mpi.log || fail "mpirun's ranks did not meet"
fi

python - <<'PYTHON'
import partial_fc
import torch

assert partial_fc.__file__.startswith(__import__("sys").prefix), partial_fc.__file__
torch.manual_seed(0)
head = partial_fc.PartialFC(16, 1000, margin=partial_fc.CosFace(0.4), sample_rate=0.1)
optimizer = head.optimizer(lr=0.1)
embeddings = torch.randn(8, 16, requires_grad=True)
before = head.weight.clone()
loss = head(embeddings, torch.arange(8))
loss.backward()
optimizer.step()
moved = (head.weight != before).any(dim=1).sum().item()
print(f"the module: loss {loss.item():.3f}, {moved} of 1,000 centres moved")
assert 100 <= moved <= 108 and embeddings.grad.abs().sum() > 0
PYTHON
