"""Fragmentation: how many more of each flavor fit, how many would fit if all free room were on one host, and where room
is stranded because another resource class is full."""

from collections import Counter
from typing import NamedTuple

from nova_sched.replay.logs.reading import holding
from nova_sched.replay.state.capacity import by_reason, capacity, stranded, together
from nova_sched.replay.state.capacity_question import without_instance
from rpc_api import errors, events
from rpc_api.codec import Event


class Flavor(NamedTuple):
    """A flavor that was asked for: its ``name``, the amounts of one instance, the SchedulingRequest, and how many of
    the recorded requests asked for it."""

    name: str
    amounts: dict
    request: object
    asked: int


class Fragmented(NamedTuple):
    """A flavor: how many more ``fits``, how many would fit into all free room of the ``hosts`` in one piece
    (``in_one_piece``), the ``fragmented`` share of that in percent, the number of hosts with room, what stops the next
    one on most hosts, and resource class -> amount that is ``stranded``. ``by_host`` has the stranded amounts of each
    (cell, host)."""

    name: str
    fits: int
    in_one_piece: int
    fragmented: float
    hosts_with_room: int
    stops: str | None
    stranded: dict
    by_host: dict


def amounts_of(request) -> dict[str, int]:
    """Return resource class -> amount of one instance of a SchedulingRequest."""
    amounts = Counter()
    for group in request.groups:
        for name, amount in group.resources:
            amounts[name] += amount
    return dict(sorted(amounts.items()))


def flavors_asked(logs, positions) -> list[Flavor]:
    """Return the flavors that the recorded requests asked for, the most often asked ones first. A request without the
    name of a flavor is left out."""
    last, asked = {}, Counter()
    for cell, log in sorted(logs.items()):
        for _, record in holding(log, (b"DecisionMade",), last=positions.get(cell)):
            for event in record.events:
                if isinstance(event, Event) and event.name == "DecisionMade" and not event.data.attempt:
                    try:
                        request = events.thaw("Evidence", event.data.evidence).request
                    except errors.InvalidEvent:
                        continue
                    if request.flavor_name:
                        asked[request.flavor_name] += 1
                        if event.at_ns >= last.get(request.flavor_name, (0,))[0]:
                            last[request.flavor_name] = event.at_ns, request
    return [
        Flavor(name, amounts_of(last[name][1]), without_instance(last[name][1]), count)
        for name, count in sorted(asked.items(), key=lambda item: (-item[1], item[0]))
    ]


def fragmented(world, flavor: Flavor, policy) -> Fragmented:
    """Return the :class:`Fragmented` of a flavor on a world."""
    answers = capacity(world, flavor.request, policy)
    fits = together(world, flavor.request, answers, policy)
    # Of hosts that the filters refuse for another reason than room nothing counts.
    usable = [answer for answer in answers if answer.fits or answer.filter in _OF_ROOM]
    free = Counter()
    for answer in usable:
        for name, amount in flavor.amounts.items():
            free[name] += max(0, answer.left.get(name, 0)) + answer.fits * amount
    whole = min((free[name] // amount for name, amount in flavor.amounts.items() if amount), default=0)
    reasons = by_reason([answer for answer in answers if answer.reason])
    left = {
        (answer.cell, answer.host): kept
        for answer in usable
        if (kept := {name: amount for name, amount in stranded([answer], flavor.amounts).items() if amount})
    }
    return Fragmented(
        flavor.name,
        fits,
        whole,
        round(100 * (1 - fits / whole), 1) if whole else 0.0,
        sum(answer.fits > 0 for answer in answers),
        reasons[0][0] if reasons else None,
        stranded(answers, flavor.amounts),
        left,
    )


_OF_ROOM = ("ResourceFilter", "NUMATopologyFilter", "PciPassthroughFilter")
