"""A dry run: a request is decided on the present state by the code of the schedulers, and nothing is claimed.

The result is a :class:`~nova_sched.replay.decisions.recorded.Scene` with the event that a scheduler would have
recorded, so all that explains a recorded decision explains this one.
"""

import uuid
from typing import NamedTuple

from nova_sched.projection.state import CELL0
from nova_sched.replay.decisions.recorded import Scene, recorded_of
from nova_sched.scheduler.evidence import decision_event
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import claim_of, decide
from nova_sched.selection.needed_members import with_needed_members
from rpc_api import codec, events

PRODUCER = "scheduler/dry-run"


class _Instance(NamedTuple):
    uuid: str
    decision: object
    seed: int
    attempt: int = 0


def dry_runs(world, request, adopted, count: int, seed: int, alternates: int, instance_uuid: str | None = None):
    """Yield the Scene of each of ``count`` equal instances, one after the other: each takes the room of those before.
    The first one that finds no host is the last one. ``adopted`` (an Adopted) has the policy; ``instance_uuid`` is
    that of a server which exists. PluginFault if a class of a deployer raises an error."""
    chain = FilterChain(world.table, adopted.policy)
    positions = tuple(
        events.CellPosition(cell, projection.epoch or "", projection.position, 0, 0, False)
        for cell, projection in world.projections.items()
    )
    held = []
    for number in range(1, count + 1):
        mine = instance_uuid or str(uuid.UUID(int=seed % 2**64 << 32 | number))
        needed = with_needed_members(request, world, adopted.policy, mine)
        decision = decide(world, chain, needed, mine, adopted.policy, seed, 0, alternates)
        made = decision_event(adopted.policy, _Instance(mine, decision, seed), needed, positions, 0, mine)
        event = codec.make_event(made, PRODUCER, 1, number, 0)
        yield Scene(recorded_of(CELL0, -1, event), world, adopted.policy, chain, tuple(held), adopted)
        if not decision.candidates:
            return
        chosen = decision.candidates[0]
        claim = claim_of(mine, mine, needed, chosen)
        held.append((world.table.cells.values[world.table.cell[chosen.row]], None, claim))
        world.in_flight.add(claim)
