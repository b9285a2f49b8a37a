#!/usr/bin/env bash
# Installs a build into an empty folder, builds the examples against what was installed, and runs them.
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
  tee /dev/stderr <"$folder/said" | grep -q "^pfc: rank 0: mpirun has started this rank, and MPI cannot be loaded: .*$library"
fi

# example NAME [packages that it must not look for]...
example() {
  local name=$1 hidden=()
  for package in "${@:2}"; do hidden+=("-DCMAKE_DISABLE_FIND_PACKAGE_$package=ON"); done
  cmake -S "$source/examples/$name" -B "$folder/$name" -G Ninja -DCMAKE_PREFIX_PATH="$folder/pfc" \
    -DCMAKE_BUILD_TYPE=None --no-warn-unused-cli "${hidden[@]}" >/dev/null
  cmake --build "$folder/$name"
}
loss_falls() { awk '/loss/ { if (!first) first = $4; last = $4 } END { exit !(last < first) }' "$1"; }

# It trains its own network by a configuration, and goes on from what it saved.
example own_network
"$folder/pfc/bin/pfc" data synth "$folder/synthetic" --identities 20 --images 4 --unseen 2 --pairs 20 >/dev/null
"$folder/own_network/own_network" "$source/examples/own_network/own_network.toml" \
  data.train="$folder/synthetic/train.rec" output="$folder/output"
grep -o '"loss":[^,}]*' "$folder/output/metrics.jsonl" | tr ':' ' ' | awk '{ print "step", NR, "loss", $2 }' | tee "$folder/printed"
loss_falls "$folder/printed"
if "$folder/own_network/own_network" "$source/examples/own_network/own_network.toml" model.options.widht=8 2>"$folder/said"; then exit 1; fi
grep -q 'the nearest is width' "$folder/said"

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
