"""The notification driver ``nova_sched`` for an unmodified nova-compute: the second source of a conductor's tap.

It runs in the process of nova-compute. So none of its modules may import rpc_api.objects or rpc_api.events, whose
classes have the names of Nova's; only :mod:`compute_agent.nova_notifier.classes` imports Nova.
"""
