#!/usr/bin/env bash
# Installs a build into an empty folder, builds the examples against what was installed, and runs them and their tests.
#
#   tests/setup/installed_package.sh SOURCE BUILD
set -euo pipefail
source=$1 build=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cmake --install "$build" --prefix "$folder/pfc" >/dev/null
"$folder/pfc/bin/pfc" --version

# It needs no MPI. A rank of mpirun does, and says so where it is not there.
if readelf -d "$folder/pfc/bin/pfc" | grep -i 'NEEDED.*mpi'; then
  echo "pfc needs MPI" >&2
  exit 1
fi
if [ -e "$folder/pfc/lib/libpfc_mpi.so" ]; then
  library=$(readelf -d "$folder/pfc/lib/libpfc_mpi.so" | sed -n 's/.*(NEEDED).*\[\(libmpi\.so.*\)\]/\1/p')
  mkdir "$folder/without"
  touch "$folder/without/$library"
  as_rank=(env OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_LOCAL_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=0)
  if "${as_rank[@]}" LD_LIBRARY_PATH="$folder/without" "$folder/pfc/bin/pfc" bench 2>"$folder/said"; then exit 1; fi
  tee /dev/stderr <"$folder/said" |
    grep -q "^pfc: rank 0: mpirun has started this rank, and MPI cannot be loaded: .*$library.*(install the MPI that"
  mv "$folder/pfc/lib/libpfc_mpi.so" "$folder/without"
  if "${as_rank[@]}" "$folder/pfc/bin/pfc" bench 2>"$folder/said"; then exit 1; fi
  tee /dev/stderr <"$folder/said" |
    grep -q "^pfc: rank 0: mpirun has started this rank, and this pfc was built without MPI: .*(start the ranks with torchrun"
  mv "$folder/without/libpfc_mpi.so" "$folder/pfc/lib"
fi

# example NAME [packages that it must not look for]...
example() {
  local name=$1 hidden=()
  for package in "${@:2}"; do hidden+=("-DCMAKE_DISABLE_FIND_PACKAGE_$package=ON"); done
  cmake -S "$source/examples/$name" -B "$folder/$name" -G Ninja -DCMAKE_PREFIX_PATH="$folder/pfc" -DPFC_SOURCE="$source" \
    -DCMAKE_BUILD_TYPE=None --no-warn-unused-cli "${hidden[@]}" >/dev/null
  cmake --build "$folder/$name"
}
# theorems NAME: those of an example.
theorems() { ctest --test-dir "$folder/$1" --output-on-failure --no-tests=error; }
loss_falls() { awk '/loss/ { if (!first) first = $4; last = $4 } END { exit !(last < first) }' "$1"; }
losses() { grep -o '"loss":[^,}]*' "$1" | tr ':' ' ' | awk '{ print "step", NR, "loss", $2 }'; }

"$folder/pfc/bin/pfc" data synth "$folder/synthetic" --identities 20 --images 4 --unseen 2 --pairs 20 >/dev/null
set=data.train="$folder/synthetic/train.rec"

# It trains its own network on images that its own augmentation changes, by a configuration.
example own_network
theorems own_network
"$folder/own_network/own_network" "$source/examples/own_network/own_network.toml" "$set" output="$folder/output"
losses "$folder/output/metrics.jsonl" | tee "$folder/printed"
loss_falls "$folder/printed"
for wrong in model.options.widht=8 augment.upside_down.probabilty=1; do
  if "$folder/own_network/own_network" "$source/examples/own_network/own_network.toml" $wrong 2>"$folder/said"; then exit 1; fi
  grep -q 'the nearest .*\(width\|upside_down.probability\)' "$folder/said"
done

# Its ranks meet in their own way, and their sums are those of one rank but for their order.
example own_communicator
theorems own_communicator
for ranks in 1 2; do
  "$folder/own_communicator/own_communicator" $ranks "$source/examples/own_communicator/own_communicator.toml" "$set" \
    output="$folder/ranks$ranks"
  losses "$folder/ranks$ranks/metrics.jsonl" | tee "$folder/printed$ranks"
done
paste "$folder/printed1" "$folder/printed2" | awk '{ d = $4 / $8 - 1; if (d * d > 1e-6) exit 1 } END { exit NR == 0 }'

# Its own protocol judges what was trained.
example own_evaluation
theorems own_evaluation
"$folder/own_evaluation/own_evaluation" "$folder/ranks1/last.safetensors" "$folder/synthetic/train.rec" | tee "$folder/printed"
grep -q ' of 60 probes .* 20 people' "$folder/printed"

example own_head MPI OpenSSL PNG Protobuf ONNX tomlplusplus PkgConfig nlohmann_json
"$folder/own_head/own_head" | tee "$folder/printed"
loss_falls "$folder/printed"
# It links LibTorch and what every program links. Nothing in it prints, ends the process or takes signals.
readelf -d "$folder/own_head/libhead_steps.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | tee "$folder/needed"
usual='^(libtorch_cpu|libc10|libc10_cuda|libgomp[-0-9a-z]*|libnccl|libcudart|libstdc\+\+|libm|libgcc_s|libc|ld-linux.*)\.so'
if grep -vE "$usual" "$folder/needed"; then
  echo "pfc::head needs more than LibTorch" >&2
  exit 1
fi
find "$folder/pfc" -name libpfc_base.a -o -name libpfc_kernels.a -o -name libpfc_head.a | xargs nm -AuC >"$folder/called"
if grep -E ' U (v?f?printf|__v?f?printf_chk|f?puts|fwrite|perror|_exit|_Exit|quick_exit|signal|sigaction)(@|$)' "$folder/called"; then
  echo "pfc::head prints, ends its process or takes signals" >&2
  exit 1
fi

example own_data MPI Protobuf ONNX nlohmann_json
"$folder/own_data/own_data" "$folder/faces"
