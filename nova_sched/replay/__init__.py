"""What logs can be asked afterwards: their events, the state at a moment, why a decision was made, and what another
policy would have made of it.

Everything here reads :class:`~rpc_api.log.EventLog` objects, live ones and those of an exported file alike, and
writes to none. ``nova_sched.cli`` shows what it finds.
"""
