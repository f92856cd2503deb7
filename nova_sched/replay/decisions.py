"""Replay: make recorded decisions again, from the logs alone, and compare.

Each scheduler's decisions are taken in the order in which it made them; the
logs are folded to the positions that it knew then, its own claims that were
under way are put in flight, and the same request is decided with the same
policy, seed and attempt.
"""

from typing import NamedTuple

from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.reading import decoded_records
from nova_sched.selection.catalogue import BUILT_IN
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import Cloud, decide
from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from rpc_api.codec import Event


class Recorded(NamedTuple):
    """A DecisionMade in the logs: the cell and position it stands at, its producer, and what it says."""

    cell: str
    position: int
    producer: str
    producer_epoch: int
    sequence: int
    decision: object
    evidence: object

    @property
    def key(self):
        """What tells it from every other decision."""
        return self.cell, self.producer, self.producer_epoch, self.sequence


class Replayed(NamedTuple):
    """A decision made again: ``same`` hosts, or ``difference`` says what differs (or why it cannot be made again)."""

    recorded: Recorded
    again: object
    difference: str | None

    @property
    def same(self):
        return self.difference is None


class LogBook:
    """The records of all logs of a cloud, read once: ``records`` by cell, its decisions, claims and policies.

    The policies name filters and weighers of ``catalogue``.
    """

    def __init__(self, logs, catalogue=BUILT_IN):
        self.catalogue = catalogue
        self.records = {cell: list(decoded_records(log)) for cell, log in logs.items()}
        self.decisions = []
        #: Decisions whose evidence cannot be read: (cell, position, why).
        self.unreadable = []
        self.policies = {}
        #: Digest -> why the policy of that digest cannot be used.
        self.unusable = {}
        self._claims = {}
        self._outcomes = {}
        for cell, records in self.records.items():
            for position, record in records:
                for event in record.events:
                    if isinstance(event, Event):
                        self._note(cell, position, event)

    def _note(self, cell, position, event):
        if event.name == "DecisionMade":
            try:
                evidence = events.thaw("Evidence", event.data.evidence)
            except errors.InvalidEvent as broken:
                self.unreadable.append((cell, position, str(broken)))
                return
            self.decisions.append(Recorded(cell, position, event.producer, event.producer_epoch, event.sequence,
                                           event.data, evidence))
        elif event.name == "ClaimProposed":
            self._claims.setdefault((cell, event.producer, event.producer_epoch), []).append(
                (event.sequence, event.data))
        elif event.name == "PolicyAdopted":
            self._adopt(event.data)

    def _adopt(self, adopted):
        """Know a policy by its digest; one that is not what its digest says is nobody's."""
        try:
            policy = Policy.from_json(adopted.options, self.catalogue)
            genuine = policy.digest == adopted.digest
        except errors.UsageError as unknown:
            self.unusable[adopted.digest] = f"cannot be used: {unknown}; or name the configuration that loads it"
            return
        except (errors.NovaSchedError, TypeError):
            return
        if genuine:
            self.policies[adopted.digest] = policy

    def in_flight(self, cell, recorded, first, last):
        """The claims of a decision's scheduler in a cell with sequences from ``first`` to ``last``."""
        claims = self._claims.get((cell, recorded.producer, self._epoch_in(cell, recorded)), ())
        return [claim for sequence, claim in claims if first <= sequence <= last]

    def _epoch_in(self, cell, recorded):
        """The incarnation of the scheduler in a cell's log: each log has a producer of its own, made at one start."""
        epochs = [key[2] for key in self._claims if key[:2] == (cell, recorded.producer)]
        return min(epochs, key=lambda epoch: abs(epoch - recorded.producer_epoch), default=None)

    def outcomes(self, cell):
        """Claim uuid -> why it was refused, None where it was accepted, for all claims of a cell's log."""
        if cell not in self._outcomes:
            projection = Projection(cell, HostTable())
            settled, _ = projection.fold(self.records[cell])
            self._outcomes[cell] = {outcome.claim_uuid: outcome.reason for outcome in settled}
        return self._outcomes[cell]

    def of_request(self, key: str):
        """The decisions of a request id or an instance, in the order of their attempts."""
        return sorted((one for one in self.decisions if key in (one.decision.request_id, one.decision.instance_uuid)),
                      key=lambda one: (one.decision.instance_uuid, one.decision.attempt, one.position))


def replay(book: LogBook, only=None):
    """Make decisions again, in order; yields a :class:`Replayed` for each (``only``: a set of instance uuids)."""
    by_voice = {}
    for recorded in book.decisions:
        by_voice.setdefault((recorded.producer, recorded.evidence.policy_digest), []).append(recorded)
    for (_, digest), decisions in sorted(by_voice.items()):
        decisions.sort(key=lambda one: [position.position for position in one.evidence.positions])
        yield from _replay_voice(book, digest, decisions, only)


def _replay_voice(book, digest, decisions, only):
    if digest not in book.policies:
        for recorded in decisions:
            if only is None or recorded.decision.instance_uuid in only:
                why = book.unusable.get(digest, "is in none of the logs named; name that of cell0 too")
                yield Replayed(recorded, None, f"its policy {digest} {why}")
        return
    state = _State(book, book.policies[digest])
    for recorded in decisions:
        if only is None or recorded.decision.instance_uuid in only:
            yield state.again(recorded)


class _State:
    """Projections that are folded forward to where each decision was made."""

    def __init__(self, book, policy):
        self.book = book
        self.policy = policy
        self.table = HostTable()
        self.projections = {cell: Projection(cell, self.table) for cell in book.records}
        self.in_flight = InFlight(self.table)
        self.chain = FilterChain(self.table, policy)
        self._next = dict.fromkeys(book.records, 0)

    def again(self, recorded):
        evidence, decision = recorded.evidence, recorded.decision
        try:
            for position in evidence.positions:
                self._fold_to(position)
        except errors.LogGap as gap:
            return Replayed(recorded, None, str(gap))
        held = [claim for position in evidence.positions if position.last_in_flight
                for claim in self.book.in_flight(position.cell, recorded, position.first_in_flight,
                                                 position.last_in_flight)]
        for claim in held:
            self.in_flight.add(claim)
        cloud = Cloud(self.table, self.projections, self.in_flight, self.chain)
        try:
            again = decide(cloud, evidence.request, decision.instance_uuid, self.policy, evidence.seed, decision.attempt,
                           max(0, len(decision.hosts) - 1))
        except errors.PluginFault as fault:
            return Replayed(recorded, None, str(fault))
        finally:
            for claim in held:
                self.in_flight.remove(claim.claim_uuid)
        return Replayed(recorded, again, _difference(recorded, again))

    def _fold_to(self, position):
        cell, records = position.cell, self.book.records.get(position.cell)
        if records is None:
            raise errors.LogGap(f"the log of {cell} is not among those given; name it too")
        projection = self.projections[cell]
        if bool(self.table.cell_closed.get(cell)) != position.closed:
            self.table.cell_closed[cell] = position.closed
            self.table.topology_version += 1
        index = self._next[cell]
        if index == 0 and records and position.position >= 0 and records[0][0] > position.position + 1:
            raise errors.LogGap(f"the log of {cell} begins at {records[0][0]}, the decision knew it to "
                                f"{position.position}; it was truncated since")
        while index < len(records) and records[index][0] <= position.position:
            projection.fold([records[index]])
            index += 1
        self._next[cell] = index
        if position.position >= 0 and projection.position != position.position:
            raise errors.LogGap(f"the log of {cell} is folded to {projection.position}, the decision was made at "
                                f"{position.position}; the log is not the one it was made on")


def _difference(recorded, again):
    hosts = tuple(candidate.host for candidate in again.candidates)
    if hosts != recorded.decision.hosts:
        return f"chose {', '.join(hosts) or 'no host'}; recorded {', '.join(recorded.decision.hosts) or 'no host'}"
    if again.summary != recorded.decision.reason:
        return f"says {again.summary}; recorded {recorded.decision.reason}"
    return None
