#!/bin/bash
#
# devstack/discover_hosts.sh - map new compute nodes to their cells from time to time
#
#   discover_hosts.sh NOVA_MANAGE NOVA_CONF SECONDS
#
# nova-scheduler does this with [scheduler] discover_hosts_in_cells_interval. nova_sched has no access to nova's
# database, so this asks nova-manage. A search that fails is repeated like any other.

set -o nounset

while true; do
    "$1" --config-file "$2" cell_v2 discover_hosts || echo "the search for compute nodes failed; the next one is in $3 s" >&2
    sleep "$3"
done
