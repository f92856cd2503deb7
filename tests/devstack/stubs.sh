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
    local env_vars=${5:-}
    if is_service_enabled "$service"; then
        _called run_process "$service" "$command" || return 1
        echo "ExecStart = $command" > "$SANDBOX/systemd/devstack@$service.service"
        if [[ -n "$env_vars" ]]; then
            echo "Environment = $env_vars" >> "$SANDBOX/systemd/devstack@$service.service"
        fi
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

# _systemctl() - what $SYSTEMCTL is here
function _systemctl {
    local unit=${!#}
    unit=${unit#devstack@}
    unit=${unit%.service}
    case "$*" in
        *is-enabled*) [[ -e "$SANDBOX/running/$unit" ]] ;;
        *"disable --now"*) _called systemctl "$@" && rm -f "$SANDBOX/running/$unit" ;;
    esac
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
    _called setup_package "$@" && ln -sf "$SANDBOX/bin/nova-sched" "$SANDBOX/venv/bin/nova-sched"
}

function pip_install_gr {
    _called pip_install_gr "$@"
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
    touch "$file"
    # Environment variables: awk takes escapes in the values of -v.
    SECTION="[$section]" OPTION=$option VALUE=$value awk '
        { lines[NR] = $0 }
        /^\[/ { inside = ($0 == ENVIRON["SECTION"]); if (inside) head = NR }
        inside && $1 == ENVIRON["OPTION"] && $2 == "=" { found = NR }
        END {
            text = ENVIRON["OPTION"] " = " ENVIRON["VALUE"]
            for (n = 1; n <= NR; n++) {
                print (n == found ? text : lines[n])
                if (n == head && !found) print text
            }
            if (!head) print "\n" ENVIRON["SECTION"] "\n" text
        }' "$file" > "$SANDBOX/iniset.new"
    cat "$SANDBOX/iniset.new" > "$file"
    rm "$SANDBOX/iniset.new"
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

function configure_keystoneauth {
    local conf_file=$1 admin_user=$2 section=$3
    _called configure_keystoneauth "$@" || return 1
    iniset "$conf_file" "$section" auth_type password
    iniset "$conf_file" "$section" auth_url "$KEYSTONE_SERVICE_URI"
    iniset "$conf_file" "$section" username "$admin_user"
    iniset "$conf_file" "$section" password "$SERVICE_PASSWORD"
}

function configure_keystone_authtoken_middleware {
    local conf_file=$1 admin_user=$2
    _called configure_keystone_authtoken_middleware "$@" || return 1
    configure_keystoneauth "$conf_file" "$admin_user" keystone_authtoken
}

function configure_placement_nova_compute {
    _called configure_placement_nova_compute "$@" || return 1
    configure_keystoneauth "${1:-$NOVA_CONF}" nova placement
}

function conductor_conf {
    echo "$NOVA_CONF_DIR/nova_cell$1.conf"
}

# The sections of local.conf: $SANDBOX/local.conf has "[[post-config|FILE]]" and what follows.

function get_meta_section_files {
    _asked get_meta_section_files || return 1
    sed -n "s/^\[\[$2|\(.*\)\]\]$/\1/p" "$1"
}

function merge_config_file {
    local file=$1 group=$2 configfile=$3
    local option value
    _called merge_config_file "$group" "$configfile" || return 1
    while IFS=' =' read -r section option value; do
        iniset "$(eval "echo $configfile")" "$section" "$option" "$value"
    done < <(awk -v head="[[$group|$configfile]]" '/^\[\[/ { on = ($0 == head); next } on && NF' "$file")
}

# Placement and the web server: a site is a file.

function apache_site_config_for {
    echo "$SANDBOX/sites/$1.conf"
}

function write_uwsgi_config {
    local conf=$1 wsgi=$2 url=$3 http=$4 name=$5
    _called write_uwsgi_config "$@" || return 1
    iniset "$conf" uwsgi module "$wsgi"
    echo "ProxyPass $url $name $http" >> "$(apache_site_config_for "$name")"
}

function remove_uwsgi_config {
    _called remove_uwsgi_config "$@" && rm -f "$1"
}

function cleanup_placement {
    _called cleanup_placement && rm -f "$(apache_site_config_for placement-api)"
}

function create_placement_accounts {
    _called create_placement_accounts
}

function wait_for_service {
    _called wait_for_service "$@"
}

function test_with_retry {
    local testcmd=$1 failmsg=$2
    _asked test_with_retry || return 1
    if ! eval "$testcmd"; then
        die $LINENO "$failmsg"
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
