"""The projects and users of servers, for consumers of which a log has none.

A claim in a log below level 4 has no user, and what an agent reported has none either. Placement wants both.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nova_sched.clients.nova import SERVICE_VERSION, NovaApi
from nova_sched.migration.model import Consumer, Placement
from nova_sched.migration.side_by_side import Progress, each, no_progress
from rpc_api import errors

#: What an operator can do about a consumer without a user, as a part of a sentence.
HEAL = "run nova-manage placement heal_allocations while Nova uses the Placement API of nova_sched, and export again"


class Owner(NamedTuple):
    """The project and the user of a server."""

    project: str
    user: str


def without_owner(placement: Placement) -> list[str]:
    """The consumers that have no project or no user."""
    return [uuid for uuid, consumer in placement.consumers.items() if _lacks(consumer)]


def of_servers(api: NovaApi, uuids: Iterable[str], threads: int, progress: Progress = no_progress) -> dict[str, Owner]:
    """The owners of some uuids; one that is not that of a server is missing. Nova leaves out servers of a cell that is
    down when it lists them, so what is not listed is asked for alone. ServiceUnavailable if Nova cannot be asked."""
    wanted, listed = set(uuids), {}
    for server in api.all_servers(SERVICE_VERSION):
        if server["id"] in wanted:
            listed[server["id"]] = Owner(server["tenant_id"], server["user_id"])
    rest = sorted(wanted - listed.keys())
    alone = each(api.server, rest, threads, "servers", progress)
    return listed | {server.uuid: Owner(server.project, server.user) for server in alone if server is not None}


def with_owners(placement: Placement, owners: Mapping[str, Owner]) -> Placement:
    """A Placement in which the consumers that have no project or no user get those of their owners."""
    return placement._replace(
        consumers={
            uuid: owned(consumer, owners[uuid]) if uuid in owners and _lacks(consumer) else consumer
            for uuid, consumer in placement.consumers.items()
        }
    )


def check_complete(placement: Placement, asked: bool) -> None:
    """UsageError for a consumer that has no project or no user; ``asked`` says whether Nova was asked for it."""
    for uuid in without_owner(placement):
        remedy = "Nova has no server of that uuid" if asked else "leave out --placement-only, so that Nova is asked"
        raise errors.UsageError(
            f"consumer {uuid} has no project or no user, and Placement wants both: it was claimed in a log below level "
            f"4, or an agent reported it; {remedy}. If it is a server, {HEAL}"
        )


def _lacks(consumer: Consumer) -> bool:
    return consumer.project is None or consumer.user is None


def owned(consumer: Consumer, owner: Owner) -> Consumer:
    """A consumer with the project and the user of its owner, where it has none."""
    return consumer._replace(project=consumer.project or owner.project, user=consumer.user or owner.user)
