"""Recorded decisions: found by request or instance, and made again in the world that their scheduler knew."""

from typing import NamedTuple

from nova_sched.projection.state import CELL0
from nova_sched.projection.world import World
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.logs.reading import holding
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import decide, unreachable_cells
from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from rpc_api.codec import Event

#: The least characters of an id by which a request or an instance may be named.
LEAST_PREFIX = 8
#: So many of several ids that a prefix may mean are named.
CANDIDATES_NAMED = 10


class Recorded(NamedTuple):
    """A DecisionMade in the logs: its cell and position, its producer and time, its data, its Evidence (None if that
    cannot be read, for the reason in ``fault``), and the level of its record."""

    cell: str
    position: int
    producer: str
    producer_epoch: int
    sequence: int
    at_ns: int
    decision: object
    evidence: object
    fault: str | None = None
    level: int = 1

    @property
    def key(self):
        """What tells it from every other decision."""
        return self.cell, self.producer, self.producer_epoch, self.sequence

    @property
    def is_selected(self):
        """Whether it found a host."""
        return self.decision.outcome == "selected"

    @property
    def unreachable(self) -> list[str]:
        """Cells that might have had a host and could not be reached, if it found none: that was the answer
        to the conductor, and not that there is no valid host."""
        return [] if self.is_selected or self.evidence is None else unreachable_in(self.evidence)

    @property
    def known(self) -> dict:
        """Cell -> CellPosition: how far its scheduler knew each log."""
        return {position.cell: position for position in self.evidence.positions}


def unreachable_in(evidence) -> list[str]:
    """Cells that might have had a host and could not be reached, by the Evidence of a decision that found none."""
    cells = [position for position in evidence.positions if position.cell != CELL0]
    return unreachable_cells(
        evidence.request,
        [position.cell for position in cells],
        [position.cell for position in cells if position.closed],
        # What it knew of a log that it never read.
        [position.cell for position in cells if position.position < 0],
        evidence.refusals,
    )


def recorded_of(cell: str, position: int, event: Event, level: int = 1) -> Recorded:
    """The Recorded of a DecisionMade event in a record of a level, or of the decision of a shadow in a
    DecisionCompared."""
    evidence = fault = None
    decision = event.data
    if event.name == "DecisionCompared":
        compared = event.data
        decision = events.DecisionMade(
            compared.request_id,
            compared.instance_uuid,
            0,
            compared.outcome,
            compared.reason,
            None,
            compared.hosts,
            compared.took_ns,
            compared.evidence,
        )
    try:
        evidence = events.thaw("Evidence", event.data.evidence)
    except errors.InvalidEvent as broken:
        fault = str(broken)
    return Recorded(
        cell,
        position,
        event.producer,
        event.producer_epoch,
        event.sequence,
        event.at_ns,
        decision,
        evidence,
        fault,
        level,
    )


# --- finding --------------------------------------------------------------------------------------------------------


def find(source, key: str, policies=None, names=("DecisionMade",)) -> list[Recorded]:
    """The decisions of a request id or an instance, in the order in which they were made: by instance and attempt.

    The beginning of an id will do, if it has 8 characters or more and is that of no other. ``policies`` (PolicyBook)
    learns the policies of the logs on the way; ``names`` are those of the events that count as decisions. Raises
    UsageError for a key that is too short or ambiguous, NovaSchedError if there is no such decision.
    """
    if len(key) < LEAST_PREFIX:
        raise errors.UsageError(
            f"{key!r} names no request, wanted a request id or the uuid of an instance, "
            f"or {LEAST_PREFIX} or more characters of its beginning"
        )
    by_id, refused = {}, None
    if policies is not None:
        policies.logs = source.logs
    for cell, position, event in _events_with(
        source.logs, (key.encode(), b"PolicyAdopted") if policies is not None else (key.encode(),)
    ):
        if event.name == "PolicyAdopted" and policies:
            policies.adopt(event.data, cell, position)
        elif event.name in names:
            for uuid in {event.data.request_id, event.data.instance_uuid}:
                if uuid.startswith(key):
                    by_id.setdefault(uuid, []).append(recorded_of(cell, position, event))
        elif event.name == "RequestRefused" and any(
            uuid.startswith(key) for uuid in (event.data.request_id, *event.data.instances)
        ):
            refused = f"no decision was made for {key}: it was refused ({cell} {position}): {event.data.reason}"
    if refused is not None and not by_id:
        raise errors.NovaSchedError(refused)
    return _in_order(_unambiguous(by_id, key, source))


def _events_with(logs, words):
    for cell, log in sorted(logs.items()):
        for position, record in holding(log, words):
            for event in record.events:
                if isinstance(event, Event):
                    yield cell, position, event


def _unambiguous(by_id, key, source):
    if key in by_id:
        return by_id[key]
    if not by_id:
        raise errors.NovaSchedError(
            f"no decision for {key} is in {', '.join(sorted(source.logs))}; name another "
            "request or instance, or the logs that are missing; history shows what Placement's API wrote"
        )
    if len(by_id) > 1:
        named = sorted(by_id)[:CANDIDATES_NAMED]
        more = len(by_id) - len(named)
        raise errors.UsageError(
            f"{key} may be {', '.join(named)}{f' or one of {more} more' if more else ''}; "
            "name more characters of the one that is meant"
        )
    return next(iter(by_id.values()))


def _in_order(found):
    # The same event may be in a log twice: a producer tries again.
    unique = {recorded.key: recorded for recorded in reversed(found)}
    return sorted(
        unique.values(),
        key=lambda recorded: (
            recorded.decision.instance_uuid,
            recorded.decision.attempt,
            recorded.at_ns,
            recorded.position,
        ),
    )


# --- making again ---------------------------------------------------------------------------------------------------


class Scene:
    """The world as a scheduler knew it when it made a decision, its own claims under way put in flight;
    with its policy. ``adopted`` (an Adopted) has what of the policy is not loaded; None: nothing."""

    def __init__(self, recorded: Recorded, world: World, policy: Policy, chain: FilterChain, held, adopted=None):
        self.recorded = recorded
        self.world = world
        self.policy = policy
        self.chain = chain
        #: (cell, position, ClaimProposed) of the claims in flight; the position is None if it is not known.
        self.held = held
        self.adopted = adopted

    @property
    def silent_filters(self) -> tuple:
        """The filters of the policy that are not loaded and that refused hosts then."""
        if self.adopted is None:
            return ()
        refused = {refusal.filter for refusal in self.recorded.evidence.refusals}
        return tuple(name for name in self.adopted.filters if name in refused)

    @property
    def exact_reasons(self) -> set:
        """(Filter, text of the reason) of the recorded refusals of which the hosts are known: those that the chain
        counts before the first filter that is not loaded."""
        found = set()
        for refusal in self.recorded.evidence.refusals:
            if refusal.filter in self.silent_filters:
                break
            found.add((refusal.filter, refusal.reason))
        return found

    request = property(lambda self: self.recorded.evidence.request)
    table = property(lambda self: self.world.table)

    def again(self):
        """Decide again; the :class:`~nova_sched.selection.decide.Decision`. PluginFault if a class of
        a deployer raises an error."""
        decision, evidence = self.recorded.decision, self.recorded.evidence
        return decide(
            self.world,
            self.chain,
            evidence.request,
            decision.instance_uuid,
            self.policy,
            evidence.seed,
            decision.attempt,
            max(0, len(decision.hosts) - 1),
        )


def scene(history, recorded: Recorded, policies: PolicyBook) -> Scene:
    """The scene of a decision, with as much of its policy as is loaded. Raises InvalidEvent if its evidence cannot
    be read, LogGap if the logs do not hold what it was made on, or its policy."""
    check_readable(recorded)
    adopted = policies.get_adopted(recorded.evidence.policy_digest)
    check_logs(history.logs, recorded)
    world = history.world_at({cell: position.position for cell, position in recorded.known.items()})
    set_closed(world.table, recorded)
    check_positions(world, recorded)
    held = [
        (position.cell, at, claim)
        for position in recorded.evidence.positions
        if position.last_in_flight
        for at, claim in claims_behind(
            history.logs[position.cell], world.projections[position.cell], recorded, position
        )
    ]
    for _, _, claim in held:
        world.in_flight.add(claim)
    return Scene(recorded, world, adopted.policy, FilterChain(world.table, adopted.policy), held, adopted)


def check_readable(recorded: Recorded) -> None:
    """Raise InvalidEvent for a decision whose evidence cannot be read."""
    if recorded.evidence is None:
        raise errors.InvalidEvent(
            f"the evidence of the decision at {recorded.cell} {recorded.position} cannot be read: {recorded.fault}"
        )


def check_logs(logs, recorded: Recorded) -> None:
    """Raise LogGap if a log is not given that a decision was made on."""
    for cell in recorded.known:
        if cell not in logs:
            raise errors.LogGap(f"the log of {cell} is not among those given; name it too")


def check_positions(world: World, recorded: Recorded) -> None:
    """Raise LogGap unless a world is folded to the positions at which a decision was made."""
    for cell, position in recorded.known.items():
        projection = world.projections[cell]
        if position.position >= 0 and projection.position != position.position:
            raise errors.LogGap(
                f"the log of {cell} is folded to {projection.position}, the decision was made at "
                f"{position.position}; the log is not the one it was made on"
            )
        if position.position >= 0 and position.epoch and projection.epoch and position.epoch != projection.epoch:
            raise errors.LogGap(
                f"the log of {cell} is of the epoch {projection.epoch}, the decision was made in "
                f"{position.epoch}; the log is not the one it was made on"
            )


def set_closed(table, recorded: Recorded) -> None:
    """Close the cells that the scheduler of a decision could not read then, and open the others."""
    for cell, position in recorded.known.items():
        if bool(table.cell_closed.get(cell)) != position.closed:
            table.cell_closed[cell] = position.closed
            table.topology_version += 1


def claims_behind(log, projection, recorded: Recorded, position):
    """(Position, ClaimProposed) of the claims of a decision's scheduler that were in flight in a cell: they come
    after what it knew of the cell's log."""
    by_epoch = {}
    known = projection.producers.get(recorded.producer)
    if known is not None:
        by_epoch[known[0]] = {}
    for at, record in holding(log, (recorded.producer.encode(),), position.position + 1):
        for event in record.events:
            if isinstance(event, Event) and event.producer == recorded.producer:
                claims = by_epoch.setdefault(event.producer_epoch, {})
                if (
                    event.name == "ClaimProposed"
                    and position.first_in_flight <= event.sequence <= position.last_in_flight
                ):
                    claims.setdefault(event.sequence, (at, event.data))
                mine = incarnation(by_epoch, recorded)
                if event.producer_epoch == mine and event.sequence >= position.last_in_flight:
                    return list(by_epoch[mine].values())
    mine = incarnation(by_epoch, recorded)
    return list(by_epoch.get(mine, {}).values())


def incarnation(epochs, recorded: Recorded) -> int | None:
    """Of the epochs of a decision's producer in a log, the epoch of the process that decided: each log has a
    producer of its own, made at one start."""
    return min(epochs, key=lambda epoch: abs(epoch - recorded.producer_epoch), default=None)


# --- comparing ------------------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """Why a decision is not made again as it was recorded: a stable ``code`` (policy, position, plugin, members,
    evidence, hosts, counts) and a sentence."""

    code: str
    text: str


def difference(recorded: Recorded, again) -> Difference | None:
    """What differs between a decision as it was recorded and as it was made again; None if it is the same."""
    decision = recorded.decision
    hosts = tuple(candidate.host for candidate in again.candidates)
    first = _first_cause(recorded, again)
    because = f"; {first}" if first else ""
    if hosts != decision.hosts:
        return Difference(
            "hosts",
            f"chose {', '.join(hosts) or 'no host'}; recorded {', '.join(decision.hosts) or 'no host'}{because}",
        )
    if again.summary != decision.reason:
        return Difference("counts", f"says {again.summary}; recorded {decision.reason}{because}")
    return Difference("evidence", first) if first else None


def _first_cause(recorded, again):
    """The first filter, or else the first weigher, with another result."""
    evidence = recorded.evidence
    # The evidence has the text of each reason.
    refusals = [(name, str(reason), hosts) for name, reason, hosts in again.refusals]
    recorded_refusals = [tuple(refusal) for refusal in evidence.refusals]
    for now, then in zip(refusals, recorded_refusals, strict=False):
        if now != then:
            return f"first {now[0]}: {now[2]} {now[1]}, recorded {then[0]}: {then[2]} {then[1]}"
    for name, more in (("recorded", recorded_refusals[len(refusals) :]), ("now", refusals[len(recorded_refusals) :])):
        if more:
            return f"first {more[0][0]}: {more[0][2]} {more[0][1]} is {name} only"
    for what in ("hosts_total", "survivors"):
        now, then = getattr(again, what), getattr(evidence, what)
        if now != then:
            return f"{now} {'hosts' if what == 'hosts_total' else what}, recorded {then}"
    scores = {score.host: score for score in again.scores}
    for then in evidence.scores:
        now = scores.get(then.host)
        if now is None:
            return f"{then.host} is not among the best any more"
        for after, before in zip(now.weighers, then.weighers, strict=False):
            if after != before:
                return (
                    f"first {before.weigher} of {then.host}: {after.raw:g} (adds {after.weighed:g}), recorded "
                    f"{before.raw:g} (adds {before.weighed:g})"
                )
        if now.score != then.score:
            return f"the score of {then.host}: {now.score:g}, recorded {then.score:g}"
    return None
