#!/usr/bin/env bash
# Installs a build into an empty folder, builds the example against what was installed, and runs it.
#
#   tests/setup/installed_package.sh SOURCE BUILD
set -euo pipefail
source=$1 build=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cmake --install "$build" --prefix "$folder/pfc" >/dev/null
"$folder/pfc/bin/pfc" --version
cmake -S "$source/examples/own_network" -B "$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$folder/pfc" \
  -DCMAKE_BUILD_TYPE=None >/dev/null
cmake --build "$folder/build"
"$folder/build/own_network" | tee "$folder/printed"
awk '/loss/ { if (!first) first = $4; last = $4 } END { exit !(last < first) }' "$folder/printed"
