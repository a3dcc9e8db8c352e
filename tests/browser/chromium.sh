#!/usr/bin/env bash
# Installs Debian's Chromium, and a font for it, where there is no browser for the tests. Says why where it cannot; the
# tests are then skipped and say so too.
set -uo pipefail
for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
  if [ -n "$name" ] && command -v "$name" >/dev/null; then exit 0; fi
done
as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
    echo "No Chromium here, and only root can install one: apt-get install chromium, or set CHROMIUM to another." >&2
    exit 0
  fi
  as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null; then
  echo "No Chromium here, and no apt-get to install one: set CHROMIUM to a browser's path." >&2
  exit 0
fi
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet --no-install-recommends chromium fonts-dejavu-core
}
install || { "${as_root[@]}" apt-get update --quiet && install; } ||
  echo "Chromium could not be installed: see above. The browser tests will be skipped." >&2
exit 0
