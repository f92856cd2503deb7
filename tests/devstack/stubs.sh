#!/bin/bash
#
# tests/devstack/stubs.sh - the functions of devstack that the plugin calls, for a sandbox instead of a host
#
# Each function that would change a host writes its name and arguments as one line to $SANDBOX/calls. Those whose
# result matters do the real thing inside $SANDBOX. Any of them fails when $SANDBOX/fail names it.

function _called {
    echo "$*" >> "$SANDBOX/calls"
    if [[ -e "$SANDBOX/fail" ]] && grep -Fxq -- "$1" "$SANDBOX/fail"; then
        return 1
    fi
}

# Services: ENABLED_SERVICES and DISABLED_SERVICES as devstack keeps them.

function is_service_enabled {
    local service
    for service in "$@"; do
        if [[ ",$ENABLED_SERVICES," == *",$service,"* ]]; then
            return 0
        fi
        if declare -F "is_${service}_enabled" > /dev/null && "is_${service}_enabled"; then
            return 0
        fi
    done
    return 1
}

function enable_service {
    local service
    for service in "$@"; do
        if [[ ",$DISABLED_SERVICES," != *",$service,"* ]] && ! is_service_enabled "$service"; then
            ENABLED_SERVICES+=",$service"
        fi
    done
}

function disable_service {
    local service
    for service in "$@"; do
        DISABLED_SERVICES+=",$service"
        ENABLED_SERVICES=",$ENABLED_SERVICES,"
        ENABLED_SERVICES=${ENABLED_SERVICES//,$service,/,}
        ENABLED_SERVICES=${ENABLED_SERVICES#,}
        ENABLED_SERVICES=${ENABLED_SERVICES%,}
    done
}

# A unit is a file with the ExecStart line, and runs as long as $SANDBOX/running has its name.

function run_process {
    local service=$1
    local command=$2
    if is_service_enabled "$service"; then
        _called run_process "$service" "$command" || return 1
        echo "ExecStart = $command" > "$SANDBOX/systemd/devstack@$service.service"
        touch "$SANDBOX/running/$service"
    fi
}

function stop_process {
    local service=$1
    if is_service_enabled "$service" && [[ -e "$SANDBOX/running/$service" ]]; then
        _called stop_process "$service" || return 1
        rm "$SANDBOX/running/$service"
    fi
}

function start_service {
    _called start_service "$@" && rabbitmqctl sandbox_start
}

function stop_service {
    _called stop_service "$@" && rabbitmqctl sandbox_stop
}

# Installing

function get_python_exec_prefix {
    _asked get_python_exec_prefix && echo "$SANDBOX/venv/bin"
}

function setup_package {
    _called setup_package "$@" && touch "$SANDBOX/venv/bin/nova-sched"
}

function pip_uninstall {
    _called pip_uninstall "$@" && rm -f "$SANDBOX/venv/bin/nova-sched"
}

function is_package_installed {
    [[ ! -e "$SANDBOX/no-$1" ]]
}

# Configuration

# _asked() - fails like _called, and leaves no line: the function changes nothing
function _asked {
    [[ ! -e "$SANDBOX/fail" ]] || ! grep -Fxq -- "$1" "$SANDBOX/fail"
}

# iniset() - a new option goes right below its section's header, a new section to the end, as devstack does it
function iniset {
    local file=$1 section=$2 option=$3 value=$4
    _called iniset "$@" || return 1
    python3 -IS - "$file" "$section" "$option" "$value" <<'EOF'
import pathlib
import sys

path, section, option, value = pathlib.Path(sys.argv[1]), *sys.argv[2:]
lines = path.read_text().split("\n") if path.exists() else [""]
if f"[{section}]" not in lines:
    lines += [f"[{section}]", ""]
start = lines.index(f"[{section}]") + 1
end = next((n for n in range(start, len(lines)) if lines[n].startswith("[")), len(lines))
for n in range(start, end):
    if lines[n].partition("=")[0].strip() == option:
        lines[n] = f"{option} = {value}"
        break
else:
    lines.insert(start, f"{option} = {value}")
path.write_text("\n".join(lines))
EOF
}

function get_transport_url {
    local virtual_host=$1
    _asked get_transport_url || return 1
    if is_service_enabled rabbit || [[ -n "$RABBIT_HOST" && -n "$RABBIT_PASSWORD" ]]; then
        echo "rabbit://$RABBIT_USERID:$RABBIT_PASSWORD@$RABBIT_HOST:5672/$virtual_host"
    fi
}

function iniset_rpc_backend {
    local file=$2 section=$3 virtual_host=$4
    local url
    _called iniset_rpc_backend "$@" || return 1
    url=$(get_transport_url "$virtual_host")
    if [[ -n "$url" ]]; then
        iniset "$file" "$section" transport_url "$url"
    fi
}

function setup_logging {
    _called setup_logging "$@" || return 1
    iniset "$1" DEFAULT logging_exception_prefix "ERROR %(name)s %(instance)s"
}

# Talk

function trueorfalse {
    local default=$1 value=${!2:-}
    case "$value" in
        1 | yes | Yes | YES | true | True | TRUE) echo True ;;
        0 | no | No | NO | false | False | FALSE) echo False ;;
        *) echo "$default" ;;
    esac
}

function define_plugin {
    :
}

function echo_summary {
    _called echo_summary "$@"
}

function die {
    local line=$1
    shift
    echo "[ERROR] ${BASH_SOURCE[1]}:$line $*" >&2
    exit 1
}

# sudo() - runs the command as who we are; $SANDBOX/fail may name "sudo COMMAND"
function sudo {
    _called sudo "$@" || return 1
    if [[ -e "$SANDBOX/fail" ]] && grep -Fxq -- "sudo $1" "$SANDBOX/fail"; then
        return 1
    fi
    "$@"
}
