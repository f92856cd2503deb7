"""The RPC contract of the compute agents. One agent process (``server``) may serve several hosts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

if TYPE_CHECKING:
    # The bus brings oslo.messaging, which may only be imported once the concurrency mode is chosen.
    from rpc_api.bus.port import Bus
    from rpc_api.events import ClaimProposed
    from rpc_api.messages import BuildAnswer

TOPIC = "nova_sched_agent"
VERSION = "1.2"
BUILD_TIMEOUT = 600
CANCEL_TIMEOUT = 30

GROUP = cfg.OptGroup("compute_agent", "The compute agents")
#: Seconds; the defaults of the options.
REPORT_INTERVAL = 10.0
CONFIRM_INTERVAL = 600.0
OPTS = [
    cfg.StrOpt("rpc_topic", default=TOPIC, help="RPC topic of the compute agents."),
    cfg.FloatOpt(
        "report_interval",
        default=REPORT_INTERVAL,
        min=0.01,
        help="Seconds between two beats to the cell's conductors, at which changes are reported too.",
    ),
    cfg.FloatOpt(
        "confirm_interval",
        default=CONFIRM_INTERVAL,
        min=0.01,
        help="Seconds between two digests of what the hosts run: one that does not match the log brings a "
        "full report. The replay tool calls an agent silent if it published nothing for two of them and "
        "service_down_time.",
    ),
]


class AgentAPI:
    """Client side; ``server`` is the RPC server of the host's agent, from its HostReported."""

    def __init__(self, bus: Bus, topic: str = TOPIC) -> None:
        self._client = bus.client(topic, VERSION)

    def build_instance(
        self, context: object, server: str, claim: ClaimProposed, timeout: float = BUILD_TIMEOUT
    ) -> BuildAnswer:
        """Start an instance on the host of its claim (a ClaimProposed); returns a BuildAnswer.

        UsageError and NoSuchServer mean that the build was not started; with any other error this is not known.
        """
        answer: BuildAnswer = self._client.call(context, "build_instance", server=server, timeout=timeout, claim=claim)
        return answer

    def cancel_build(
        self,
        context: object,
        server: str,
        host: str,
        claim_uuid: str,
        instance_uuid: str,
        timeout: float = CANCEL_TIMEOUT,
    ) -> bool:
        """Make sure that an instance does not run, now or later, under a claim; True if that is certain."""
        certain: bool = self._client.call(
            context,
            "cancel_build",
            server=server,
            timeout=timeout,
            host=host,
            claim_uuid=claim_uuid,
            instance_uuid=instance_uuid,
        )
        return certain

    def delete_instance(
        self, context: object, server: str, host: str, instance_uuid: str, claim_uuids: Iterable[str] = ()
    ) -> Any:
        """Delete an instance, if it is there; no build under ``claim_uuids`` starts any more."""
        return self._client.call(
            context,
            "delete_instance",
            server=server,
            host=host,
            instance_uuid=instance_uuid,
            claim_uuids=list(claim_uuids),
        )

    def use_level(self, context: object, server: str, epoch: str | None, level: int) -> None:
        """Tell an agent the level of the log of an epoch: from now on its events have the forms of that level."""
        self._client.cast(context, "use_level", server=server, epoch=epoch, level=level)

    def report(self, context: object, server: str, host: str, epoch: str | None, after: int) -> None:
        """Ask for a full report of a host. ``epoch`` is that of the log, as the caller reads it; ``after`` is the last
        producer epoch of the host in the log: events of an earlier one would not count."""
        self._client.cast(context, "report", server=server, host=host, epoch=epoch, after=after)
