#!/usr/bin/env bash
# Runs a pfc that root has built as another user, who must be able to read the libraries that set-up chose for it.
#
#   tests/setup/other_user.sh PFC
set -euo pipefail
pfc=$1
if [ "$(id -u)" -ne 0 ] || ! command -v setpriv >/dev/null; then
  echo "not run: only root becomes another user"
  exit 77
fi
folder=$(mktemp -d)  # the build folder may lie where others cannot look
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
install -m 755 "$pfc" "$folder/pfc"
setpriv --reuid nobody --regid nogroup --clear-groups "$folder/pfc" --version
