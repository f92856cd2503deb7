"""Casts of a cell conductor to agents: requests for full reports, and the level of the log."""

import logging
import threading

from rpc_api import errors
from rpc_api.waiting import Outage

LOG = logging.getLogger(__name__)


class AgentCasts:
    """``agents`` is an AgentAPI; ``name`` is the producer that sends."""

    def __init__(self, agents, name, clock):
        self._agents = agents
        self._name = name
        self._asking = Outage(f"{name} cannot ask the agents of hosts for full reports", clock, LOG)

    def ask_to_report(self, asked, projection) -> None:
        """Ask for full reports of hosts (host -> server of its agent, or None) in the log of a projection."""
        for host, server in asked.items():
            if server:
                LOG.info("host %s is asked for a full report", host)
                known, _ = projection.producers.get(f"compute_agent/{host}", (0, 0))
                try:
                    self._agents.report({}, server, host, projection.epoch, known)
                except errors.NovaSchedError as fault:
                    # A broker that refuses one cast refuses all. The next beats ask for the reports again.
                    self._asking.met(fault)
                    return
                self._asking.over(f"{self._name} can ask for reports again")

    def ask_many_to_report(self, asked, projection) -> None:
        """The same in a thread of its own: calls to thousands of agents take a while, and the log must be folded
        meanwhile."""
        if asked:
            threading.Thread(
                target=self.ask_to_report, args=(asked, projection), name=f"{self._name} asks", daemon=True
            ).start()

    def send_level(self, servers, epoch: str, level: int) -> None:
        """Send the level of the log of an epoch to the agents that answer at some servers."""
        for server in servers:
            self._agents.use_level({}, server, epoch, level)
