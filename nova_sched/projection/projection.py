"""The projection of one cell's log: the state that its events add up to.

``Projection.fold`` is the only way in: it takes decoded records in the order
of the log and returns the outcomes of claims and the notes. The state
depends on nothing else, so every process that folds the same log has the
same state (see :mod:`nova_sched.projection.digest`).
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable
from itertools import filterfalse
from typing import Any, NamedTuple

from nova_sched.projection import provider_rows
from nova_sched.projection.claim_refusals import OLDER_LEVEL
from nova_sched.projection.fold import HANDLERS
from nova_sched.projection.ledger import Entry, GroupIndex
from nova_sched.projection.noted import Noted
from nova_sched.projection.reason import Reason
from nova_sched.projection.rules import rules_of
from nova_sched.projection.speakers import AGENT, USUAL_SPEAKERS, fault_of_rebase, fault_of_speaker
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable
from nova_sched.projection.tracked import Tracked, TrackedInstances
from nova_sched.projection.waiting import Waiting
from nova_sched.projection.write_handlers import note_set_aside
from nova_sched.projection.write_outcomes import Written
from rpc_api import errors
from rpc_api.accounts import speaks_for
from rpc_api.codec import DecodedRecord, Event, SetAside
from rpc_api.events.cloud import ANYONE
from rpc_api.levels import LEVEL
from rpc_api.proof import Trail

MAX_KEPT = 1000
#: Greatest length of the reason why an event was set aside, in characters: names in it may be long.
MAX_REASON = 400
#: A service of a lower level does not know that claims after the pin hold: it must not end them.
ENDS_OF_CLAIMS = ("ClaimReleased", "ClaimExpired")
#: Names of counts: of all events that were set aside (with ":CODE": for one reason), of those that a service which
#: folds the log wrote at a higher level than the log has here, of those after a pin to an unknown level, and of digests
#: of hosts that did not match.
SET_ASIDE = "set-aside"
MISSED_PIN = "missed-pin"
TOO_NEW = "too-new"
DIVERGENCE = "divergence"


class Outcome(NamedTuple):
    """The outcome of a ClaimProposed at its position; ``reason`` is None when it was accepted."""

    position: int
    producer: str
    claim_uuid: str
    consumer_uuid: str
    reason: Reason | None


class Quarantined(NamedTuple):
    """An event that was set aside: where, why, and its bytes."""

    position: int
    index: int  # type: ignore[assignment]  # hides a method of tuple
    code: str
    reason: str
    raw: bytes


def shows_level(record: DecodedRecord, accounts_required: bool = False) -> bool:
    """Whether a record shows the level of a log whose pin was removed in front: one of schedulers or conductors, which
    know the level. Of a level that this process does not know, only the account says whose record it is. An account
    that names no service may be that of all of them, unless accounts are required."""
    if record.level > LEVEL:
        return record.account is None or not speaks_for(record.account, f"{AGENT}/{record.account.partition('.')[2]}")
    producers = [event.producer for event in record.events if type(event) is not SetAside]
    if record.account is None or record.account.partition(".")[0] not in ANYONE:
        return not accounts_required and not all(producer.startswith(AGENT) for producer in producers)
    return any(not producer.startswith(AGENT) and speaks_for(record.account, producer) for producer in producers)


def unknown_level(cell: str, level: int) -> errors.UnknownSchema:
    """The error for a log that is pinned to a level above ``LEVEL``."""
    return errors.UnknownSchema(
        f"the log of {cell} is pinned to level {level}, this version knows 1 to {LEVEL}; upgrade nova_sched here"
    )


def _is_newer_claim(projection: State, event: Event) -> bool:
    """Whether a claim that an event ends was accepted after the pin."""
    data: Any = event.data
    return any(
        entry.claim_uuid == data.claim_uuid and entry.position > projection.pinned_at
        for entry in projection.consumers.get(data.consumer_uuid, ())
    )


class Projection(State):
    """State of one log.

    ``position`` is that of the last record folded (-1 before any); ``epoch`` is the log's. ``noted`` and
    ``quarantine`` keep the last ``kept`` of their kind (None: all, for a caller that removes them), and
    ``counts`` counts all; none of the three is state.
    """

    def __init__(
        self, cell: str, table: HostTable | None = None, whole: bool = True, kept: int | None = MAX_KEPT
    ) -> None:
        self.cell = cell
        self.table = table if table is not None else HostTable()
        self.cell_index = self.table.cells.id_of(cell)
        self.whole = whole
        self.epoch = None
        self.position = -1
        self.trail = Trail()
        self.use_level(1)
        self._begin()
        #: The outcomes of API writes, for a process that takes them out; None if none does.
        self.writes: list[Written] | None = None
        self.noted: deque[Noted] = deque(maxlen=kept)
        self.quarantine: deque[Quarantined] = deque(maxlen=kept)
        self.counts = Counter()

    def _begin(self) -> None:
        """The state of an empty log."""
        self.hosts = {}
        self.consumers = {}
        self.several = set()
        self.groups = GroupIndex()
        #: The time for which conductors watched the claims of this log; 0 without the rule ``claims_have_an_age``.
        self.watched_ms = 0
        #: Consumer uuid -> its entry, of the claims that came after the last ClaimsWatched.
        self.unwatched = {}
        #: Producer -> (epoch, sequence) of its last event.
        self.producers = {}
        #: Aggregate uuid -> AggregateUpdated, as this log has it (the table has them of all logs).
        self.aggregates = {}
        self.holders = {}
        self.trees = {}
        self.provider_names = {}
        self.waiting = Waiting()
        self.stray_hosts = set()
        self.custom_classes = {}
        self.custom_traits = {}
        self.prepared, self.locked, self.committed = {}, {}, {}
        self.holds_writes = False
        self.tracked = TrackedInstances()
        #: Affinity group -> (cell, host, number): see GroupAnchored.
        self.anchors = {}
        #: Affinity group -> the highest anchor under which nothing may be claimed here.
        self.fences = {}
        #: Whether an event only counts with an account that belongs to its producer.
        self.accounts_required = False

    def forget(self) -> None:
        """Remove all state of this log, also from the table. The level stays."""
        provider_rows.erase_all(self)
        for uuid in self.aggregates:
            self.table.aggregates.pop(uuid, None)
        self.table.topology_version += 1
        self.whole = True
        self._begin()

    def use_level(self, level: int, position: int = -1) -> None:
        """The log has a level from the record at a position on."""
        self.level, self.rules, self.pinned_at = level, rules_of(level), position
        self.table.set_level(self.cell_index, level)

    @property
    def is_too_new(self) -> bool:
        """Whether the log is pinned to a level that this process does not know: from there on nothing counts."""
        return self.level > LEVEL

    def unknown_level(self) -> errors.UnknownSchema:
        """The error for a log that :attr:`is_too_new`."""
        return unknown_level(self.cell, self.level)

    def instances(self, uuid: str) -> tuple[Entry | Tracked, ...]:
        """Where an instance holds resources, or nova-compute reports it: records with a ``host``."""
        tracked = self.tracked.get(uuid)
        held = self.consumers.get(uuid, ())
        return held if tracked is None else (*held, tracked)

    def strangers(self, named: Collection[str], group_uuid: str) -> list[Entry]:
        """The entries of consumers that a request names as members of a group, and that do not name it themselves.
        ``named`` may be 100,000: nothing is done for each of them but one look-up."""
        known = self.groups.consumers.get(group_uuid, {})
        found = set(filter(self.consumers.__contains__, filterfalse(known.__contains__, named)))
        if self.several:
            found |= self.several.intersection(named)
        return [
            entry
            for consumer in found
            for entry in self.consumers[consumer]
            if entry.rule is None or entry.rule.group_uuid != group_uuid
        ]

    def fold(self, records: Iterable[tuple[int, DecodedRecord]]) -> tuple[list[Outcome], list[Noted]]:
        """Fold ``(position, DecodedRecord)`` pairs that follow each other in the log.

        Positions rise, and may leave some out: only the reader of the log knows whether a record is missing.

        Returns the outcomes of the claims in them and what was noted. Raises
        :class:`~rpc_api.errors.LogGap` for a record from before the last one
        (the log was re-created); the state is then that of the records before it.
        """
        outcomes: list[Outcome] = []
        noted: list[Noted] = []
        for position, record in records:
            if position <= self.position:
                raise errors.LogGap(
                    f"the log of {self.cell} goes from position {self.position} back to {position}, wanted a later "
                    "one; rebuild from a snapshot or from the log's first record"
                )
            self.fold_record(position, record, outcomes, noted)
            self.passed(position, record.payload)
        self.noted.extend(noted)
        return outcomes, noted

    def passed(self, position: int, payload: bytes | None) -> None:
        """All of a record was folded."""
        self.position = position
        self.trail.add((position, payload))

    def fold_record(self, position: int, record: DecodedRecord, outcomes: list[Outcome], noted: list[Noted]) -> None:
        """Fold a record, or a part of one, without moving on to its position (:meth:`passed` does). The results are
        appended to the two lists."""
        if record.epoch is not None:
            if self.epoch is None:
                # A record that cannot be read does not tell the epoch of the log either.
                if any(type(event) is not SetAside for event in record.events):
                    self.epoch = record.epoch
            elif record.epoch != self.epoch:
                if [getattr(event, "name", None) for event in record.events] == ["LogOpened"]:
                    # Several services opened the log at once, and this one was not the first: a duplicate.
                    self.counts["duplicate"] += 1
                    return
                self._set_aside(
                    position,
                    0,
                    "foreign-epoch",
                    f"a record for epoch {record.epoch[:40]}, the log's is {self.epoch}",
                    b"",
                )
                return
        if record.level > self.level and not self.whole and shows_level(record, self.accounts_required):
            self.use_level(record.level, position)
        level, account = record.level, record.account
        for index, event in enumerate(record.events):
            # A pin may be among the events. Most records have none, and the level of the log.
            if type(event) is SetAside or event.name == "LogRebased" or not level <= self.level <= LEVEL:
                self._fold_other(position, index, event, level, account, outcomes, noted)
            elif (
                self.whole
                and self._may_speak(position, index, event, account)
                and self._is_next(position, event, noted)
            ):
                self._fold_event(position, index, event, level < self.level, outcomes, noted)

    def _fold_other(
        self,
        position: int,
        index: int,
        event: Event | SetAside,
        level: int,
        account: str | None,
        outcomes: list[Outcome],
        noted: list[Noted],
    ) -> None:
        """Fold what is not an event of the state that the log has: one that cannot be read, a LogRebased, and an event
        of a level that the log or this process does not have."""
        if type(event) is not SetAside and event.name == "LogRebased":
            # Also if it is a duplicate: it is new for a reader that starts after the first one.
            if self._may_speak(position, index, event, account) and self._may_rebase(position, index, event, level):
                # A reader that starts here, and so does not know the pin, must get the same level.
                self.use_level(level, position if level > 1 else -1)
                self._fold_event(position, index, event, False, outcomes, noted)
        elif self.is_too_new:
            self.counts[TOO_NEW] += 1
        elif self.whole and type(event) is SetAside:
            self._set_aside(position, index, *event)
        elif self.whole and type(event) is not SetAside and self._may_speak(position, index, event, account):
            self._set_newer_aside(position, index, event, level)

    def _may_rebase(self, position: int, index: int, event: Event, level: int) -> bool:
        """Whether a LogRebased in a record of a level counts; if not, it is set aside."""
        is_ledger = self.rules.one_ledger or rules_of(level).one_ledger
        fault = fault_of_rebase(event, max(self.level, level)) if is_ledger else None
        if fault is not None:
            self._set_aside(position, index, *fault, b"")
        return fault is None

    def _set_newer_aside(self, position: int, index: int, event: Event, level: int) -> None:
        self._set_aside(
            position,
            index,
            "newer-level",
            f"a {event.name} of {event.producer} in a record of level {level}, the log has {self.level}",
            event=event,
        )
        # An agent only knows the level that a conductor sent to it, perhaps before the log lost the pin.
        self.counts[MISSED_PIN] += not event.producer.startswith(AGENT)

    def _may_speak(self, position: int, index: int, event: Event, account: str | None) -> bool:
        """Whether the producer may publish this event for its host with this account; if not, it is set aside."""
        role, _, name = event.producer.partition("/")
        if (
            role in USUAL_SPEAKERS[event.name]
            and not self.accounts_required
            and (role != AGENT or getattr(event.data, "host", name) == name)
        ):
            return True
        fault = fault_of_speaker(event, account, self.level, self.accounts_required)
        if fault is not None:
            self._set_aside(position, index, *fault, event=event)
        return fault is None

    def _is_next(self, position: int, event: Event, noted: list[Noted]) -> bool:
        """Whether an event is new, by its producer's count; a gap is noted and the event still counts."""
        known = self.producers.get(event.producer)
        if known is None:
            if event.sequence == 1:
                return True
            expected = 1
        else:
            epoch, sequence = known
            if event.producer_epoch < epoch or (event.producer_epoch == epoch and event.sequence <= sequence):
                self._count_old(position, event, epoch, noted)
                return False
            expected = sequence + 1 if event.producer_epoch == epoch else 1
        if event.sequence != expected:
            self.counts["sequence-gap"] += 1
            noted.append(
                Noted(
                    position,
                    "sequence-gap",
                    getattr(event.data, "host", None),
                    f"{event.producer} goes to {event.sequence}, expected {expected}",
                    event.producer.startswith("compute_agent/"),
                )
            )
        return True

    def _count_old(self, position: int, event: Event, epoch: int, noted: list[Noted]) -> None:
        """Count an event without effect. One of an earlier incarnation is shown: its clock may have gone back."""
        if event.producer_epoch == epoch:
            self.counts["duplicate"] += 1
        else:
            self.counts["stale-epoch"] += 1
            noted.append(
                Noted(
                    position,
                    "stale-epoch",
                    getattr(event.data, "host", None),
                    f"{event.producer} writes in the incarnation {event.producer_epoch}, before {epoch}",
                    event.producer.startswith("compute_agent/"),
                )
            )

    def _fold_event(
        self, position: int, index: int, event: Event, is_older: bool, outcomes: list[Outcome], noted: list[Noted]
    ) -> None:
        self.counts[event.name] += 1
        answer: Reason | SetAside | None = self._answer_to_older(event) if is_older else None
        if answer is None:
            answer = HANDLERS[event.name](self, position, event, noted)
        if type(answer) is SetAside:
            self._set_aside(position, index, *answer)
            return
        self.producers[event.producer] = (event.producer_epoch, event.sequence)
        if event.name == "ClaimProposed":
            self.counts["claim-accepted" if answer is None else "claim-refused"] += 1
            claim: Any = event.data
            outcomes.append(Outcome(position, event.producer, claim.claim_uuid, claim.consumer_uuid, answer))

    def _answer_to_older(self, event: Event) -> Reason | SetAside | None:
        """Why an event of a service that does not know the level of the log has no effect; None if it has one."""
        if event.name == "ClaimProposed":
            # Its scheduler folds by the rules before the pin, or decided before it: both sides must agree on a claim.
            return OLDER_LEVEL
        if event.name in ENDS_OF_CLAIMS and _is_newer_claim(self, event):
            return SetAside(
                "older-level",
                f"a {event.name} of {event.producer}, which does not know the level of the log, for a claim from after "
                "the pin",
                b"",
            )
        return None

    def _set_aside(
        self, position: int, index: int, code: str, reason: str, raw: bytes = b"", event: Event | None = None
    ) -> None:
        self.counts[SET_ASIDE] += 1
        self.counts[f"{SET_ASIDE}:{code}"] += 1
        self.quarantine.append(Quarantined(position, index, code, reason[:MAX_REASON], raw))
        if event is not None:  # no handler was asked about it
            note_set_aside(self, position, event, SetAside(code, reason[:MAX_REASON], raw))
