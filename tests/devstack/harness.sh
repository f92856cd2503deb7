#!/bin/bash
#
# tests/devstack/harness.sh - run one phase of the plugin as stack.sh, unstack.sh or clean.sh would
#
#   harness.sh SANDBOX PLUGIN settings|stack PHASE|unstack|clean
#
# PLUGIN is the plugin's devstack directory. SANDBOX/localrc is the local.conf. What devstack and lib/nova would have
# set before is set here. The services that are enabled in the end go to SANDBOX/services.

set -o errexit -o nounset -o pipefail

SANDBOX=$1
PLUGIN=$2
shift 2

PATH=$SANDBOX/bin:$PATH
source "$(dirname "${BASH_SOURCE[0]}")/stubs.sh"

# stackrc and lib/nova
ENABLED_SERVICES=rabbit,mysql,key,g-api,n-api,n-cpu,n-cond,n-sch,placement-api,neutron
DISABLED_SERVICES=""
ENABLE_DEBUG_LOG_LEVEL=True
STACK_USER=$(id -un)
DATA_DIR=$SANDBOX/data
RABBIT_HOST=192.0.2.10
RABBIT_USERID=stackrabbit
RABBIT_PASSWORD=secretrabbit
CELLSV2_SETUP=superconductor
NOVA_NUM_CELLS=1
NOVA_CPU_CELL=1
NOVA_BIN_DIR=$SANDBOX/bin
NOVA_CONF_DIR=$SANDBOX/etc/nova
NOVA_CONF=$NOVA_CONF_DIR/nova.conf
NOVA_FILTERS=ComputeFilter,SameHostFilter
NOVA_SERVICE_REPORT_INTERVAL=120
TOP_DIR=$SANDBOX
SYSTEMCTL=_systemctl
SYSTEMD_DIR=$SANDBOX/systemd
SERVICE_TIMEOUT=60
REGION_NAME=RegionOne
KEYSTONE_SERVICE_URI=http://192.0.2.10/identity
SERVICE_PASSWORD=servicesecret
# lib/placement
PLACEMENT_CONF_DIR=$SANDBOX/etc/placement
PLACEMENT_CONF=$PLACEMENT_CONF_DIR/placement.conf
PLACEMENT_AUTH_STRATEGY=keystone
PLACEMENT_ENFORCE_NEW_DEFAULTS=True
PLACEMENT_SERVICE_PROTOCOL=http
PLACEMENT_SERVICE_HOST=192.0.2.10
NOVA_SCHED_CONF_DIR=$SANDBOX/etc/nova_sched
NOVA_SCHED_CLI_LINK=$SANDBOX/usr-local-bin/nova-sched

source "$SANDBOX/localrc"
source "$PLUGIN/settings"
echo "$ENABLED_SERVICES" > "$SANDBOX/services"

if [[ "$1" != "settings" ]]; then
    source "$PLUGIN/plugin.sh" "$@"
fi
