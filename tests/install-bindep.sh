#!/bin/sh
# Installs the Debian packages of bindep.txt that are missing, where apt is there and may be used: those of the profiles that
# are named, by default those of the profile test.
# Where it is not, the tests that need a server say so themselves.
set -u
cd "$(dirname "$0")/.." || exit 1
missing=""
for package in $(for profile in "${@:-test}"; do sed -n "s/^\([^# ]*\) \[$profile .*/\1/p" bindep.txt; done); do
    if command -v dpkg-query >/dev/null 2>&1 &&
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed'; then
        continue
    fi
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing for some tests:$missing (no apt-get here)" >&2
    exit 0
fi
run=""
if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null; then
        run="sudo"
    else
        echo "missing for some tests:$missing (install them as root)" >&2
        exit 0
    fi
fi
# A Debian package starts its server when it is installed; the tests start private ones.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
# shellcheck disable=SC2086  # a list of words
$run apt-get update -qq && $run apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    echo "could not install:$missing" >&2
