#!/bin/bash
#
# devstack/plugin.sh - which function of lib/nova_sched each phase of devstack calls
#
# Sourced by devstack with the mode in $1 and, for "stack", the phase in $2; devstack/settings was read before.

_XTRACE_NOVA_SCHED_PLUGIN=$(set +o | grep xtrace)
set +o xtrace

source "$NOVA_SCHED_DIR/devstack/lib/nova_sched"

if [[ "$1" == "stack" ]] && is_nova_sched_wanted; then
    check_nova_sched
fi

case "$1 ${2:-}" in
    "stack install")
        if is_nova_sched_enabled; then
            echo_summary "Installing nova_sched"
            install_nova_sched
        fi
        if is_nova_sched_wanted; then
            # Now, because in later phases devstack writes nova's files in the background.
            configure_nova_for_nova_sched
        fi
        ;;
    "stack post-config")
        # nova's cells are there (init_nova), its services do not run yet. They find ours when they start.
        if is_nova_sched_enabled; then
            echo_summary "Configuring nova_sched"
            configure_nova_sched
            echo_summary "Starting nova_sched"
            init_nova_sched
            start_nova_sched
        fi
        ;;
    "stack extra")
        # nova runs, and nova-compute has been seen by now or will be.
        ;;
    "unstack "*)
        if is_nova_sched_wanted; then
            stop_nova_sched
        fi
        ;;
    "clean "*)
        if is_nova_sched_wanted; then
            cleanup_nova_sched
        fi
        ;;
esac

$_XTRACE_NOVA_SCHED_PLUGIN
