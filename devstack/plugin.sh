#!/bin/bash
#
# devstack/plugin.sh - which function of lib/nova_sched each phase of devstack calls
#
# Sourced by devstack with the mode in $1 and, for "stack", the phase in $2; devstack/settings was read before.

_XTRACE_NOVA_SCHED_PLUGIN=$(set +o | grep xtrace)
set +o xtrace

source "$NOVA_SCHED_DIR/devstack/lib/nova_sched"

if is_nova_sched_enabled; then
    if [[ "$1" == "stack" ]]; then
        check_nova_sched
    fi

    case "$1 ${2:-}" in
        "stack pre-install")
            # Nothing is needed that devstack does not install; the check above is all of this phase.
            ;;
        "stack install")
            echo_summary "Installing nova_sched"
            install_nova_sched
            ;;
        "stack post-config")
            # nova's cells are there (init_nova), its services do not run yet.
            echo_summary "Configuring nova_sched"
            configure_nova_sched
            ;;
        "stack extra")
            # nova runs. [[post-config|$NOVA_SCHED_CONF]] of local.conf is merged, so the file is left as it is.
            echo_summary "Starting nova_sched"
            init_nova_sched
            start_nova_sched
            ;;
        "stack test-config")
            # There is nothing to tell tempest while n-sch decides.
            ;;
        "unstack "*)
            stop_nova_sched
            ;;
        "clean "*)
            cleanup_nova_sched
            ;;
    esac
fi

$_XTRACE_NOVA_SCHED_PLUGIN
