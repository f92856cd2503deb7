#!/bin/bash
# add_host.sh CELL/HOST: start a nova-compute that the cloud does not have yet, or one that died.
# With its name in CLOUD_FAILING the first build of each server fails on it.
set -e
. "$(dirname "$0")/env.sh"
compute_up "$1"
python "$HERE/seed.py" wait-computes "$1"
$NM cell_v2 discover_hosts >> "$LOG/discover.log" 2>&1
