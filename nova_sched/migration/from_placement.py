"""Read all that a stock Placement knows, over its HTTP API, while the cloud runs.

Placement lists no consumers: they are found by what is held of each provider. A provider is read in four requests, and
they are repeated when a client wrote to it in between. What changes after it was read is found by the next comparison.
"""

from collections.abc import Callable
from typing import Any

from nova_sched.clients.service import Answer, Service, understood
from nova_sched.migration.model import CUSTOM, Consumer, Placement, Provider
from nova_sched.migration.side_by_side import Progress, each, no_progress
from rpc_api import errors, events

#: The newest microversion that is used, and the oldest one that tells the generations of consumers.
NEWEST, OLDEST = (1, 39), (1, 28)
#: How often a provider is read that changes meanwhile. Then the lowest generation that was seen counts, so that the
#: next comparison finds what is newer.
READS = 4
THREADS = 8
#: The type of a consumer that has none.
UNKNOWN_TYPE = "unknown"


def read(service: Service, threads: int = THREADS, progress: Progress = no_progress) -> Placement:
    """All that a Placement knows. ServiceUnavailable if it cannot be read."""
    with understood("placement"):
        return _read(service, threads, progress)


def _read(service: Service, threads: int, progress: Progress) -> Placement:
    version = version_of(service, OLDEST)
    source = _Source(service, version)
    classes = source.names("/resource_classes", "resource_classes", lambda one: one["name"])
    traits = source.names("/traits?name=startswith:CUSTOM_", "traits", lambda one: one)
    listed = source.list("/resource_providers", "resource_providers")
    found = each(source.provider, listed, threads, "providers", progress)
    providers = {provider.uuid: provider for provider, _ in filter(None, found)}
    uuids = sorted({consumer for one in filter(None, found) for consumer in one[1]})
    consumers = each(source.consumer, uuids, threads, "consumers", progress)
    return Placement(
        providers,
        {consumer.uuid: consumer for consumer in filter(None, consumers)},
        frozenset(classes),
        frozenset(traits),
    )


def version_of(service: Service, oldest: tuple[int, int]) -> str:
    """The microversion to use; ServiceUnavailable if the service does not have the ``oldest`` one."""
    newest = service.newest_version()
    if newest < oldest:
        raise errors.ServiceUnavailable(
            f"Placement has microversions up to {newest[0]}.{newest[1]}, wanted {oldest[0]}.{oldest[1]}; upgrade it"
        )
    major, minor = min(newest, NEWEST)
    return f"{major}.{minor}"


class _Source:
    def __init__(self, service: Service, version: str):
        self._service, self._version = service, version

    def _get(self, path: str, *wanted: int) -> Answer:
        return self._service.ask("GET", path, version=self._version, wanted=wanted)

    def list(self, path: str, name: str) -> list[Any]:
        return self._service.listed(path, name, self._version)

    def names(self, path: str, name: str, of: Callable[[Any], str]) -> set[str]:
        return {of(one) for one in self.list(path, name) if of(one).startswith(CUSTOM)}

    def provider(self, listed: dict[str, Any]) -> tuple[Provider, set[str]] | None:
        """A provider and its consumers; None if it was deleted meanwhile."""
        path, lowest = f"/resource_providers/{listed['uuid']}", 0
        for _ in range(READS):
            answers = [
                self._get(f"{path}/{noun}", 404) for noun in ("allocations", "inventories", "traits", "aggregates")
            ]
            if any(answer.status == 404 for answer in answers):
                return None
            generations = {answer.body["resource_provider_generation"] for answer in answers}
            lowest = min(generations)
            if len(generations) == 1:
                break
        held, inventories, traits, aggregates = [answer.body for answer in answers]
        return (
            Provider(
                listed["uuid"],
                listed["name"],
                listed["parent_provider_uuid"],
                lowest,
                {name: _inventory(name, one) for name, one in inventories["inventories"].items()},
                frozenset(traits["traits"]),
                frozenset(aggregates["aggregates"]),
            ),
            set(held["allocations"]),
        )

    def consumer(self, uuid: str) -> Consumer | None:
        """A consumer; None if it holds nothing any more."""
        body = self._get(f"/allocations/{uuid}").body
        allocations = {
            (provider, name): amount
            for provider, one in body["allocations"].items()
            for name, amount in one["resources"].items()
        }
        if not allocations:
            return None
        # Before microversion 1.38 a consumer has no type.
        kind = body.get("consumer_type", UNKNOWN_TYPE)
        return Consumer(
            uuid,
            body["consumer_generation"],
            body["project_id"],
            body["user_id"],
            None if kind == UNKNOWN_TYPE else kind,
            allocations,
        )


def _inventory(name: str, one: dict[str, Any]) -> events.Inventory:
    ratio = float(one["allocation_ratio"])
    fields = (one[field] for field in ("total", "reserved", "min_unit", "max_unit", "step_size"))
    return events.Inventory(name, *fields, ratio)
