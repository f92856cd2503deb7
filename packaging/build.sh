#!/bin/sh
# Build the wheel, the sdist and the Debian package into dist. The package is built from the sdist, so the sdist has
# all that is needed. build.sh wheel: only wheel and sdist; build.sh deb: only the package, from the sdist in dist.
# PYTHON is an interpreter with the module build; man pages in build/man go into the package.
set -eu
HERE=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-python3}
DIST=${DIST:-$HERE/dist}
WHAT=${1:-all}

if [ "$WHAT" != deb ]; then
    rm -rf "$DIST"
    "$PYTHON" -m build --outdir "$DIST" "$HERE" > /dev/null
    "$PYTHON" -m twine check --strict "$DIST"/*
fi
if [ "$WHAT" != wheel ]; then
    if ! command -v dpkg-buildpackage > /dev/null || ! command -v dh > /dev/null; then
        echo "dpkg-buildpackage or dh is not installed; install the packages dpkg-dev and debhelper" >&2
        exit 1
    fi
    WORK=$(mktemp -d)
    trap 'rm -rf "$WORK"' EXIT
    tar -xzf "$DIST"/nova_sched-*.tar.gz -C "$WORK"
    TREE=$(echo "$WORK"/nova_sched-*)
    cp -r "$TREE/packaging/debian" "$TREE/debian"
    if [ -d "$HERE/build/man" ]; then
        mkdir -p "$TREE/build" && cp -r "$HERE/build/man" "$TREE/build/"
    fi
    (cd "$TREE" && dpkg-buildpackage --build=binary --no-sign) > "$WORK/log" 2>&1 || { tail -40 "$WORK/log" >&2; exit 1; }
    cp "$WORK"/nova-sched_*.deb "$DIST/"
fi
ls "$DIST"
