"""Answers from logs: events, the state at a moment, the reasons of a decision, and the result under another policy.

Everything here reads :class:`~rpc_api.log.EventLog` objects, live ones and those of an exported file alike, and never
writes to them. ``nova_sched.cli`` prints the answers.
"""
