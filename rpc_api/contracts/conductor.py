"""The RPC contracts of the conductors: of the API level, and of one cell."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from oslo_config import cfg

from rpc_api import messages  # noqa: F401  (registers the classes of the answers)
from rpc_api.contracts.answering import AnsweringAPI

if TYPE_CHECKING:
    # The bus brings oslo.messaging, which may only be imported once the concurrency mode is chosen.
    from rpc_api.bus.port import Bus
    from rpc_api.messages import BuildOutcome, BuildRequest
    from rpc_api.objects import RequestSpec

TOPIC = "nova_sched_conductor"
VERSION = "1.1"
LONG_TIMEOUT = 1800
#: Seconds; the default of the option.
SERVICE_DOWN_TIME = 60.0

GROUP = cfg.OptGroup("conductor", "The conductors, of the API level and of the cells")
OPTS = [
    cfg.StrOpt(
        "rpc_topic",
        default=TOPIC,
        help='RPC topic of the API level\'s conductors; that of the conductors of a cell is this one, ".cell." '
        "and the cell's name.",
    ),
    cfg.FloatOpt(
        "service_down_time",
        default=SERVICE_DOWN_TIME,
        min=0.1,
        help="Seconds after which an unreachable host takes no instances. Several times [compute_agent] "
        "report_interval.",
    ),
]


def cell_topic(cell: str, topic: str = TOPIC) -> str:
    """The topic of the conductors of a cell."""
    # Not only topic.cell, because the RabbitMQ queue of one server of the API level is topic.server.
    return f"{topic}.cell.{cell}"


class ConductorAPI(AnsweringAPI):
    """The API level's conductor; ``timeout`` is that of a build, in seconds."""

    def __init__(self, bus: Bus, topic: str = TOPIC, timeout: float = LONG_TIMEOUT) -> None:
        super().__init__(bus, topic, VERSION)
        self._timeout = timeout

    def schedule_and_build_instances(
        self, context: object, spec_obj: RequestSpec, instance_uuids: Iterable[str]
    ) -> Future[list[BuildOutcome]]:
        """Find hosts and build; returns a Future of one BuildOutcome for each instance."""
        return self._client.call_async(
            context,
            "schedule_and_build_instances",
            timeout=self._timeout,
            spec_obj=spec_obj,
            instance_uuids=list(instance_uuids),
        )

    def delete_instance(self, context: object, cell: str, host: str, instance_uuid: str) -> Future[None]:
        """Delete an instance where it runs; returns a Future of None."""
        return self._client.call_async(context, "delete_instance", cell=cell, host=host, instance_uuid=instance_uuid)


class CellConductorAPI(AnsweringAPI):
    """The conductors of one cell."""

    def __init__(self, bus: Bus, cell: str, topic: str = TOPIC) -> None:
        super().__init__(bus, cell_topic(cell, topic), VERSION)

    def build_instance(self, context: object, build: BuildRequest) -> Future[BuildOutcome]:
        """Build one instance on its claimed host or an alternate (a BuildRequest). Returns a Future of a BuildOutcome,
        or of NoAnswer when no conductor reports any more that it works on it."""
        return self._client.call_async(context, "build_instance", timeout=LONG_TIMEOUT, monitored=True, build=build)

    def delete_instance(self, context: object, host: str, instance_uuid: str) -> Future[None]:
        """Delete an instance; returns a Future of None."""
        return self._client.call_async(context, "delete_instance", host=host, instance_uuid=instance_uuid)

    def beat(self, context: object, agent: str, hosts: Iterable[str], epoch: str | None) -> None:
        """Report to every conductor of the cell that hosts are alive. ``agent`` is the RPC server of their agent,
        ``epoch`` that of the log that it appends to."""
        self._client.cast(context, "beat", fanout=True, agent=agent, hosts=list(hosts), epoch=epoch)
