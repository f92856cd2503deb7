"""The RPC contract of the scheduler: nova's, on the topic ``scheduler``."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from oslo_config import cfg

from rpc_api.contracts.answering import AnsweringAPI
from rpc_api.own_name import own_name

if TYPE_CHECKING:
    # The bus brings oslo.messaging, which may only be imported once the concurrency mode is chosen.
    from rpc_api.bus.port import Bus
    from rpc_api.objects import Aggregate, RequestSpec, Selection

#: Our own conductor sends this as ``filter_properties``, an argument of Nova's call that no conductor of Nova 34 sends
#: and no Nova scheduler reads. It asks for the terms of each claim in the answer, beside Placement's form
#: (:mod:`rpc_api.contracts.selections`). An older scheduler of this project always sends the terms.
WITH_TERMS = {"nova_sched_terms": True}

TOPIC = "scheduler"
VERSION = "4.5"
LONG_TIMEOUT = 1800
#: Seconds; the default of the option.
CELL_DOWN_AFTER = 5.0

GROUP = cfg.OptGroup("scheduler", "What schedulers and their callers share")
OPTS = [
    own_name(
        "Name of this scheduler in the logs and on the RPC bus. Two schedulers that run at the same time must "
        "have different names."
    ),
    cfg.StrOpt(
        "rpc_topic",
        default=TOPIC,
        help='RPC topic that the schedulers answer. A nova-conductor calls "scheduler". RabbitMQ\'s queues are '
        "named after the topic alone, whatever control_exchange is, so beside a running nova-scheduler "
        "another topic is needed.",
    ),
    cfg.FloatOpt(
        "cell_down_after",
        default=CELL_DOWN_AFTER,
        min=0.0,
        help="Seconds for which the log of a cell may be unreadable before nothing is scheduled to the cell.",
    ),
    cfg.IntOpt(
        "max_attempts",
        default=3,
        min=1,
        mutable=True,
        help="Hosts that are tried for one instance: the selected one and its alternates.",
    ),
]


def wants_terms(filter_properties: object) -> bool:
    """Whether a call asks for the terms of claims."""
    return isinstance(filter_properties, dict) and bool(filter_properties.get("nova_sched_terms"))


class SchedulerAPI(AnsweringAPI):
    """Client side, like that of nova-conductor; it also asks for the terms of claims."""

    def __init__(self, bus: Bus, topic: str = TOPIC) -> None:
        super().__init__(bus, topic, VERSION)

    def select_destinations(
        self, context: object, spec_obj: RequestSpec, instance_uuids: Iterable[str], return_alternates: bool = True
    ) -> Future[list[list[Selection]]]:
        """Ask for hosts; returns a Future of one list of Selection objects for each instance. NoValidHost if not all
        instances can be placed, nova_exception.ServiceUnavailable if the scheduler cannot decide that, NoAnswer if no
        scheduler reports any more that it works on it."""
        return self._client.call_async(
            context,
            "select_destinations",
            timeout=LONG_TIMEOUT,
            monitored=True,
            spec_obj=spec_obj,
            instance_uuids=list(instance_uuids),
            return_objects=True,
            return_alternates=return_alternates,
            filter_properties=WITH_TERMS,
        )

    def update_aggregates(self, context: object, aggregates: Iterable[Aggregate]) -> None:
        """Send host aggregates (Aggregate objects) to all schedulers."""
        self._client.cast(context, "update_aggregates", fanout=True, aggregates=aggregates)
