"""The story of an instance: every event about it in all logs, its claims with their verdicts, and how long
each step took."""

from typing import NamedTuple

from nova_sched.projection.claim_refusals import OLDER_LEVEL
from nova_sched.projection.ledger import PlainTree
from nova_sched.replay.decisions.causes import event_at
from nova_sched.replay.decisions.recorded import Recorded
from nova_sched.replay.logs.matching import subjects
from nova_sched.replay.logs.moments import position_at
from nova_sched.replay.logs.reading import holding
from rpc_api import errors
from rpc_api.codec import Event

#: A claim so many records behind the last one is looked at from the nearest snapshot, and not by folding all between.
FAR = 20_000
#: Events that say something of an instance: of the others only its host may say more.
ABOUT = frozenset(
    {
        "DecisionMade",
        "ClaimProposed",
        "ClaimReleased",
        "ClaimExpired",
        "InstanceStarted",
        "InstanceDeleted",
        "AllocationMoved",
        "BuildFailed",
        "InstancesTracked",
        "RequestRefused",
        "AllocationsPut",
        "AllocationsDropped",
        "ConsumerImported",
        "Reshaped",
        "AllocationsPrepared",
        "WriteCommitted",
        "WriteAborted",
    }
)

ACCEPTED, REFUSED, UNKNOWN, ABSENT = "accepted", "refused", "not known", "not in the log"


class Step(NamedTuple):
    """An event about an instance: where and when it stands, who said it, its name and data."""

    cell: str
    position: int
    at_ns: int
    producer: str
    name: str
    data: object


class ClaimFate(NamedTuple):
    """A claim: the Step that proposed it, its ``verdict`` (accepted, refused, not known) and, where it was refused,
    the ``reason`` and ``lost_to``: Causes that its scheduler did not know of when it decided."""

    step: Step
    verdict: str
    reason: str | None
    lost_to: list


def steps_of(logs, instance_uuid: str) -> list[Step]:
    """All events about an instance, by their times; each once, whether or not it is in a log twice."""
    found, seen = [], set()
    for cell, log in sorted(logs.items()):
        for position, record in holding(log, (instance_uuid.encode(),)):
            for event in record.events:
                if isinstance(event, Event) and event.name in ABOUT and instance_uuid in _named(event.data):
                    mark = cell, event.producer, event.producer_epoch, event.sequence
                    if mark not in seen:
                        seen.add(mark)
                        found.append(Step(cell, position, event.at_ns, event.producer, event.name, event.data))
    return sorted(found, key=lambda step: (step.at_ns, step.cell, step.position))


def _named(data):
    consumer = getattr(data, "consumer", None)
    return {
        getattr(data, "instance_uuid", None),
        getattr(data, "consumer_uuid", None),
        getattr(consumer, "instance_uuid", None),
        getattr(data, "from_consumer_uuid", None),
        getattr(data, "to_consumer_uuid", None),
        # Of a refused request they are uuids.
        *(getattr(instance, "instance_uuid", instance) for instance in getattr(data, "instances", ())),
        *getattr(data, "gone", ()),
        *getattr(data, "consumer_uuids", ()),
        *(one.consumer_uuid for one in getattr(data, "consumers", ())),
    }


def fates(history, steps, decisions=()) -> dict[str, ClaimFate]:
    """Claim uuid -> ClaimFate of the claims among some steps. ``decisions`` (Recorded) say what the schedulers of
    the claims knew."""
    knew = {recorded.decision.claim_uuid: recorded for recorded in decisions if recorded.evidence is not None}
    found = {}
    for cell in sorted({step.cell for step in steps if step.name == "ClaimProposed"}):
        claims = [step for step in steps if step.cell == cell and step.name == "ClaimProposed"]
        found.update(_fates_in(history, cell, sorted(claims, key=lambda step: step.position), knew))
    return found


def _fates_in(history, cell, claims, knew):
    world, found = None, {}
    for step in claims:
        outcomes = {}

        def watch(position, record, settled, noted, outcomes=outcomes):
            outcomes.update((outcome.claim_uuid, outcome.reason) for outcome in settled)

        claim = step.data
        try:
            if world is None or not -1 <= step.position - world.projections[cell].position - 1 <= FAR:
                world = history.world_at({cell: step.position - 1})
            newer = _newer(history, cell, world.projections[cell], knew.get(claim.claim_uuid), claim)
            history.forward(world, cell, step.position, watch)
        except errors.LogGap:
            world = None
            found[claim.claim_uuid] = ClaimFate(step, UNKNOWN, None, [])
            continue
        if claim.claim_uuid not in outcomes:
            found[claim.claim_uuid] = ClaimFate(step, UNKNOWN, None, [])
        elif outcomes[claim.claim_uuid] is None:
            found[claim.claim_uuid] = ClaimFate(step, ACCEPTED, None, [])
        else:
            found[claim.claim_uuid] = ClaimFate(step, REFUSED, str(outcomes[claim.claim_uuid]), newer)
    return found


def _newer(history, cell, projection, recorded, claim):
    """The consumers that took something on a host, or of a shared provider of the claim, after a decision, which did
    not know of them."""
    host = projection.hosts.get(claim.host)
    if host is None or recorded is None or cell not in recorded.known:
        return []
    known = recorded.known[cell].position
    trees = {projection.trees.get(allocation.provider_uuid) for allocation in claim.allocations}
    users = [entry for tree in trees if type(tree) is PlainTree for entry in tree.users.values()]
    entries = sorted(
        {id(entry): entry for entry in (*host.entries.values(), *users) if entry.position > known}.values(),
        key=lambda entry: entry.position,
    )
    return [
        event_at(
            history.logs[cell],
            cell,
            entry.position,
            f"instance {entry.instance_uuid} came to {entry.host or 'no host'}",
            lambda event, entry=entry: (
                event.name != "DecisionMade" and entry.consumer_uuid in subjects(event).instances
            ),
        )
        for entry in entries
    ]


def lag(logs, recorded: Recorded) -> dict[str, int]:
    """Cell -> number of records that its log contained, by their times, but that the decision did not know of."""
    behind = {}
    for cell, position in recorded.known.items():
        if cell in logs and position.position >= 0:
            held = recorded.position - 1 if cell == recorded.cell else position_at(logs[cell], recorded.at_ns)
            behind[cell] = max(0, held - position.position)
    return behind


# --- failures --------------------------------------------------------------------------------------------------------


def refused_as_older(steps, fates_) -> list[str]:
    """The hosts on which claims were refused because their scheduler or conductor did not know the level of the log."""
    fates_of = ((step.data.host, fates_.get(step.data.claim_uuid)) for step in steps if step.name == "ClaimProposed")
    return [host for host, fate in fates_of if fate is not None and str(fate.reason) == str(OLDER_LEVEL)]


def failed_hosts(steps, fates_) -> tuple[list[str], list[str]]:
    """The hosts on which builds failed, and those that were given up before a build, as the claim on
    them was refused."""
    built, taken, refused = [], [], {}
    for step in steps:
        if step.name == "ClaimProposed":
            fate = fates_.get(step.data.claim_uuid)
            refused[step.data.host] = fate is not None and fate.verdict == REFUSED
        elif step.name == "BuildFailed":
            (taken if refused.get(step.data.host) else built).append(step.data.host)
    return built, taken
