"""The attributes of the state of one log, which the writers of a projection use."""

import abc
from collections import Counter
from typing import Protocol, TypeVar

from nova_sched.projection.ledger import Committed, Entry, GroupIndex, Holder, Host, PlainTree, Prepared
from nova_sched.projection.rules import Rules
from nova_sched.projection.table import HostTable
from nova_sched.projection.tracked import TrackedInstances
from nova_sched.projection.waiting import Waiting
from nova_sched.projection.write_outcomes import Written
from rpc_api.events import AggregateUpdated
from rpc_api.proof import Trail

#: Name of the log for what belongs to no cell.
CELL0 = "cell0"

Data = TypeVar("Data", covariant=True)


class EventOf(Protocol[Data]):
    """An event of one class, as the handler of that class sees it."""

    @property
    def name(self) -> str: ...
    @property
    def producer(self) -> str: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def at_ns(self) -> int: ...
    @property
    def data(self) -> Data: ...


class State(abc.ABC):
    """Base of the projection, which sets these."""

    cell: str
    table: HostTable
    cell_index: int
    #: False if records before the start of the log were removed: then no event counts until a LogRebased.
    whole: bool
    #: None until the first record is folded.
    epoch: str | None
    #: Position of the last record folded, -1 before any.
    position: int
    #: The last records folded: they prove to which log the state belongs.
    trail: Trail
    hosts: dict[str, Host]
    #: Consumer uuid -> its entries: more than one while it moves between hosts, or reports contradict each other.
    consumers: dict[str, tuple[Entry, ...]]
    #: Those of them that have more than one.
    several: set[str]
    #: Consumer uuid -> what else is known of it; empty without the rule ``one_ledger``.
    holders: dict[str, Holder]
    groups: GroupIndex
    #: The time for which conductors watched the claims of this log; 0 without the rule ``claims_have_an_age``.
    watched_ms: int
    #: Consumer uuid -> its entry, of the claims that came after the last ClaimsWatched.
    unwatched: dict[str, Entry]
    #: Producer -> (epoch, sequence) of its last event.
    producers: dict[str, tuple[int, int]]
    #: Aggregate uuid -> AggregateUpdated, as this log has it (the table has those of all logs).
    aggregates: dict[str, AggregateUpdated]
    #: Provider uuid -> the tree that it is in.
    trees: dict[str, Host | PlainTree]
    #: Steps of writes over several logs that were folded: a counter that is not state.
    steps_over_logs = 0
    #: Name of a provider -> its uuid; empty without the rule ``one_ledger``.
    provider_names: dict[str, str]
    #: Uuid of a root provider that the log does not have -> the host that waits for it.
    waiting: Waiting
    #: Names of the hosts with strays.
    stray_hosts: set[str]
    #: Resource classes and traits of the cloud's own -> when they were created, in nanoseconds since 1970.
    custom_classes: dict[str, int]
    custom_traits: dict[str, int]
    #: Uuid of a write over several logs -> its part here, until it is committed or given up.
    prepared: dict[str, Prepared]
    #: Consumer uuid -> the write over several logs in which it takes part. It follows from ``prepared``.
    locked: dict[str, str]
    #: Uuid of a write that was committed here, at its home -> its logs, until all of them have committed it.
    committed: dict[str, Committed]
    #: Whether an API write was accepted: nobody reports that again.
    holds_writes: bool
    #: The hosts on which nova-compute reports instances.
    tracked: TrackedInstances
    #: Affinity group -> (cell, host, number): see GroupAnchored.
    anchors: dict[str, tuple[str, str, int]]
    #: Affinity group -> the highest anchor under which nothing may be claimed here.
    fences: dict[str, int]
    #: The level of the log here: the forms of its events and the rules of the fold (see LevelPinned).
    level: int
    rules: Rules
    #: Position of the record that gave the log this level, -1 at level 1.
    pinned_at: int
    #: Whether an event only counts with an account that may publish for its producer.
    accounts_required: bool
    #: Counts by kind; not a part of the state.
    counts: Counter[str]
    #: The outcomes of API writes, for a process that takes them out; None if none does.
    writes: list[Written] | None

    @abc.abstractmethod
    def forget(self) -> None:
        """Remove all state of this log, also from the table."""

    @abc.abstractmethod
    def use_level(self, level: int, position: int = -1) -> None:
        """The log has a level from the record at a position on; a level above :data:`rpc_api.levels.LEVEL` is not known
        to this process."""
