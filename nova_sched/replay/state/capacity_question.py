"""The question of ``capacity``: amounts that an operator types, or the request that logs recorded."""

import re
from typing import NamedTuple

from nova_sched.replay.logs.reading import holding
from rpc_api import errors, events
from rpc_api.codec import Event
from rpc_api.events.decision import SHADOW

_AMOUNTS = re.compile(r"[A-Z0-9_]+=\d{1,15}(,[A-Z0-9_]+=\d{1,15})*")
_SIZES = re.compile(r"\d{1,15}(:\d{1,15}){0,2}")
_USUAL = ("VCPU", "MEMORY_MB", "DISK_GB")
#: The parts of a request that belong to one instance, such as its project, group and forced hosts: a question has none.
_OF_NO_INSTANCE = {
    "request_id": "capacity",
    "project_id": None,
    "user_id": None,
    "availability_zone": None,
    "force_hosts": (),
    "force_nodes": (),
    "ignore_hosts": (),
    "target_host": None,
    "target_node": None,
    "target_cell": None,
    "preferred_cell": None,
    "server_group": None,
    "scheduler_hints": {},
    "image_id": None,
    "image_properties": {},
    "check_only": False,
    "disk_format": None,
    "segments": (),
}


def amounts_in(text: str) -> dict[str, int] | None:
    """Parse ``VCPU=4,MEMORY_MB=8192`` or ``4:8192:40`` into resource class -> amount; None for another text (a name).
    UsageError if a class is there twice, or if all amounts are 0."""
    if _SIZES.fullmatch(text):
        amounts = dict(zip(_USUAL, map(int, text.split(":")), strict=False))
    elif _AMOUNTS.fullmatch(text):
        pairs = [pair.split("=") for pair in text.split(",")]
        amounts = {name: int(amount) for name, amount in pairs}
        if len(amounts) < len(pairs):
            raise errors.UsageError(f"{text} names a resource class twice; name each once")
    else:
        return None
    amounts = {name: amount for name, amount in amounts.items() if amount}
    if not amounts:
        raise errors.UsageError(f"{text} asks for nothing; name an amount above 0")
    return amounts


def request_for(amounts: dict):
    """Return a SchedulingRequest for some amounts, and nothing else."""
    group = events.ResourceGroup(
        "", tuple(events.ResourceAmount(*amount) for amount in sorted(amounts.items())), (), (), (), (), (), None
    )
    return events.SchedulingRequest(
        **_OF_NO_INSTANCE,
        flavor_name="",
        extra_specs={},
        groups=(group,),
        group_policy="",
        same_subtree=(),
        root_required=(),
        root_forbidden=(),
        vcpus=amounts.get("VCPU", 0) + amounts.get("PCPU", 0),
        memory_mb=amounts.get("MEMORY_MB", 0),
        root_gb=amounts.get("DISK_GB", 0),
    )


def without_instance(request):
    """Return a recorded request without the parts that belong to one instance."""
    return request._replace(**_OF_NO_INSTANCE)


class Recorded(NamedTuple):
    """The answer of the logs: the wanted request (None: not found), the names of all flavors on the way, and the policy
    that was adopted last, as text with its digest, cell and position (None: there is none)."""

    request: object
    flavors: frozenset
    policy: str | None
    digest: str | None
    cell: str | None = None
    position: int | None = None


def recorded_in(logs, positions, flavor: str | None = None, like: str | None = None, whole: bool = False) -> Recorded:
    """Search logs up to some positions for the last request for a flavor, or of a request id or instance, and for the
    policy: the one that a scheduler adopted last, or a shadow if no scheduler did. With ``whole`` a request of ``like``
    keeps its server group."""
    request = policy = digest = where = at = None
    latest, adopted, flavors = -1, (False, -1), set()
    words = [b"PolicyAdopted"]
    if flavor is not None or like is not None:
        words.append(b"DecisionMade" if flavor is not None else like.encode("utf-8", "surrogatepass"))
    for cell, log in sorted(logs.items()):
        for position, record in holding(log, words, last=positions.get(cell)):
            for event in record.events:
                if not isinstance(event, Event):
                    continue
                if event.name == "PolicyAdopted":
                    rank = not event.producer.startswith(f"{SHADOW}/"), event.at_ns
                    if rank > adopted:
                        policy, digest, adopted = event.data.options, event.data.digest, rank
                        where, at = cell, position
                elif event.name == "DecisionMade" and len(words) > 1:
                    found = _asked(event.data, like)
                    if found is None:
                        continue
                    flavors.add(found.flavor_name)
                    if event.at_ns > latest and (like is not None or flavor in (found.flavor_name, found.flavor_id)):
                        request, latest = found, event.at_ns
    if request is not None:
        request = (
            request._replace(server_group=request.server_group if whole else None, check_only=False)
            if like is not None
            else without_instance(request)
        )
    return Recorded(request, frozenset(flavors), policy, digest, where, at)


def _asked(decision, like):
    if like is not None and like not in (decision.request_id, decision.instance_uuid):
        return None
    try:
        return events.thaw("Evidence", decision.evidence).request
    except errors.InvalidEvent:
        return None
